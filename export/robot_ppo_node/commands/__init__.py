"""Where commands come from: one file per source; see docs/commands.md."""

from robot_ppo_node.commands.base import (
    COMMAND_TIMEOUT,
    Chosen,
    CommandSource,
    FixedCommand,
    parse,
)
from robot_ppo_node.commands.keyboard import Keyboard

__all__ = ["COMMAND_TIMEOUT", "Chosen", "CommandSource", "FixedCommand", "Keyboard", "parse"]
