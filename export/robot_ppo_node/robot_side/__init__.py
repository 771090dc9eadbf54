"""The robot's side of the protocols that the drivers speak: one file per protocol.

A simulated robot (`robot-ppo sim`) uses it, and a robot of one's own (docs/drivers.md). The node
does not.
"""
