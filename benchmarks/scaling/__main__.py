"""Run `python -m benchmarks.scaling`; see command.py."""

import sys

from benchmarks.scaling.command import main

sys.exit(main())
