"""What a command source holds is given back once, however a run ends."""

import pytest
from node_helpers import policy_file
from test_command_sources import BOUNDS, Actions, Pad

from robot_ppo_export.errors import RefusedError
from robot_ppo_node.app import cli, run
from robot_ppo_node.commands.base import Chosen, FixedCommand
from robot_ppo_node.commands.gamepad import Gamepad
from robot_ppo_node.commands.udp_commands import UdpCommands


class Held(FixedCommand):
    """A source that holds something."""

    closed = 0

    def close(self):
        self.closed += 1


class Broken(Held):
    def close(self):
        super().close()
        raise OSError("gone")


@pytest.mark.parametrize(
    ("more", "breaks", "code"),
    [
        ((), None, 0),
        ((), "prepare", 3),
        ((), "run", 3),
        (("--record", "nowhere/a.rlog"), None, 2),
        (("--limits", "nowhere.yaml"), None, 2),
        (("--shadow",), None, 0),
        (("--shadow",), "prepare", 3),
        (("--shadow",), "run", 3),
    ],
)
def test_a_run_closes_its_source_once_however_it_ends(more, breaks, code, monkeypatch):
    def refuse(*_):
        raise RefusedError("broken")

    source = Held()
    monkeypatch.setattr(run, "choose", lambda *_: source)
    monkeypatch.setattr(run.realtime, "prepare_process", lambda: None)
    monkeypatch.setattr(run, "unblock", lambda _: None)
    if breaks:
        monkeypatch.setattr(run.Shadow if more else run.Node, breaks, refuse)
    options = ["run", str(policy_file()), "--driver", "fake", "--seconds", "0.3", *more]
    record = () if {"--shadow", "--record"} & {*more} else ("--no-record",)
    assert cli.main([*options, *record]) == code
    assert source.closed == 1


def test_all_of_several_sources_are_closed_also_where_one_cannot_be():
    sources = [Held(), Broken(), Held()]
    with pytest.raises(OSError, match="gone"):
        Chosen(*sources).close()
    assert [source.closed for source in sources] == [1, 1, 1]


def test_what_a_source_holds_is_given_back():
    source = UdpCommands(Actions(), port=0)
    Chosen(source).close()
    UdpCommands(Actions(), port=source.port).close()  # the port is free again
    pad = Pad()
    closed = []
    pad.close = lambda: closed.append(pad)
    Gamepad(pad, BOUNDS, Actions()).close()
    assert closed == [pad]
    FixedCommand().close()  # nothing to give back
