"""A reader and a writer of one DDS topic; `Bus` (participant.py) makes them."""

import uuid
from collections.abc import Callable
from typing import Any

from robot_ppo_node.drivers.dds.dds_watch import carries
from robot_ppo_node.drivers.sends import Sends


class Reader:
    """Samples of one topic."""

    def __init__(
        self,
        entity: Any,
        participant: Any,
        keep: Callable[[Any], Any],
        ignore_token: bytes | None = None,
    ) -> None:
        """Read `entity`; what else is made for it is handed to `keep`.

        What writers with the token `ignore_token` say is dropped.
        """
        self.entity = entity
        self._participant = participant
        self._keep = keep
        self._ignore_token = ignore_token
        self._own: set[int] = set()
        self._wait_set: Any = None
        self.received = 0
        """Samples taken since the start; those that a newer one replaced do not count."""

    def take(self, limit: int = 16) -> list[Any]:
        """Return the samples that wait, oldest first; does not block."""
        samples = [s for s in self.entity.take(N=limit) if s.sample_info.valid_data]
        if self._ignore_token is not None:
            samples = [s for s in samples if not self._is_own(s.sample_info.publication_handle)]
        self.received += len(samples)
        return samples

    def wait(self, seconds: float) -> bool:
        """Block until a sample waits to be taken; return False when the time was over first."""
        if self._wait_set is None:
            from cyclonedds.core import (
                InstanceState,
                ReadCondition,
                SampleState,
                ViewState,
                WaitSet,
            )

            unread = ViewState.Any | InstanceState.Any | SampleState.NotRead
            condition = self._keep(ReadCondition(self.entity, unread))
            self._wait_set = self._keep(WaitSet(self._participant))
            self._wait_set.attach(condition)
        return self._wait_set.wait(int(seconds * 1e9)) > 0

    @property
    def writers(self) -> int:
        """How many writers are connected."""
        return len(self.entity.get_matched_publications())

    def is_matched_with(self, writer: uuid.UUID | None) -> bool:
        """Return whether the writer with this key is connected."""
        handles = self.entity.get_matched_publications()
        found = map(self.entity.get_matched_publication_data, handles)
        return any(endpoint is not None and endpoint.key == writer for endpoint in found)

    def newest(self) -> bytes | None:
        """Return the newest payload of a `raw` type since the last call, or None."""
        samples = self.take()
        return samples[-1].payload if samples else None

    def _is_own(self, handle: int) -> bool:
        """Return whether the writer with this handle carries the token."""
        if handle not in self._own:
            endpoint = self.entity.get_matched_publication_data(handle)
            if endpoint is None or not carries(endpoint, self._ignore_token):
                return False
            self._own.add(handle)
        return True


class Writer:
    """Writes one topic; used by one thread at a time."""

    def __init__(self, entity: Any, kind: Any) -> None:
        self.entity = entity
        self.sends = Sends()
        """Lost are samples that DDS did not take in time."""
        self._raw: Any = kind.__new__(kind)
        from cyclonedds.core import DDSException

        self._not_sent = DDSException

    def write(self, payload: bytes) -> None:
        """Send a payload of a `raw` type; what cannot be sent is counted, not raised."""
        self._raw.payload = payload
        self.send(self._raw)

    def send(self, sample: Any) -> None:
        """Send a sample; what cannot be sent is counted, not raised."""
        try:
            self.entity.write(sample)
        except self._not_sent:
            self.sends.note(went=False)
        else:
            self.sends.note(went=True)

    @property
    def readers(self) -> int:
        """How many readers are connected."""
        return len(self.entity.get_matched_subscriptions())
