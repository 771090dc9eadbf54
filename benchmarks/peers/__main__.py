"""Run `python -m benchmarks.peers`; see command.py."""

import sys

from benchmarks.peers.command import main

sys.exit(main())
