"""The checksum of Unitree's low-level messages: CRC-32, polynomial 0x04C11DB7, MSB first.

Initial value 0xFFFFFFFF, no reflection, no final xor, over the little-endian 32-bit words of the
message's C structure, all but the last word, which holds the checksum. `zlib.crc32` computes the
reflected form of the same polynomial, so it gives the same result on bytes whose bits are
reversed, with its own final xor undone.

Plain bytes and no numpy: it runs once per command after a pause, when the first call of anything
in numpy costs more than all of it.
"""

import zlib

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def crc32(structure: bytes | bytearray | memoryview) -> int:
    """Return the checksum of a message; `structure` is its whole C layout, the crc field last."""
    end = len(structure) - 4
    swapped = bytearray(end)
    for i in range(4):
        swapped[i::4] = structure[3 - i : end : 4]
    reflected = zlib.crc32(swapped.translate(_REVERSED)) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")
