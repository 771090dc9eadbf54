"""A process that draws frames for `film.py`: a pickled `Job` comes in, planes go out."""

import os
import pickle
import sys

from robot_ppo.playback.film import planes
from robot_ppo_export.errors import InputError


def main() -> int:
    """Draw one job; return the exit code. What libraries print goes to the errors."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        try:
            for frame in planes(pickle.load(sys.stdin.buffer)):
                out.write(frame)
                out.flush()
        except InputError as error:
            print(error, file=sys.stderr)
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
