"""What the node says to a person is one short sentence; what needs more stands in docs/."""

import ast
import re
from pathlib import Path

NODE = Path(__file__).parents[1] / "export" / "robot_ppo_node"
SPOKEN = {"InputError", "RefusedError", "DriverFault", "Reason", "Check", "say", "say_error"}
"""Calls whose text a person reads."""
LONGEST = 25
"""Words of a sentence, without the values in it."""


def constant(node: ast.AST) -> str:
    """The text of a string, with a blank for each value."""
    if isinstance(node, ast.JoinedStr):
        return "".join(constant(part) for part in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return " "


def said(source: str) -> list[str]:
    """What the calls of a module say, and what its functions return to be said."""
    texts = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            texts += [constant(argument) for argument in node.args] if name in SPOKEN else []
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.JoinedStr):
            texts.append(constant(node.value))
    return texts


def wrong(text: str) -> str | None:
    """What the rule has against a text."""
    words = len(re.findall(r"[A-Za-z][\w'-]*", text))
    if words > LONGEST:
        return f"{words} words"
    return "two sentences" if re.search(r"[a-z)`]\. [A-Z]", text) else None


def test_a_message_is_one_short_sentence():
    found = {}
    for path in NODE.rglob("*.py"):
        for text in said(path.read_text()):
            if why := wrong(text):
                found[str(path.relative_to(NODE)), text] = why
    assert not found


def test_the_rule_sees_what_is_too_long_or_says_two_things():
    (long,) = said(f'raise RefusedError(f"{{x}} {"word " * 26}")')
    (two,) = said('def f(x):\n    return f"{x}: it is not there. Start it"')
    (good,) = said('console.say(f"udp: no robot answered at {x} within {y} s: start it")')
    assert (wrong(long), wrong(two), wrong(good)) == ("26 words", "two sentences", None)
