"""The vendor's own controller of a Unitree robot: who runs, and how it is asked to let go.

While it runs, it writes to the same motors as we do. The robot answers questions on the DDS topics
`rt/api/<service>/request` and `.../response`; a request and its answer carry the same id.
"""

import json
import time
from typing import Any

from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.dds.participant import Bus
from robot_ppo_node.drivers.unitree import unitree_idl as idl

SWITCHER = "motion_switcher"
SPORT = "sport"
CHECK_MODE = 1001
RELEASE_MODE = 1003
STAND_DOWN = 1005
ANSWER_WITHIN = 1.0
"""[s] A service that has not answered by then is asked again: it may not have found us yet."""
STAND_DOWN_SECONDS = 3.0
"""Given to the robot to lie down before its controller is released [s]."""
RELEASE_SECONDS = 1.0
"""Between a release and the next question whether it happened [s]."""
LOOK_EVERY = 0.005
REMEDY = "hang or lay it down, end the vendor's mode with its remote or app"


class Service:
    """One service of the robot."""

    def __init__(self, bus: Bus, name: str, clock: Clock, octet: str = "byte") -> None:
        """Talk to the service `name`; `octet` is a key of unitree_idl.OCTETS."""
        self.name = name
        self.clock = clock
        self._request = idl.request_type(octet)
        self._requests = bus.writer(f"rt/api/{name}/request", self._request, depth=10)
        answer = idl.response_type(octet)
        self._answers = bus.reader(f"rt/api/{name}/response", answer, 10, reliable=True)

    def call(self, api: int, parameter: dict[str, Any], wait: float) -> tuple[int, str] | None:
        """Return the code (0 is good) and data of the answer, or None when none came in `wait` s.

        The same question is sent every ANSWER_WITHIN, and whichever answer comes first counts.
        """
        ends = self.clock.now() + wait
        while not self._requests.readers:
            if not self._pause(ends):
                return None
        number = time.monotonic_ns()
        header = idl.RequestHeader(
            idl.RequestIdentity(number, api), idl.RequestLease(0), idl.RequestPolicy(0, False)
        )
        request = self._request(header, json.dumps(parameter), [])
        asks = self.clock.now()
        while True:
            if self.clock.now() >= asks:
                self._requests.send(request)
                asks += ANSWER_WITHIN
            for answer in self._answers.take():
                if answer.header.identity.id == number:
                    return answer.header.status.code, answer.data
            if not self._pause(ends):
                return None

    def _pause(self, ends: float) -> bool:
        """Wait a little; return False when the time is over."""
        now = self.clock.now()
        self.clock.sleep_until(min(now + LOOK_EVERY, ends))
        return now < ends


def take_over(
    bus: Bus, clock: Clock, policy: str, stands_down: bool, wait: float, octet: str = "byte"
) -> None:
    """Return once the vendor's controller does not run, or raise `RefusedError`.

    Args:
        bus: the robot's domain.
        clock: tells how long.
        policy: "ignore" asks nothing, "refuse" raises where it runs, "release" ends it.
        stands_down: whether the robot can lie down by itself first.
        wait: how long all of it may take [s].
        octet: how the robot declares one, a key of unitree_idl.OCTETS.
    """
    if policy == "ignore":
        return
    ends = clock.now() + wait
    switcher = Service(bus, SWITCHER, clock, octet)
    running = _running(switcher, wait)
    if running and policy == "refuse":
        raise RefusedError(
            f"driver unitree: the vendor's controller {running!r} runs the robot; {REMEDY}, or "
            "give --motion-mode release"
        )
    while running:
        if clock.now() >= ends:
            raise RefusedError(
                f"driver unitree: the vendor's controller {running!r} was not released within "
                f"{wait:g} s; {REMEDY}"
            )
        left = max(ends - clock.now(), ANSWER_WITHIN)
        _release(switcher, Service(bus, SPORT, clock, octet) if stands_down else None, left)
        stands_down = False
        running = _running(switcher, max(ends - clock.now(), ANSWER_WITHIN))


def _release(switcher: Service, sport: Service | None, wait: float) -> None:
    """Ask the robot to lie down, where it can (`sport`), and its controller to let go.

    A robot that does not say that it lies down may be standing, and would drop: `RefusedError`.
    """
    clock = switcher.clock
    if sport:
        answer = sport.call(STAND_DOWN, {}, wait)
        if answer is None or answer[0] != 0:
            said = f"answered with code {answer[0]}" if answer else "did not answer"
            raise RefusedError(
                f"driver unitree: the robot was asked to lie down and {said}: nothing was "
                f"released; {REMEDY}"
            )
        clock.sleep_until(clock.now() + STAND_DOWN_SECONDS)
    switcher.call(RELEASE_MODE, {}, ANSWER_WITHIN)
    clock.sleep_until(clock.now() + RELEASE_SECONDS)


def _running(switcher: Service, wait: float) -> str:
    """Return the name of the controller that runs, "" for none, or raise `RefusedError`."""
    answer = switcher.call(CHECK_MODE, {}, wait)
    if answer is None:
        raise RefusedError(
            f"driver unitree: the robot's service {SWITCHER!r} did not answer within "
            f"{wait:.3g} s: end the vendor's mode by hand; then, and for a simulator, give "
            "--motion-mode ignore"
        )
    code, data = answer
    try:
        name = json.loads(data)["name"] if code == 0 else None
    except (ValueError, TypeError, KeyError):
        name = None
    if not isinstance(name, str):
        raise RefusedError(
            f"driver unitree: the robot's service {SWITCHER!r} answered with code {code} and "
            f"{data[:80]!r}: end the vendor's mode by hand, then give --motion-mode ignore"
        )
    return name
