"""Run `python -m benchmarks.speed`; see command.py."""

import sys

from benchmarks.speed.command import main

sys.exit(main())
