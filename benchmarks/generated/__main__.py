"""Run `python -m benchmarks.generated`; see command.py."""

import sys

from benchmarks.generated.command import main

sys.exit(main())
