"""The states of the node, its events, and the one table of what leads where, per life cycle.

    next_state(State.READY, Event.ARMED, "lying")      # State.POLICY
    next_state(State.READY, Event.ARMED, "hanging")    # RuntimeError: there is no such transition

`life_cycle.start` of robot.yaml selects the rows: a robot that lies or sits goes back to its rest
pose at the end, one that stands or hangs stays on its feet until the operator has hold of it.
docs/node_states.md is written from this module: `python -m robot_ppo_node.control.states`.
"""

import enum
from typing import NamedTuple


class State(enum.IntEnum):
    """States of the node; the numbers are those of the log."""

    PASSIVE = 0
    PREFLIGHT = 1
    JOINT_CHECK = 2
    STAND = 3
    READY = 4
    POLICY = 5
    SIT = 6
    DAMP = 7
    HALT = 8
    HOLD = 9


class Event(enum.Enum):
    """Causes of a change of state; the text is for people."""

    FIT = "measurements arrive, and every state guard passes"
    UNFIT = "a state guard says damp, or no measurements arrive"
    GO = "every check passed, and a person said go (`--stand`, `--arm`, key p)"
    GO_JOINT_CHECK = "the same, with `--joint-check`"
    ANSWERED = "every joint answered with the right sign"
    STOOD = "the standing-up time of robot.yaml is over"
    ARMED = "a person armed it (`--arm`, key p), and the pose is near the default pose"
    CARRIED = "the same, and the feet have carried the robot for a second (where it measures that)"
    STOP = "stop: key o, Ctrl-C, SIGTERM, the end of `--seconds`"
    HALTED = "a second of standing still is over"
    LOWERED = "the sitting-down time, that of standing up, is over"
    RELEASED = "the operator has hold of the robot and says stop once more (key o)"
    HELD_LONG = "nobody said so for 10 s"
    FAULT = "a guard says damp, the watchdog took over, or an error of the node itself"
    EMERGENCY = "key x, Ctrl-C or SIGTERM once more, `Node.damp` or `Node.end`"
    RESET = "a person says so: key r"


SENDS = {
    State.PASSIVE: "nothing new; waits for a robot whose measurements pass every state guard",
    State.PREFLIGHT: "nothing new; watches the robot at rest for a second and judges it",
    State.JOINT_CHECK: "small steps of one joint after the other, with weak gains; only with "
    "`--joint-check`",
    State.STAND: "from the measured pose to the default pose, with the standing gains",
    State.READY: "the default pose with the standing gains, until armed; a robot that hangs is "
    "lowered meanwhile",
    State.POLICY: "the network's targets inside the envelope, with the gains of its training",
    State.HALT: "the same, asked to stand still: a robot that lies down or goes limp in mid-stride "
    "falls over",
    State.HOLD: "the last target, with the standing gains, until the operator has hold of it",
    State.SIT: "from the last target to the lying pose, with the standing gains",
    State.DAMP: "velocity gains only, again and again until it is ended; latched",
}
"""State -> what is sent in it, for people."""

SILENT = (State.PASSIVE, State.PREFLIGHT)
"""States that send nothing. A stop ends the node here: there is nothing to bring down."""

RUNNING = (State.POLICY, State.HALT)
"""States in which the network runs."""

ENDING = (State.HALT, State.HOLD, State.SIT, State.DAMP)
"""States after a stop: Ctrl-C or SIGTERM again is meant for somebody who cannot wait."""

GROUND = ("lying", "sitting")
UPRIGHT = ("standing", "hanging")
STARTS = (*GROUND, *UPRIGHT)
"""Values of `life_cycle.start`."""


class Row(NamedTuple):
    """One allowed transition."""

    old: State
    event: Event
    new: State
    starts: tuple[str, ...] = STARTS
    """The life cycles that have it."""


def _abort(state: State, starts: tuple[str, ...] = STARTS) -> tuple[Row, Row]:
    """Return the rows of a state that sends: a fault and a person bring it down at any time."""
    return (
        Row(state, Event.FAULT, State.DAMP, starts),
        Row(state, Event.EMERGENCY, State.DAMP, starts),
    )


ROWS: tuple[Row, ...] = (
    Row(State.PASSIVE, Event.FIT, State.PREFLIGHT),
    Row(State.PASSIVE, Event.EMERGENCY, State.DAMP),
    Row(State.PREFLIGHT, Event.UNFIT, State.PASSIVE),
    Row(State.PREFLIGHT, Event.GO, State.STAND),
    Row(State.PREFLIGHT, Event.GO_JOINT_CHECK, State.JOINT_CHECK),
    Row(State.PREFLIGHT, Event.EMERGENCY, State.DAMP),
    Row(State.JOINT_CHECK, Event.ANSWERED, State.STAND),
    Row(State.JOINT_CHECK, Event.STOP, State.DAMP),
    *_abort(State.JOINT_CHECK),
    Row(State.STAND, Event.STOOD, State.READY),
    Row(State.STAND, Event.STOP, State.SIT, GROUND),
    Row(State.STAND, Event.STOP, State.HOLD, UPRIGHT),
    *_abort(State.STAND),
    Row(State.READY, Event.ARMED, State.POLICY, ("lying", "sitting", "standing")),
    Row(State.READY, Event.CARRIED, State.POLICY, ("hanging",)),
    Row(State.READY, Event.STOP, State.SIT, GROUND),
    Row(State.READY, Event.STOP, State.HOLD, UPRIGHT),
    *_abort(State.READY),
    Row(State.POLICY, Event.STOP, State.HALT),
    *_abort(State.POLICY),
    Row(State.HALT, Event.HALTED, State.SIT, GROUND),
    Row(State.HALT, Event.RELEASED, State.DAMP, UPRIGHT),
    Row(State.HALT, Event.HELD_LONG, State.DAMP, UPRIGHT),
    *_abort(State.HALT),
    Row(State.HOLD, Event.RELEASED, State.DAMP, UPRIGHT),
    Row(State.HOLD, Event.HELD_LONG, State.DAMP, UPRIGHT),
    *_abort(State.HOLD, UPRIGHT),
    Row(State.SIT, Event.LOWERED, State.DAMP, GROUND),
    *_abort(State.SIT, GROUND),
    Row(State.DAMP, Event.RESET, State.PASSIVE),
)
"""Every allowed transition; anything else is an error in the program."""

