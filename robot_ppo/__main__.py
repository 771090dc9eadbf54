"""`python -m robot_ppo`, as `torchrun -m robot_ppo` starts it."""

import sys

from robot_ppo.cli import main

sys.exit(main())
