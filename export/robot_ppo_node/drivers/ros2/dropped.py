"""Messages that were dropped: how many, on which topic, and why.

dropped = Dropped()
dropped.note("/imu", MalformedCdrError("duplicated", "its stamp is that of the one before"))
dropped.lately("/imu")      # "1 message on /imu dropped, the newest: its stamp is ..."
dropped.forget()            # a state has come: what was dropped before is no longer of interest
"""

from robot_ppo_node.drivers.ros2.ros2_cdr import MalformedCdrError


class Dropped:
    """Counts of dropped messages."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        """Reason -> number since the start."""
        self._lately: dict[str, tuple[int, str]] = {}

    def note(self, topic: str, reason: MalformedCdrError) -> None:
        """Count a message that was dropped."""
        code = str(reason)
        self.counts[code] = self.counts.get(code, 0) + 1
        number, _ = self._lately.get(topic, (0, ""))
        self._lately[topic] = (number + 1, reason.detail or f"malformed {code}")

    def lately(self, *topics: str) -> str:
        """Return what was dropped on `topics` since `forget`, in words, or nothing."""
        told = []
        for topic in topics:
            number, why = self._lately.get(topic, (0, ""))
            if number:
                what = "message" if number == 1 else "messages"
                told.append(f"{number} {what} on {topic} dropped, the newest: {why}")
        return "; ".join(told)

    def forget(self) -> None:
        """Begin to count anew for `lately`."""
        self._lately.clear()
