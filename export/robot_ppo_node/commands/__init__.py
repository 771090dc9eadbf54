"""Sources of commands, one file each; see docs/commands.md."""
