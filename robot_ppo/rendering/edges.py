"""Smooth the stairs along edges of a picture that was drawn without antialiasing.

The method is FXAA (T. Lottes, "FXAA", NVIDIA 2009, quality variant): where brightness changes
abruptly, the ends of the stair's step are searched for along the edge, and the pixel is mixed with
the one across the edge by how near it is to the step's end.
"""

import numpy as np

CONTRAST = 16
"""Difference of brightness [0 to 255] between neighbours from which on there is an edge."""
REACH = 8
"""Pixels along an edge, to either side, in which the end of a step is searched for."""
SINGLE = 0.5
"""Share of the pixel across, at most, where the step is a single pixel."""


def smooth(pixels: np.ndarray) -> None:
    """Smooth `pixels` (height, width, 3) uint8, contiguous, in place, but for its border."""
    height, width, _ = pixels.shape
    if min(height, width) < 2 * REACH + 4:
        return
    light = pixels[:, :, 1].astype(np.int16)  # green is most of what brightness is
    flat = light.ravel()
    at = _edges(light)
    here = flat[at]
    level = _bend(flat, at, width, 1) >= _bend(flat, at, 1, width)
    one = np.where(level, flat[at + width], flat[at + 1])
    other = np.where(level, flat[at - width], flat[at - 1])
    steeper = np.abs(one - here) >= np.abs(other - here)
    across = np.where(level, width, 1) * np.where(steeper, 1, -1)
    beyond = np.where(steeper, one, other)
    along = np.where(level, 1, width)
    share = np.maximum(
        _share(flat, at, across, along, here, beyond), _single(flat, at, width, here, beyond)
    )
    colours = pixels.reshape(-1, 3)
    mixed = colours[at] + share[:, None] * (colours[at + across].astype(np.float32) - colours[at])
    colours[at] = (mixed + 0.5).astype(np.uint8)


def _edges(light: np.ndarray) -> np.ndarray:
    """Return the flat places (n,) of the pixels at an edge, far enough from the border."""
    high = np.zeros(light.shape, bool)
    high[1:] |= np.abs(light[1:] - light[:-1]) > CONTRAST
    high[:-1] |= high[1:]
    sideways = np.abs(light[:, 1:] - light[:, :-1]) > CONTRAST
    high[:, 1:] |= sideways
    high[:, :-1] |= sideways
    rim = REACH + 1
    high[:rim] = high[-rim:] = False
    high[:, :rim] = high[:, -rim:] = False
    return np.flatnonzero(high)


def _bend(light: np.ndarray, at: np.ndarray, across: int, along: int) -> np.ndarray:
    """Return how brightness bends across three neighbouring rows or columns, (n,)."""
    bent = [
        np.abs(light[at + k + across] + light[at + k - across] - 2 * light[at + k])
        for k in (-along, 0, along)
    ]
    return bent[0] + 2 * bent[1] + bent[2]


def _single(
    light: np.ndarray, at: np.ndarray, width: int, here: np.ndarray, beyond: np.ndarray
) -> np.ndarray:
    """Return the share of steps of a single pixel, (n,), from the nine pixels around each."""
    rows = [light[at + k - width] + 2 * light[at + k] + light[at + k + width] for k in (-1, 0, 1)]
    around = (rows[0] + 2 * rows[1] + rows[2] - 4 * here) / 12.0
    share = np.clip(np.abs(around - here) / np.maximum(np.abs(beyond - here), 1), 0, 1)
    return np.float32(SINGLE) * (share * share * (3 - 2 * share)) ** 2


def _share(
    light: np.ndarray,
    at: np.ndarray,
    across: np.ndarray,
    along: np.ndarray,
    here: np.ndarray,
    beyond: np.ndarray,
) -> np.ndarray:
    """Return how much of the pixel across the edge each pixel takes, (n,), 0 to 0.5.

    Args:
        light: brightness of the picture, flat.
        at: places of the pixels, (n,).
        across: step to the pixel across the edge, (n,).
        along: step along the edge, (n,).
        here: brightness of the pixels, (n,).
        beyond: that of the pixels across, (n,).
    """
    middle = here + beyond  # twice the brightness of the edge
    steep = np.abs(beyond - here) >> 1
    ends = []
    for way in (along, -along):
        distance = np.full(len(at), REACH, np.int16)
        rest = np.zeros(len(at), np.int16)
        open_ = np.arange(len(at))
        for k in range(1, REACH + 1):
            place = at[open_] + k * way[open_]
            difference = light[place] + light[place + across[open_]] - middle[open_]
            done = np.abs(difference) >= steep[open_]
            rest[open_] = difference
            distance[open_[done]] = k
            open_ = open_[~done]
        ends.append((distance, rest))
    (a, rest_a), (b, rest_b) = ends
    nearer = np.where(a <= b, rest_a, rest_b)
    # A step ends where the edge turns to this pixel's own side: others are not to be mixed.
    towards = (nearer < 0) != (here < beyond)
    share = 0.5 - np.minimum(a, b) / np.maximum(a + b, 1)
    return np.where(towards, share, 0.0).astype(np.float32)
