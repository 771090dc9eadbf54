"""Types for argparse; a value out of range is argparse's error, with exit code 2."""

import argparse
import math
from collections.abc import Callable


def at_least(least: int) -> Callable[[str], int]:
    """Return a type of whole numbers that are at least `least`."""

    def whole(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} must be at least {least}")
        return value

    whole.__name__ = "int"  # argparse says "invalid int value"
    return whole


def seconds(text: str) -> float:
    """Return a number of seconds above zero."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return value


def minutes(text: str) -> float:
    """Return a number of minutes; 0 stands for never."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of minutes, 0 or more")
    return value


def port(text: str) -> int:
    """Return a UDP port; 0 takes a free one."""
    value = int(text)
    if not 0 <= value < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port between 0 and 65535")
    return value
