"""Run `python -m benchmarks.ppo_paper`; see command.py."""

import sys

from benchmarks.ppo_paper.command import main

sys.exit(main())
