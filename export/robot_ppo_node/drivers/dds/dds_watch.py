"""Discovery of the other writers of a topic, told apart from our own.

A program that is killed cannot announce that it leaves: programs that had found it see its writers
until its lease ends, which it states when it joins (10 s with cyclonedds by default). A program
that joins after its end never sees them.
"""

import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_ppo_node.drivers.dds.qos_words import in_words

WATCHDOG = b"robot-ppo watchdog "
"""Before the token of a writer that damps a robot whose node is gone (dds_damping.py)."""
UNKNOWN_LEASE = 20.0
"""[s] Of a program that does not state one: the longest default in use."""


@dataclass(frozen=True)
class ForeignWriter:
    """One writer of another program."""

    kind: str
    """Type of its messages."""
    host: str = ""
    process: int = 0
    """Its number on `host`, 0 where it is not stated."""
    name: str = ""
    """Of its program."""
    lease: float = UNKNOWN_LEASE
    """For so long it is seen after it was killed [s]."""
    watchdog: bool = False
    """It damps the robot of a node that is gone."""
    key: uuid.UUID | None = None
    """Its identity on the domain."""
    program: uuid.UUID | None = None
    """Of its participant on the domain."""

    @property
    def is_running(self) -> bool:
        """Whether it is known to run: a process of this computer that is there now."""
        here = self.process > 0 and self.host == socket.gethostname()
        return here and Path(f"/proc/{self.process}").exists()

    def __str__(self) -> str:
        """Return what an operator can look for."""
        if not self.process:
            return self.kind
        if self.watchdog:
            return f"process {self.process} on {self.host}"
        whose = "this process" if self.process == os.getpid() and self.is_running else self.name
        return f"{self.kind} of {whose}, process {self.process} on {self.host}"


class Watch:
    """The writers of one topic, by DDS discovery."""

    def __init__(
        self, participant: Any, keep: Callable[[Any], Any], topic: str, token: bytes
    ) -> None:
        """Look on by way of `participant`; what is made for it is handed to `keep`."""
        from cyclonedds.builtin import (
            BuiltinDataReader,
            BuiltinTopicDcpsParticipant,
            BuiltinTopicDcpsPublication,
        )

        self.topic = topic
        self._entity = keep(BuiltinDataReader(participant, BuiltinTopicDcpsPublication))
        self._programs = keep(BuiltinDataReader(participant, BuiltinTopicDcpsParticipant))
        self._ours = participant.guid
        self._token = token
        self._foreign: dict[uuid.UUID, ForeignWriter] = {}

    def foreign_writers(self) -> tuple[ForeignWriter, ...]:
        """Return the others' writers that are alive, or were a lease ago; does not block."""
        from cyclonedds.core import InstanceState

        for endpoint in self._entity.take(N=64):
            if endpoint.sample_info.instance_state != InstanceState.Alive:
                self._foreign.pop(endpoint.key, None)
            elif endpoint.topic_name == self.topic and not self._is_ours(endpoint):
                self._foreign[endpoint.key] = self._who(endpoint)
        return tuple(self._foreign.values())

    def writers(self) -> tuple[str, ...]:
        """Return the types of the foreign writers' messages."""
        return tuple(writer.kind for writer in self.foreign_writers())

    def settings(self) -> tuple[str, ...]:
        """Return type and quality of service of each writer that discovery has found."""
        return tuple(
            f"a publisher of {endpoint.type_name} ({in_words(endpoint.qos)})"
            for endpoint in self._entity.read(N=64)
            if endpoint.topic_name == self.topic and not self._is_ours(endpoint)
        )

    def in_words(self, endpoint: Any) -> str:
        """Return who has the writer that discovery found; None is one that has gone."""
        return "a publisher that has gone" if endpoint is None else str(self._who(endpoint))

    def _is_ours(self, endpoint: Any) -> bool:
        return endpoint.participant_key == self._ours or carries(endpoint, self._token)

    def _who(self, endpoint: Any) -> ForeignWriter:
        """Return the writer with what its program states of itself."""
        from cyclonedds.core import Policy

        identity = (endpoint.key, endpoint.participant_key)
        watchdog = any(mark.startswith(WATCHDOG) for mark in _marks(endpoint))
        for program in self._programs.read(N=256):
            if program.key == endpoint.participant_key:
                stated = {p.key: p.value for p in program.qos if isinstance(p, Policy.Property)}
                leases = [p for p in program.qos if isinstance(p, Policy.Liveliness.Automatic)]
                number = stated.get("__Pid", "")
                return ForeignWriter(
                    endpoint.type_name,
                    stated.get("__Hostname", ""),
                    int(number) if number.isdecimal() else 0,
                    stated.get("__ProcessName", "a program"),
                    leases[0].lease_duration / 1e9 if leases else UNKNOWN_LEASE,
                    watchdog,
                    *identity,
                )
        return ForeignWriter(
            endpoint.type_name, watchdog=watchdog, key=identity[0], program=identity[1]
        )


def carries(endpoint: Any, token: bytes | None) -> bool:
    """Return whether a writer that discovery found carries the token."""
    return any(mark.removeprefix(WATCHDOG) == token for mark in _marks(endpoint))


def _marks(endpoint: Any) -> list[bytes]:
    from cyclonedds.core import Policy

    return [bytes(p.data) for p in endpoint.qos if isinstance(p, Policy.Userdata)]
