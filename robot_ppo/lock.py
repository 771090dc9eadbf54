"""Lock a file, so that only one process writes; the lock ends with the process.

with lock.alone(folder / ".lock", f"{folder}: another training writes here"):
    ...
"""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from robot_ppo_export.errors import InputError

log = logging.getLogger(__name__)


@contextmanager
def alone(path: Path, refusal: str) -> Iterator[None]:
    """Create a lock file and hold it; raise `InputError(refusal)` if another process does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        take(file, refusal)
        yield


def take(file: IO[Any], refusal: str) -> None:
    """Lock an open file until it is closed; raise `InputError(refusal)` if another process has it.

    A file system without locks, as some network file systems, locks nothing; a warning says so.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(refusal) from None
    except OSError as error:
        log.warning("%s: cannot be locked (%s): start no second one", file.name, error.strerror)
