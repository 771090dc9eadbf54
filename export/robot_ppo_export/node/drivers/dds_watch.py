"""Who else writes to a topic, and which of them are ours."""

import uuid
from typing import Any


class Watch:
    """Who writes to one topic, by DDS discovery."""

    def __init__(self, entity: Any, topic: str, ours: uuid.UUID, token: bytes) -> None:
        self.topic = topic
        self._entity, self._ours, self._token = entity, ours, token
        self._writers: dict[uuid.UUID, str] = {}

    def writers(self) -> tuple[str, ...]:
        """Return the type names of the others' writers that are alive; does not block."""
        from cyclonedds.core import InstanceState

        for endpoint in self._entity.take(N=64):
            if endpoint.sample_info.instance_state != InstanceState.Alive:
                self._writers.pop(endpoint.key, None)
            elif endpoint.topic_name == self.topic and not self._is_ours(endpoint):
                self._writers[endpoint.key] = endpoint.type_name
        return tuple(self._writers.values())

    def _is_ours(self, endpoint: Any) -> bool:
        return endpoint.participant_key == self._ours or carries(endpoint, self._token)


def carries(endpoint: Any, token: bytes | None) -> bool:
    """Return whether a writer that discovery found carries the token."""
    from cyclonedds.core import Policy

    marks = (policy for policy in endpoint.qos if isinstance(policy, Policy.Userdata))
    return any(bytes(mark.data) == token for mark in marks)
