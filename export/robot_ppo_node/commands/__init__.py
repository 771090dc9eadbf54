"""Where commands come from: one file per source; see docs/commands.md."""
