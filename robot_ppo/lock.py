"""One writer at a time: a lock on a file, which ends with its process however that ends.

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
    """Hold a lock file, which is made and stays; `InputError` with `refusal` if it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        take(file, refusal)
        yield


def take(file: IO[Any], refusal: str) -> None:
    """Lock an open file until it is closed; `InputError` with `refusal` if another has it.

    A file system without locks, as over some networks, locks nothing, and that is said.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(refusal) from None
    except OSError as error:
        log.warning("%s: cannot be locked (%s): start no second one", file.name, error.strerror)
