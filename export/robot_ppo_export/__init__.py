"""What leaves the lab: the contract, the policy file and the node that runs it.

Importing this package is free; nothing under it needs torch, mujoco or robot_ppo.
"""

__version__ = "0.1.0"
