"""Docstrings and comments name files that exist."""

import re
import tokenize
from pathlib import Path

import pytest
from contract_helpers import ROOT

FOLDERS = ("robot_ppo", "export", "benchmarks")
FILES = [path for top in FOLDERS for path in sorted((ROOT / top).rglob("*.py"))]
FOREIGN = {"examples/go1_joystick.py"}
"""Files of other projects."""
NAME = re.compile(r"(?<![\w./*<>-])[\w/]+\.py\b")


def prose(path: Path) -> str:
    """The docstrings and comments of a file: its strings in three quotes, and what follows `#`."""
    with path.open("rb") as file:
        tokens = [t for t in tokenize.tokenize(file.readline) if _is_prose(t)]
    return "\n".join(token.string for token in tokens)


def _is_prose(token: tokenize.TokenInfo) -> bool:
    documents = token.type == tokenize.STRING and token.string.startswith('"""')
    return documents or token.type == tokenize.COMMENT


def missing(text: str) -> set[str]:
    """The Python files that a text names and that are nowhere, by the ends of their paths."""
    paths = [f"/{path.relative_to(ROOT).as_posix()}" for path in (*FILES, *ROOT.glob("tests/*.py"))]
    named = set(NAME.findall(text)) - FOREIGN
    return {name for name in named if not any(path.endswith(f"/{name}") for path in paths)}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_that_a_docstring_names_exists(folder):
    found = {path: missing(prose(path)) for path in FILES if path.is_relative_to(ROOT / folder)}
    assert len(found) > 50
    assert not {path.name: sorted(names) for path, names in found.items() if names}


def test_a_file_that_does_not_exist_is_noticed():
    """Negative control."""
    assert missing("see node/bench.py") == {"node/bench.py"}
    assert missing("the order of the mirror_map.py") == {"mirror_map.py"}
    assert not missing("see robot_ppo/cli.py, sim/server.py, test_docs.py and `my.python`")
