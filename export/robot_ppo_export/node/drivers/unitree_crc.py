"""The checksum of Unitree's low-level messages: CRC-32, polynomial 0x04C11DB7, MSB first.

Initial value 0xFFFFFFFF, no reflection, no final xor, over the little-endian 32-bit words of the
message's C structure, all but the last word, which holds the checksum. `zlib.crc32` computes the
reflected form of the same polynomial, so it gives the same result on bytes whose bits are
reversed, with its own final xor undone.
"""

import zlib

import numpy as np

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def crc32(structure: bytes | bytearray | memoryview) -> int:
    """Return the checksum of a message; `structure` is its whole C layout, the crc field last."""
    words = np.frombuffer(structure, "<u4", count=len(structure) // 4 - 1)
    reflected = zlib.crc32(words.byteswap().tobytes().translate(_REVERSED)) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
