"""Run `python -m benchmarks.faults`; see command.py."""

import sys

from benchmarks.faults.command import main

sys.exit(main())
