"""Brings environment and algorithm together: the loop, checkpoints, the log, the scorecard."""
