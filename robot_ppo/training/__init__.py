"""Training runs: the loop, checkpoints, the log, the run folder."""
