"""`robot-ppo-node` as a person and a script call it: exit codes, sentences, signals, a robot."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from fork_server import node
from node_helpers import ROOT, contract, policy_file, robot, write_policy
from process_helpers import (
    QUICK,
    Robot,
    deaf_pipe,
    environment,
    finish,
    free_port,
    is_damping,
    run_arguments,
    start,
    wait_for,
    walked,
)

from robot_ppo_export.contract import contract as contracts
from robot_ppo_node.app import cli
from robot_ppo_node.commands.udp_commands import CommandSender

pytestmark = pytest.mark.real_time


def call(capsys, *arguments) -> tuple[int, str, str]:
    code = cli.main([str(a) for a in arguments])
    out = capsys.readouterr()
    return code, out.out, out.err


# --- run


def test_a_timed_run_walks_damps_records_and_replays(tmp_path, capsys):
    log = tmp_path / "walk.rlog"
    with Robot() as r:
        more = ("--arm", "--command", "0.5,0,0", "--seconds", 4.0, "--record", log)
        code, out, err = finish(start(*run_arguments(r, *more)))
    assert (code, err) == (0, "")
    events = [line[12:] for line in out.splitlines() if " s  " in line[:13]]
    order = [text.partition(":")[0] for text in events if "waiting" not in text]
    assert order == ["PREFLIGHT", "STAND", "READY", "POLICY", "HALT", "SIT", "DAMP"]
    assert "HALT: the 4 s are over" in out
    assert 0.7 <= r.damped_for() <= 1.1  # a second, of which 0.2 s fade
    assert r.wire.counters.malformed == {}
    code, out, _ = call(capsys, "replay", log, policy_file(standing_up=QUICK))
    assert code == 0
    assert re.search(r"(\d+) of \1 ticks recomputed, every bit equal", out)


def test_without_a_word_and_without_a_terminal_nothing_is_sent():
    with Robot() as r:
        process = start(*run_arguments(r))
        said = wait_for(process, "PREFLIGHT: waiting: the operator's approval to stand up")
        time.sleep(0.3)
        process.terminate()
        code, _, _ = finish(process)
    assert code == 0
    assert "not armed: the robot will not move; --stand stands it up, --arm runs it" in said
    assert not r.commands


def test_with_stand_alone_the_policy_never_runs():
    with Robot() as r:
        code, out, _ = finish(start(*run_arguments(r, "--stand", "--seconds", 2.0)))
    assert code == 0
    assert "READY: waiting for the operator's approval to walk" in out
    assert "POLICY" not in out
    assert r.commands


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sits_down_damps_for_a_second_and_exits_0(number):
    with Robot() as r:
        process = start(*run_arguments(r, "--arm"))
        wait_for(process, "POLICY")
        before = len(r.commands)
        process.send_signal(number)
        code, out, err = finish(process)
    assert (code, err) == (0, "")
    assert f"HALT: {'Ctrl-C' if number == signal.SIGINT else number.name}" in out
    assert 0.7 <= r.damped_for() <= 1.1  # a second, of which 0.2 s fade
    assert is_damping(r.commands[-1])
    assert r.commands[before + 3].kp.any()  # it sat down before


def test_a_fault_in_a_timed_run_exits_3_with_the_reason():
    with Robot() as r:
        r.fall_after = 20
        code, out, err = finish(start(*run_arguments(r, "--arm", "--seconds", 10)))
    assert code == 3
    assert "FAULT: tilt: 3.14" in out
    assert err.startswith("robot-ppo-node: the run ended in a fault: tilt")
    assert is_damping(r.commands[-1])


@pytest.mark.parametrize(("every", "hint"), [(0.002, False), (0.01, True)])
def test_joints_that_oscillate_under_torques_held_for_long_end_with_that_hint(every, hint):
    """As in a simulator that steps as seldom; a robot with short periods has another illness."""
    with Robot(every=every) as r:
        r.speed = 100.0
        code, _, err = finish(start(*run_arguments(r, "--stand", "--seconds", 5)))
    assert code == 3
    assert "the run ended in a fault: joint_velocity" in err
    assert ("light joints oscillate" in err) == hint
    assert not hint or re.search(r"states come every 1[0-9]\.\d ms", err)


def test_what_fails_its_checks_before_anything_moves_exits_3_with_the_check():
    with Robot() as r:
        r.fall_after = -1  # from the first state on
        more = ("--arm", "--fail-after", 0.5, "--seconds", 20)
        began = time.monotonic()
        code, out, err = finish(start(*run_arguments(r, *more)))
        assert time.monotonic() - began < 15
    assert code == 3
    assert re.search(r"giving up: tilt: 3.14\S* rad, limit 1 rad; failing for 0.5 s", out)
    assert err.startswith("robot-ppo-node: the run ended in a fault: tilt")
    assert not r.commands


def test_a_fault_without_an_end_damps_until_somebody_ends_it(tmp_path):
    log = tmp_path / "walk.rlog"
    with Robot() as r:
        r.fall_after = 20
        process = start(*run_arguments(r, "--arm", "--record", log))
        wait_for(process, "FAULT")
        time.sleep(1.2)
        assert process.poll() is None
        assert log.exists()  # written while the robot is still being damped
        assert is_damping(r.commands[-1])
        process.send_signal(signal.SIGTERM)
        code, _, _ = finish(process)
    assert code == 3


@pytest.mark.parametrize("full", [True, False], ids=["full", "reader gone"])
def test_a_deaf_screen_changes_neither_the_run_nor_its_exit_code(full):
    out, into = deaf_pipe(full)
    with Robot() as r:
        r.fall_after = 20
        arguments = run_arguments(r, "--arm", "--seconds", 10)
        process = start(*arguments, stdout=into, stderr=into)
        assert process.wait(20) == 3
    assert 0.7 <= r.damped_for() <= 1.2
    for file in {out, into} - {-1}:
        os.close(file)


def test_a_refusal_that_nobody_can_read_keeps_its_exit_code():
    _, into = deaf_pipe(full=False)
    process = start("check", "/no/such.onnx", stderr=into)
    assert process.wait(20) == 2
    os.close(into)


def test_a_closed_standard_file_is_held_so_that_no_other_file_gets_its_number():
    code = (
        "import os; from robot_ppo_node.host import console\n"
        "os.close(2); os.close(0); console.hold_standard_files()\n"
        "assert os.open('/dev/zero', os.O_RDONLY) > 2"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)


def test_a_library_that_writes_to_a_full_stderr_is_not_held_up():
    """Negative control: without `unblock` the process hangs."""
    code = "import os, sys; from robot_ppo_node.host import console\n"
    write = "try: os.write(2, bytes(10**6))\nexcept BlockingIOError: sys.exit(7)"
    out, into = deaf_pipe(full=True)
    for unblock in ("console.unblock(2)\n", ""):
        process = subprocess.Popen(
            [sys.executable, "-c", code + unblock + write], env=environment(), stderr=into
        )
        if unblock:
            assert process.wait(20) == 7
        else:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1.0)
            process.kill()
            process.wait()
    os.close(out)
    os.close(into)


SLOW_END = """
import sys, time
from robot_ppo_node.app import cli
from robot_ppo_node.drivers.udp.udp_driver import UdpDriver
def slow(self, close=UdpDriver.close):
    print("closing", flush=True)
    time.sleep(0.5)
    close(self)
    print("closed", flush=True)
