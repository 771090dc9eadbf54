"""What became of what was sent: a driver does not raise what it cannot send, but counts it here."""

import time


class Sends:
    """The sends of one socket or writer."""

    def __init__(self) -> None:
        self.lost = 0
        """Sends that failed, since the start."""
        self._since: float | None = None

    def note(self, went: bool) -> None:
        """Take in one send."""
        if went:
            self._since = None
            return
        self.lost += 1
        if self._since is None:
            self._since = time.monotonic()

    def failing(self) -> float:
        """Return for how long every send has failed [s]; 0 after one that went."""
        since = self._since  # another thread may send
        return 0.0 if since is None else time.monotonic() - since
