"""What a driver warns of is an event of the node with a code, and a sentence in shadow mode."""

import numpy as np
import pytest
from node_helpers import policy

from robot_ppo_node.app.shadow import ReadOnly, Shadow
from robot_ppo_node.clock import SteppedClock
from robot_ppo_node.commands.base import FixedCommand
from robot_ppo_node.control.events import Code
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import DriverWarning
from robot_ppo_node.drivers.fake import FakeDriver
from robot_ppo_node.log import recorder
from robot_ppo_node.node import Node

SENTENCE = "driver fake: no new state for 0.06 s"


class Warner(FakeDriver):
    """Warns once, in its tenth tick."""

    asked = 0

    def warnings(self):
        self.asked += 1
        due = self.asked == 10
        return (DriverWarning("messages_dropped", "no new state for 0.06 s"),) if due else ()


class Broken(FakeDriver):
    def warnings(self):
        raise OSError("no")


def made(driver_type):
    clock = SteppedClock()
    pose = policy().contract.robot.rest().astype(np.float32)
    driver = driver_type(clock, pose=pose)
    log = recorder.for_policy(policy(), 10.0)
    return Node(policy(), driver, clock, FixedCommand(), log, arm=True), log


def test_a_drivers_warning_is_an_event_with_its_code_and_is_in_the_log():
    node, log = made(Warner)
    node.run(4.0)
    (event,) = [event for _, event in node.events if event.code is Code.WARNING]
    assert event.reason.code == "messages_dropped" and str(event) == SENTENCE
    assert not event.asks and node.fault is None
    assert SENTENCE.encode() in [told["text"] for told in log.told]


@pytest.mark.parametrize("driver_type", [FakeDriver, Broken])
def test_a_driver_that_has_no_warnings_runs_as_ever(driver_type):
    node, _ = made(driver_type)
    node.run(4.0)
    assert node.fault is None and not [e for _, e in node.events if e.code is Code.WARNING]
    assert any(e.state is State.POLICY for _, e in node.events)


@pytest.mark.parametrize("driver_type, said", [(Warner, [SENTENCE]), (FakeDriver, [])])
def test_shadow_mode_says_what_its_driver_warns_of(driver_type, said, monkeypatch):
    clock = SteppedClock()
    shadow = Shadow(policy(), ReadOnly(driver_type(clock)), clock, FixedCommand())
    monkeypatch.setattr(shadow.monitor, "watch", lambda observation: [])
    shadow.prepare()
    heard = []
    shadow.run(1.0, heard.append)
    assert heard == said