UdpDriver.close = slow
sys.exit(cli.main(sys.argv[1:]))
"""


def test_ctrl_c_while_the_run_ends_skips_nothing():
    with Robot() as r:
        arguments = [str(a) for a in run_arguments(r, "--arm")]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = node.start("-c", SLOW_END, *arguments, env=environment(), **pipes)
        wait_for(process, "POLICY")
        process.send_signal(signal.SIGTERM)
        wait_for(process, "closing")
        process.send_signal(signal.SIGINT)
        code, out, err = finish(process)
    assert (code, err) == (0, "")
    assert "closed" in out and "log: " in out
    assert is_damping(r.commands[-1])


def test_an_emergency_stop_damps_until_somebody_ends_it_and_a_lost_terminal_does_not():
    with Robot() as r:
        port = free_port()
        listen = ("--source", "udp", "--listen", f"127.0.0.1:{port}")
        process = start(*run_arguments(r, "--arm", *listen))
        wait_for(process, "POLICY")
        with CommandSender("127.0.0.1", port) as sender:
            sender.stop()
        text = wait_for(process, "DAMP")
        assert "emergency stop over UDP; damping until Ctrl-C or SIGTERM" in text
        process.send_signal(signal.SIGHUP)
        time.sleep(1.5)
        assert process.poll() is None
        assert r.damped_for() > 1.4
        process.send_signal(signal.SIGTERM)
        code, _, err = finish(process)
    assert (code, err) == (0, "")


def test_a_lost_terminal_lets_a_robot_that_sits_down_end_in_order():
    with Robot() as r:
        process = start(*run_arguments(r, "--arm"))
        wait_for(process, "POLICY")
        for _ in range(2):
            process.send_signal(signal.SIGHUP)
            time.sleep(0.1)
        code, out, err = finish(process)
    assert (code, err) == (0, "")
    assert "HALT: SIGHUP" in out and "DAMP: lowered" in out
    assert 0.7 <= r.damped_for() <= 1.1


def test_a_robot_with_other_joints_is_refused():
    with Robot((*robot().joint_names[:-1], "RL_knee")) as r:
        code, _, err = finish(start(*run_arguments(r, "--arm", "--seconds", 1)))
    assert code == 3
    assert "only the policy has [RL_calf_joint], only the robot has [RL_knee]" in err
    assert not r.commands


def test_on_a_terminal_keys_lead_on_and_ctrl_c_twice_ends():
    parent, child = pty.openpty()
    with Robot() as r:
        process = start(*run_arguments(r), stdin=child)
        wait_for(process, "approval to stand up: p stands the robot up")
        time.sleep(0.3)
        assert not r.commands
        os.write(parent, b"p")
        wait_for(process, "approval to walk: p runs the policy")
        time.sleep(0.3)
        os.write(parent, b"wp")
        wait_for(process, "POLICY")
        process.send_signal(signal.SIGINT)
        wait_for(process, "DAMP: lowered: r goes back to PASSIVE, Ctrl-C ends")
        time.sleep(1.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        code, _, err = finish(process)
    os.close(parent)
    os.close(child)
    assert (code, err) == (0, "")


def test_a_killed_node_without_a_watchdog_leaves_a_robot_that_damps_by_itself():
    with Robot() as r:
        process = start(*run_arguments(r, "--arm"))
        wait_for(process, "POLICY")
        process.kill()
        finish(process)
        time.sleep(0.2)
        assert r.wire.silent(time.monotonic())
        assert not is_damping(r.commands[-1])


def test_a_robot_that_reboots_while_the_node_waits_needs_no_new_node():
    with Robot() as r:
        process = start(*run_arguments(r))
        wait_for(process, "approval to stand up")
    port = r.wire.port
    wait_for(process, "PASSIVE: waiting: stale_state")
    with Robot(port=port) as again:
        wait_for(process, "PREFLIGHT: watching")
        wait_for(process, "approval to stand up")
        process.terminate()
        code, _, err = finish(process)
    assert (code, err) == (0, "")
    assert not again.commands


# --- check, describe, doctor


def test_check_prints_what_it_verified(capsys):
    code, out, err = call(capsys, "check", policy_file())
    assert (code, err) == (0, "")
    assert re.search(r"golden +ok +64 ticks, worst difference \S+ in \w+\[\d+\] of tick \d+", out)


def test_check_refuses_a_flipped_byte_with_3(tmp_path, capsys):
    data = bytearray(policy_file().read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.onnx").write_bytes(data)
    code, _, err = call(capsys, "check", tmp_path / "bad.onnx")
    assert code == 3
    assert "copy or export it again" in err
    assert len(err.splitlines()) == 1


def test_describe_says_everything_and_json_is_the_contract(capsys):
    code, out, _ = call(capsys, "describe", policy_file())
    assert code == 0
    for word in (*robot().joint_names, *(t.name for t in contract().observation), "max_tilt"):
        assert word in out
    code, out, _ = call(capsys, "describe", policy_file(), "--json")
    assert contracts.from_json(out) == contract()


def test_describe_shows_what_the_policy_did_and_the_gain_of_each_axis(capsys):
    figures = {"velocity_error": 0.125, "falls": 0.0}
    gain = {"vx": 0.98, "yaw_rate": 0.755}
    scores = contracts.Scores(condition="nominal", passed=True, figures=figures, gain=gain)
    file = write_policy(msgspec.structs.replace(contract(), scores=scores))
    _, out, _ = call(capsys, "describe", file)
    assert "nominal: passed" in out
    assert re.search(r"^velocity_error +0\.125$", out, re.MULTILINE)
    assert re.search(r"^axis +measured over commanded\n.*\nvx +0\.98\nyaw_rate +0\.7", out, re.M)


def test_doctor_reports(capsys):
    code, out, _ = call(capsys, "doctor", "--seconds", 0.2)
    assert code == 0
    for name in (
        "kernel",
        "SCHED_FIFO",
        "memlock",
        "governor",
        "isolated cpus",
        "clock source",
        "timer slack",
        "wake-up at 500 Hz",
    ):
        assert name in out


# --- wrong input


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("run", "FILE", "--driver", "upd"), "did you mean 'udp'"),
        (("run", "FILE", "--driver", "udp", "--command", "fast"), "is not three numbers"),
        (("run", "FILE", "--driver", "udp", "--command", "nan,0,0"), "is not three numbers"),
        (("run", "FILE", "--driver", "udp", "--record", "/no/folder/x.rlog"), "folder that exists"),
        (("run", "FILE", "--driver", "udp", "--limits", "/no/such.yaml"), "/no/such.yaml"),
        (("selftest", "FILE", "--limits", "/no/such.yaml"), "/no/such.yaml"),
        (("check", "/no/such.onnx"), "cannot be read"),
        (("replay", "/no/such.rlog", "FILE"), "cannot be read"),
    ],
)
def test_wrong_input_is_one_sentence_and_2(capsys, arguments, text):
    arguments = [policy_file() if a == "FILE" else a for a in arguments]
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "")
    assert text in err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("fly",),
        ("run", "x.onnx"),
        ("run", "x.onnx", "--driver", "udp", "--seconds", "-1"),
        ("run", "x.onnx", "--driver", "udp", "--seconds", "nan"),
        ("run", "x.onnx", "--driver", "udp", "--port", "70000"),
    ],
)
def test_a_wrong_command_line_exits_2(capsys, arguments):
    with pytest.raises(SystemExit) as end:
        cli.main(list(arguments))
    assert end.value.code == 2
    capsys.readouterr()


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("--version",)])
def test_help_needs_nothing_heavy(arguments):
    code = (
        "import sys; from robot_ppo_node.app import cli\n"
        f"try: cli.main({list(arguments)!r})\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'numpy', 'onnxruntime', 'msgspec', 'torch', 'mujoco'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True, capture_output=True)


def test_the_node_imports_neither_training_nor_onnx():
    code = (
        "import sys; from robot_ppo_node.app import report, run\n"
        "from robot_ppo_node.app import replay\n"
        "wrong = {'torch', 'mujoco', 'robot_ppo', 'onnx'} & set(sys.modules)\n"
        "assert not wrong, wrong"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)


# --- the documentation


def test_the_robot_of_the_documentation_works():
    """Execute the example of docs/drivers.md as it stands, and let the node stand it up."""
    text = (ROOT / "docs" / "drivers.md").read_text()
    (example,) = re.findall(r"```python\n(# my_robot\.py.*?)```", text, flags=re.DOTALL)
    assert len(example.splitlines()) <= 70
    env = environment() | {"ROBOT_PORT": "0"}
    robot_side = subprocess.Popen(
        [sys.executable, "-c", example], env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        port = re.search(r"port (\d+)", robot_side.stdout.readline())[1]
        options = ("--driver", "udp", "--port", port, "--no-watchdog")
        code, out, err = walked("run", policy_file(standing_up=QUICK), *options)
        assert (code, err) == (0, "")
        assert "POLICY: running the policy" in out
    finally:
        robot_side.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            robot_side.wait(5)


def test_the_tables_of_the_documentation_are_those_of_the_code():
    from robot_ppo_node.safety.guards import GUARDS

    text = Path(ROOT / "docs" / "envelope.md").read_text()
    for guard in GUARDS:
        does = guard.outcome.name.lower()
        assert f"| `{guard.name}` | {guard.text} | {guard.limit} | {does} |" in text
