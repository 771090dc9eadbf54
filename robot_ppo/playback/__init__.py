"""Watch a policy: the unchanged node in lockstep with the simulated robot."""
