"""What a page asks for: one JSON object for each request, such as {"ask": "push", ...}."""

from collections.abc import Callable, Mapping

import msgspec


class Request(msgspec.Struct, frozen=True):
    """What a page asks for."""

    ask: str
    values: list[float] = []
    name: str = ""


def hear(message: bytes, acts: Mapping[str, Callable[[Request], None]]) -> str:
    """Do what a page asks; return "", or why it was not understood.

    Args:
        message: of the page.
        acts: what may be asked for -> what does it.
    """
    try:
        request = msgspec.json.decode(message, type=Request)
        acts[request.ask](request)
    except (msgspec.DecodeError, KeyError, IndexError, ValueError) as error:
        return f"not understood: {error}"
    return ""
