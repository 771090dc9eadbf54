"""The states of the node, the events that it knows, and the one table of what leads where.

    next_state(State.READY, Event.ARMED)     # State.POLICY
    next_state(State.PASSIVE, Event.ARMED)   # RuntimeError: there is no such transition

docs/node_states.md is written from this module: `python -m robot_ppo_node.control.states`.
"""

import enum


class State(enum.IntEnum):
    """What the node is doing; the numbers are those of the log."""

    PASSIVE = 0
    PREFLIGHT = 1
    WIGGLE = 2
    STAND = 3
    READY = 4
    POLICY = 5
    SIT = 6
    DAMP = 7
    HALT = 8


class Event(enum.Enum):
    """What makes the node change its state; the text is the cause, for people."""

    FIT = "measurements arrive, and every state guard passes"
    UNFIT = "a state guard says damp, or no measurements arrive"
    GO = "every check passed, and a person said go (`--stand`, `--arm`, key p)"
    GO_WIGGLE = "the same, with `--wiggle`"
    ANSWERED = "every joint answered with the right sign"
    STOOD = "the standing-up time of robot.yaml is over"
    ARMED = "a person armed it (`--arm`, key p), and the pose is near the default pose"
    STOP = "stop: key o, Ctrl-C, SIGTERM, the end of `--seconds`"
    HALTED = "a second of standing still is over"
    LOWERED = "the sitting-down time, that of standing up, is over"
    FAULT = "a guard says damp, the watchdog took over, or an error of the node itself"
    EMERGENCY = "key x, Ctrl-C or SIGTERM once more, `Node.damp` or `Node.end`"
    RESET = "a person says so: key r"


SENDS = {
    State.PASSIVE: "nothing new; waits for a robot whose measurements pass every state guard",
    State.PREFLIGHT: "nothing new; watches the robot at rest for a second and judges it",
    State.WIGGLE: "small steps of one joint after the other, with weak gains; only with `--wiggle`",
    State.STAND: "from the measured pose to the default pose, with the standing gains",
    State.READY: "the default pose with the standing gains, until armed",
    State.POLICY: "the network's targets inside the envelope, with the gains of its training",
    State.HALT: "the same, asked to stand still: a robot that lies down in mid-stride falls over",
    State.SIT: "from the last target to the lying pose, with the standing gains",
    State.DAMP: "velocity gains only, again and again until it is ended; latched",
}
"""What the robot gets in each state."""

SILENT = (State.PASSIVE, State.PREFLIGHT)
"""States that send nothing. A stop ends the node here: there is nothing to bring down."""

RUNNING = (State.POLICY, State.HALT)
"""States in which the network runs."""

ENDING = (State.HALT, State.SIT, State.DAMP)
"""States after a stop: another one is meant for somebody who cannot wait."""

TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.PASSIVE, Event.FIT): State.PREFLIGHT,
    (State.PASSIVE, Event.EMERGENCY): State.DAMP,
    (State.PREFLIGHT, Event.UNFIT): State.PASSIVE,
    (State.PREFLIGHT, Event.GO): State.STAND,
    (State.PREFLIGHT, Event.GO_WIGGLE): State.WIGGLE,
    (State.PREFLIGHT, Event.EMERGENCY): State.DAMP,
    (State.WIGGLE, Event.ANSWERED): State.STAND,
    (State.WIGGLE, Event.STOP): State.DAMP,
    (State.WIGGLE, Event.FAULT): State.DAMP,
    (State.WIGGLE, Event.EMERGENCY): State.DAMP,
    (State.STAND, Event.STOOD): State.READY,
    (State.STAND, Event.STOP): State.SIT,
    (State.STAND, Event.FAULT): State.DAMP,
    (State.STAND, Event.EMERGENCY): State.DAMP,
    (State.READY, Event.ARMED): State.POLICY,
    (State.READY, Event.STOP): State.SIT,
    (State.READY, Event.FAULT): State.DAMP,
    (State.READY, Event.EMERGENCY): State.DAMP,
    (State.POLICY, Event.STOP): State.HALT,
    (State.POLICY, Event.FAULT): State.DAMP,
    (State.POLICY, Event.EMERGENCY): State.DAMP,
    (State.HALT, Event.HALTED): State.SIT,
    (State.HALT, Event.FAULT): State.DAMP,
    (State.HALT, Event.EMERGENCY): State.DAMP,
    (State.SIT, Event.LOWERED): State.DAMP,
    (State.SIT, Event.FAULT): State.DAMP,
    (State.SIT, Event.EMERGENCY): State.DAMP,
    (State.DAMP, Event.RESET): State.PASSIVE,
}
"""Every allowed transition; anything else is an error in the program."""


def leads_on(state: State, event: Event) -> bool:
    """Return whether `event` means anything in `state`."""
    return (state, event) in TRANSITIONS


def next_state(state: State, event: Event) -> State:
    """Return where `event` leads from `state`; RuntimeError if the table has no such row."""
    if not leads_on(state, event):
        raise RuntimeError(f"in {state.name} the node knows no event {event.name}")
    return TRANSITIONS[state, event]


def page() -> str:
    """Return docs/node_states.md."""
    sent = [f"| {state.name} | {text} |" for state, text in SENDS.items()]
    rows = [
        f"| {old.name} | {new.name} | {event.name} | {event.value} |"
        for (old, event), new in TRANSITIONS.items()
    ]
    return _PAGE.format(sent="\n".join(sent), rows="\n".join(rows))


_PAGE = """# The states of the node

Written by `python -m robot_ppo_node.control.states`; a test compares this page with the code.

| State | What is sent |
|---|---|
{sent}

| From | To | Event | Cause |
|---|---|---|---|
{rows}

There are no other transitions: the node refuses an event that the table does not have. In PASSIVE \
and PREFLIGHT the node sends nothing, so a stop simply ends it there, and an error of the driver \
is a reason to wait. After DAMP and `r`, drivers that repeat commands (`unitree`, `ros2`) repeat \
damping there, so that the robot stays braked until it stands up; over UDP it damps by itself.

**Nothing moves by itself.** Leaving PREFLIGHT and leaving READY each take a person's word: key \
`p` (on a terminal) once for each, `--stand` for the first, `--arm` for both. A key is for the \
checks that it asks about: where one fails, or the robot is not heard any more, `p` has to be said \
again, while `--stand` and `--arm` wait for as long as it takes. After DAMP every word is \
forgotten, `--arm` too: `r`, then `p` and `p` again.

**Nothing jumps.** Targets and gains go from those of one state to those of the next over 0.2 s. \
The exception is damping after a fault or an emergency stop, which comes with the next command, \
also where it comes while the gains fade after sitting down.

**Damping stays.** It is sent again in every period until it is ended: by Ctrl-C or SIGTERM, or \
after a second where nobody is there to end it ([node.md](node.md) has the table). When the node \
itself dies, its [watchdog](node.md#the-watchdog) goes on.
"""


if __name__ == "__main__":
    print(page(), end="")