TRANSITIONS: dict[str, dict[tuple[State, Event], State]] = {
    start: {(row.old, row.event): row.new for row in ROWS if start in row.starts}
    for start in STARTS
}
"""life cycle -> (state, event) -> state."""


def leads_on(state: State, event: Event, start: str) -> bool:
    """Return whether `event` means anything in `state`, for a robot that starts so."""
    return (state, event) in TRANSITIONS[start]


def next_state(state: State, event: Event, start: str) -> State:
    """Return where `event` leads from `state`; RuntimeError if the table has no such row."""
    if not leads_on(state, event, start):
        raise RuntimeError(
            f"in {state.name} the node of a robot that starts {start} knows no event {event.name}"
        )
    return TRANSITIONS[start][state, event]


def page() -> str:
    """Return docs/node_states.md."""
    sent = [f"| {state.name} | {text} |" for state, text in SENDS.items()]
    rows = [
        f"| {row.old.name} | {row.new.name} | {row.event.name} | {row.event.value} | "
        f"{'every robot' if row.starts == STARTS else ', '.join(row.starts)} |"
        for row in ROWS
    ]
    return _PAGE.format(sent="\n".join(sent), rows="\n".join(rows))


_PAGE = """# The states of the node

Written by `python -m robot_ppo_node.control.states`; a test compares this page with the code.

| State | What is sent |
|---|---|
{sent}

`life_cycle: {{start: ...}}` of robot.yaml, `lying` where it says nothing, selects the rows of the \
last column.

| From | To | Event | Cause | Robot that starts |
|---|---|---|---|---|
{rows}

**Lying, sitting.** The robot rests on the ground in `rest_pose`, and goes back to it after a stop.

**Standing.** PREFLIGHT watches a robot on its feet, held by the operator or by its own damping; \
STAND goes to the default pose from what is measured.

**Hanging.** PREFLIGHT watches the robot on its gantry: the feet carry nothing, where that is \
measured, and the limits of tilt hold there, too. STAND brings the joints to the default pose in \
the air. In READY the operator lowers the robot. The policy starts once every foot has been \
pressed for a second; of a robot that does not measure its feet the operator is the judge, so that \
it is key `p` in READY that starts it, and `--arm` alone does not.

A robot that starts standing or hanging is never sent to lie down. After a stop the policy stands \
still (HALT), or the joints stay where they are (HOLD), until the operator has hold of the robot \
and says stop once more, for 10 s at most. Then the motors brake, and it sinks.

**What fails its checks ends the run.** Where a robot that answers fails a state guard in PASSIVE \
or a check in PREFLIGHT for 5 s (`--fail-after`), or is silent in PASSIVE for `--wait`, the node \
ends with the check and exit code 3, and nothing was sent. So does a run whose `--seconds` are \
over before they passed. With `--arm`, a joint that is far from the default pose in READY for as \
long is a stop, with exit code 3. After key `r` a person is \
there, and nothing ends by itself.

There are no other transitions: the node refuses an event that the table does not have. In PASSIVE \
and PREFLIGHT the node sends nothing, so a stop simply ends it there, and an error of the driver \
is a reason to wait. After DAMP and `r`, drivers that repeat commands (`unitree`, `ros2`) repeat \
damping there, so that the robot stays braked until it stands up; over UDP it damps by itself.

**Nothing moves by itself.** Leaving PREFLIGHT and leaving READY each take the operator's \
approval: key `p` (on a terminal) once for each, `--stand` for the first, `--arm` for both. A key \
is for the checks that it asks about: where one fails, or the robot is not heard any more, `p` has \
to be pressed again, while `--stand` and `--arm` wait for as long as it takes. After DAMP every \
approval is forgotten, `--arm` too: `r`, then `p` and `p` again.

**Nothing jumps.** Targets and gains go from those of one state to those of the next over 0.2 s. \
The exception is damping after a fault or an emergency stop, which comes with the next command, \
also where it comes while the gains fade after sitting down.

**Damping stays.** It is sent again in every period until it is ended: by Ctrl-C or SIGTERM, or \
after a second where nobody is there to end it ([node.md](node.md) has the table). When the node \
itself dies, its [watchdog](node.md#the-watchdog) goes on.
"""


if __name__ == "__main__":
    print(page(), end="")
