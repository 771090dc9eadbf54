"""The states of the node and every way from one to another."""

import enum


class State(enum.IntEnum):
    """What the node is doing."""

    PASSIVE = 0
    """Reads; sends nothing. Waits for a robot whose measurements are inside the envelope."""
    STAND = 1
    """Moves from the measured pose to the default pose with the standing gains."""
    READY = 2
    """Holds the default pose and waits to be armed."""
    POLICY = 3
    """Runs the network."""
    DAMP = 4
    """Sends velocity gains only, until it ends. There is no way out: a person starts again."""


EDGES: dict[tuple[State, State], str] = {
    (State.PASSIVE, State.STAND): "a state arrived and every state guard passes",
    (State.STAND, State.READY): "the standing-up time of robot.yaml is over",
    (State.READY, State.POLICY): "armed (`--arm` or key p), and the pose is near the default pose",
    (State.PASSIVE, State.DAMP): "stop (Ctrl-C, SIGTERM, key x, end of --seconds), or fault",
    (State.STAND, State.DAMP): "stop, or fault (a guard says damp)",
    (State.READY, State.DAMP): "stop, or fault",
    (State.POLICY, State.DAMP): "stop, or fault",
}
"""Every allowed transition and its cause; any other is an error in the program."""


def check_edge(old: State, new: State) -> None:
    """Raise RuntimeError if the table has no such transition."""
    if (old, new) not in EDGES:
        raise RuntimeError(f"the node has no transition from {old.name} to {new.name}")
