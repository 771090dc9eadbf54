"""A policy before one's eyes: the unchanged node in lockstep with the simulated robot."""
