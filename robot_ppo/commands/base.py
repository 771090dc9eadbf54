"""Add a command to the parser."""

import argparse
import textwrap
from collections.abc import Callable, Sequence


def command(
    commands: argparse._SubParsersAction,
    run: Callable[[argparse.Namespace], int | None],
    name: str,
    text: str,
    examples: str,
    needs: Sequence[str] = ("torch", "mujoco", "gymnasium", "rich"),
) -> argparse.ArgumentParser:
    """Add a command: its line in the list, and a page of its own that ends with examples."""
    added = commands.add_parser(
        name,
        help=text,
        description=text,
        epilog=f"examples:\n{textwrap.indent(examples.strip(), '  ')}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.set_defaults(run=run, needs=needs)
    return added
