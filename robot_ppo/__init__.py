"""From a robot model to a running controller: PPO on MuJoCo, on the CPU a person already has.

Importing this package registers its environments with Gymnasium, where that is installed, and
loads nothing heavy.
"""

import importlib.util

__version__ = "0.1.0"

if importlib.util.find_spec("gymnasium") is not None:
    from robot_ppo.envs import registration

    registration.register()
