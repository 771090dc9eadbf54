"""Files that are either whole or as they were before."""

import os
import tempfile
from pathlib import Path

from robot_ppo_export.errors import InputError


def write_atomically(path: Path, data: bytes, mode: int | None = None) -> None:
    """Write `data` to `path`: temporary file beside it, fsync, rename; else `InputError`.

    `mode` are its permissions, by default those of any new file of this user.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, ordinary_mode() if mode is None else mode)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None


def ordinary_mode() -> int:
    """Return the permissions that a new file of this user has; a temporary file has fewer."""
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
