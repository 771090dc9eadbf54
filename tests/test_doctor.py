"""Every sign that the doctor knows: it shows where the defect is, and not on a healthy run."""

import csv
import functools
import json
from dataclasses import replace

import env_helpers as helpers
import numpy as np
import pytest
import torch
from env_helpers import train_arguments

from robot_ppo import cli, config
from robot_ppo.diagnostics import doctor
from robot_ppo.diagnostics.checks import record as records
from robot_ppo.diagnostics.checks import world
from robot_ppo.diagnostics.checks.record import Record
from robot_ppo.envs.robot import observations
from robot_ppo.ppo.penalty import MAX_BETA, MIN_BETA
from robot_ppo.ppo.trpo import TRIES
from robot_ppo.training import resume
from robot_ppo_export.errors import InputError

N = 100
SIZE = observations.layout(helpers.shipped().task, helpers.robot()).size


def ramp(start, end, n=N):
    return np.linspace(start, end, n)


def healthy(**changes):
    """The columns of a run that learns to walk, in the shape that real ones have."""
    noise = np.random.default_rng(0).normal(1, 0.05, N)
    columns = {
        "iteration": np.arange(1.0, N + 1),
        "steps": np.arange(1.0, N + 1) * 6144,
        "seconds": ramp(0.4, 40),
        "time_physics": 0.17 * noise,
        "time_policy": 0.011 * noise,
        "time_environment": 0.033 * noise,
        "time_learn": 0.14 * noise,
        "diverged": np.zeros(N),
        "return": ramp(-1.5, 60) * noise,
        "reward_lin_vel_tracking": ramp(1, 30) * noise,
        "reward_yaw_rate_tracking": ramp(0.6, 20) * noise,
        "reward_contact_schedule": ramp(0.9, 20) * noise,
        "reward_action_rate": ramp(-0.5, -2.5) * noise,
        "reward_torque": ramp(-0.02, -0.1) * noise,
        "reward_termination": ramp(-1.9, -0.7) * noise,
        "length": ramp(0.8, 12),
        "failed": ramp(0.95, 0.5),
        "velocity_error": ramp(0.57, 0.25) * noise,
        "kl": ramp(0.02, 0.012) * noise,
        "kl_target": ramp(0.02, 0.015),
        "surrogate": 0.015 * noise,
        "entropy": ramp(8.7, 2),
        "std": ramp(0.5, 0.28),
        "clip_fraction": ramp(0.28, 0.16) * noise,
        "ratio_max": 3.2 * noise,
        "actor_grad_norm": ramp(0.9, 3) * noise,
        "critic_grad_norm": 0.1 * noise,
        "value_loss": 0.01 * noise,
        "explained_variance": ramp(0.5, 0.95),
        "learning_rate": ramp(1e-3, 3e-5),
        "critic_learning_rate": np.full(N, 1e-3),
    }
    return columns | {name: np.broadcast_to(value, N) for name, value in changes.items()}


@functools.cache
def settings(*overrides):
    return config.load("go2_walk", overrides=overrides)


def record(deviations=None, overrides=(), drop=(), **changes):
    columns = {k: v for k, v in healthy(**changes).items() if k not in drop}
    deviations = np.full(SIZE, 0.2) if deviations is None else deviations
    return Record(settings(*overrides), columns, deviations)


def names(findings):
    return [finding.name for finding in findings]


def still(*entries):
    """Deviations of observations of which these entries stand still."""
    deviations = np.full(SIZE, 0.2)
    deviations[list(entries)] = 1e-4
    return deviations


TRPO = "ppo.objective=trpo"
DUAL = "ppo.objective=kl_dual"
CONSTANT = "ppo.learning_rate_schedule=constant"
FAILING = {"length": 0.3, "failed": 1.0, "reward_termination": -2.0}

SICK = {
    # case: (finding, its settings, what of the evidence, the run)
    "a value that is no number": (
        "not_finite", "ppo.learning_rate=0.0003", "value_loss not finite, iterations 81 to 100",
        {"value_loss": np.where(np.arange(N) < 80, 0.01, np.nan)},
    ),
    "no number in a trust region": (
        "not_finite", "ppo.kl_bound=0.005", "value_loss not finite, iterations 81 to 100",
        {"value_loss": np.where(np.arange(N) < 80, 0.01, np.nan), "overrides": [TRPO]},
    ),
    "a gradient without bound": (
        "not_finite", "ppo.learning_rate_schedule=kl", "actor_grad_norm not finite",
        {"actor_grad_norm": np.where(np.arange(N) < 80, 1.0, np.inf)},
    ),
    "simulations that explode": (
        "simulations_diverge", "task.physics.timestep=0.005", "37 simulations",
        {"diverged": ramp(0, 37)},
    ),
    "a KL far above its target": (
        "kl_runaway", "ppo.epochs=2", "kl up to 0.4 instead of a target of 0.015, iterations 51",
        {"kl": np.where(np.arange(N) < 50, 0.01, 0.4)},
    ),
    "a KL that nobody bounds": (
        "kl_runaway", "ppo.kl_target=0.01", "instead of 0.01 to 0.03, iterations 1 to 100",
        {"kl": 0.4, "overrides": [CONSTANT]},
    ),
    "the control that fails": (
        "kl_runaway", "ppo.objective=clip", "kl up to 7",
        {"kl": 7.0, "overrides": ["ppo.objective=unclipped"]},
    ),
    "a price that is too low": (
        "kl_runaway", "ppo.objective=kl_dual", "kl up to 7",
        {"kl": 7.0, "overrides": ["ppo.objective=kl_fixed"]},
    ),
    "a KL above its bound after the update": (
        "kl_runaway", "ppo.epochs=2", "kl_after up to 0.2 instead of a target of 0.01",
        {"kl_after": 0.2, "beta": 9.0, "overrides": [DUAL]},
    ),
    "a learning rate that cannot fall any more": (
        "learning_rate_at_floor", "ppo.epochs=2", "1e-05 (the lower bound) and still kl 0.04",
        {"kl": 0.04, "kl_target": 0.02, "learning_rate": 1e-5},
    ),
    "a learning rate that cannot rise any more": (
        "kl_too_small", "ppo.epochs=8", "KL 0.002 instead of a target of 0.015",
        {"kl": 0.002, "learning_rate": 1e-2},
    ),
    "a constant learning rate that is too small": (
        "kl_too_small", "ppo.learning_rate=0.003", "KL 1e-06",
        {"kl": 1e-6, "learning_rate": 1e-3, "overrides": [CONSTANT]},
    ),
    "everything clipped": (
        "clip_always", "ppo.epochs=2", "62% of the ratios outside 1 +- 0.2, iterations 68 to 100",
        {"clip_fraction": 0.62},
    ),
    "nothing clipped": (
        "clip_never", "ppo.epochs=8", "0.00% of the ratios", {"clip_fraction": 0.0},
    ),
    "a deviation that starts near zero": (
        "dead_exploration", "networks.init_std=0.5", "std 0.01, iterations 1 to 100",
        {"std": 0.01},
    ),
    "a deviation that collapses": (
        "dead_exploration", "ppo.entropy=0.006", "iterations 31 to 100; it was 0.5 at the start",
        {"std": np.where(np.arange(N) < 30, 0.5, 0.02)},
    ),
    "a deviation that grows": (
        "exploration_grows", "ppo.entropy=0.0002", "std from", {"std": ramp(0.5, 3)},
    ),
    "a deviation that grows without a bonus": (
        "exploration_grows", "ppo.epochs=2", "std from",
        {"std": ramp(0.5, 3), "overrides": ["ppo.entropy=0"]},
    ),
    "a critic that knows nothing": (
        "critic_explains_nothing", "ppo.normalize_returns=true", "explained variance 0.02",
        {"explained_variance": 0.02},
    ),
    "a critic that is worse than nothing": (
        "critic_explains_nothing", "ppo.value_clip=null", "explained variance -0.40",
        {"explained_variance": -0.4, "overrides": ["ppo.value_clip=0.2"]},
    ),
    "a critic that hardly learns": (
        "critic_explains_nothing", "ppo.critic_learning_rate=0.001", "explained variance 0.00",
        {"explained_variance": 0.0, "overrides": ["ppo.critic_learning_rate=1e-6"]},
    ),
    "a critic whose returns are of size one already": (
        "critic_explains_nothing", "ppo.critic_learning_rate=0.0003", "explained variance 0.00",
        {"explained_variance": 0.0, "overrides": ["ppo.normalize_returns=true"]},
    ),
    "long gradients of the actor": (
        "gradient_always_limited", "ppo.max_grad_norm=50", "actor 50, limit 1",
        {"actor_grad_norm": 50.0},
    ),
    "long gradients of the critic": (
        "gradient_always_limited", "ppo.max_grad_norm=200", "critic 200, limit 1",
        {"critic_grad_norm": 200.0},
    ),
    "a price that starts too low": (
        "kl_runaway", "ppo.beta=30", "kl_after up to 0.2 instead of a target of 0.01, iterations 1",
        {"kl_after": np.where(np.arange(N) < 20, 0.2, 0.01),
         "beta": np.minimum(32, 2.0 ** np.arange(N)), "overrides": [DUAL]},
    ),
    "a price that nobody needs": (
        "beta_pinned", "ppo.learning_rate_schedule=constant", "beta at 1e-06",
        {"beta": np.maximum(MIN_BETA, 10.0 ** -np.arange(N)), "kl_after": 0.01,
         "overrides": [DUAL]},
    ),
    "a price that helps nothing": (
        "beta_pinned", "ppo.epochs=2", "beta at 1e+06",
        {"beta": MAX_BETA, "kl_after": 0.015, "overrides": [DUAL]},
    ),
    "a search that finds no step": (
        "no_step_found", "rollout=12", "in 50% of the updates",
        {"backtracks": np.where(np.arange(N) % 2, TRIES, 1), "drop": ("learning_rate",),
         "overrides": [TRPO]},
    ),
    "a stop after one step": (
        "stops_at_once", "ppo.learning_rate=0.0003", "1 of 16 gradient steps",
        {"actor_steps": 1.0, "overrides": [CONSTANT, "ppo.stop_kl=0.01"]},
    ),
    "a stop below the target": (
        "stops_at_once", "ppo.stop_kl=0.04", "1 of 16 gradient steps",
        {"actor_steps": 1.0, "overrides": ["ppo.stop_kl=0.001"]},
    ),
    "a penalty that drowns the rest": (
        "reward_drowns", "task.rewards.torque.weight=-3e-06",
        "reward_torque is -500 per episode", {"reward_torque": -500.0},
    ),
    "a bonus that drowns the rest": (
        "reward_drowns", "task.rewards.contact_schedule.weight=0.01",
        "reward_contact_schedule is 2,000 per episode, 98% of all rewards' size",
        {"reward_contact_schedule": 2000.0},
    ),
    "episodes whose limits are too narrow": (
        "episodes_end_at_once", "task.terminations.tilt.limit=1.5", "episodes last 0.3 of 20 s",
        FAILING,
    ),
    "episodes that cost more than their end": (
        "episodes_end_at_once", "task.rewards.action_rate.weight=-0.1", "most of it action_rate",
        FAILING | {"return": ramp(-6, -4), "reward_action_rate": -2.5,
                   "reward_lin_vel_tracking": 0.2, "reward_yaw_rate_tracking": 0.2,
                   "reward_contact_schedule": 0.2},
    ),
    "a command that is always zero": (
        "observation_never_moves", "task.commands.twist.vy=[-0.4,0.4]", "command vy [m/s]: 0.0001",
        {"deviations": still(7)},
    ),
    "a joint that is stuck": (
        "observation_never_moves", None, "joint_pos_error FL_thigh_joint [rad]: 0.0001",
        {"deviations": still(13)},
    ),
    "a term that is dead": (
        "observation_never_moves",
        "task.observations.actor.gait_clock=null",
        "gait_clock sin [1]: 0.0001; gait_clock cos [1]: 0.0001", {"deviations": still(45, 46)},
    ),
    "a robot that earns without following": (
        "earns_without_following", "task.rewards.lin_vel_tracking.weight=8",
        "velocity error from 0.55 to 0.55 m/s", {"velocity_error": 0.55},
    ),
    "a policy that broke": (
        "stopped_improving", "ppo.kl_target=0.01", "best return 28 at iteration 38 of 100, late 10",
        {"return": np.where(np.arange(N) < 40, ramp(0, 75), 10.0)},
    ),
    "a policy that breaks at a constant rate": (
        "stopped_improving", "ppo.learning_rate_schedule=kl", "best return 28 at iteration 38",
        {"return": np.where(np.arange(N) < 40, ramp(0, 75), 10.0), "overrides": [CONSTANT]},
    ),
    "a policy that breaks in a trust region": (
        "stopped_improving", "ppo.kl_bound=0.005", "best return 28 at iteration 38",
        {"return": np.where(np.arange(N) < 40, ramp(0, 75), 10.0), "overrides": [TRPO]},
    ),
    "a policy that stays where it is": (
        "stopped_improving", "ppo.entropy=0.006", "late 30",
        {"return": np.minimum(ramp(0, 75), 30)},
    ),
    "little time in physics": (
        "time_outside_physics", "ppo.epochs=2", "learn 78%", {"time_learn": 0.75},
    ),
    "time in the environment": (
        "time_outside_physics", "num_envs=2048", "environment 76%", {"time_environment": 1.0},
    ),
}  # fmt: skip


def examined(case):
    return doctor.examine(record(**SICK[case][3]))


# -- the signs ----------------------------------------------------------------------------------


def test_a_healthy_run_has_none_of_them():
    assert doctor.examine(record()) == []


@pytest.mark.parametrize(
    ("objective", "more"),
    [
        (DUAL, {"beta": 3.0, "kl_after": 0.011}),
        ("ppo.objective=kl_adaptive", {"beta": 4.0, "kl_after": 0.013}),
        ("ppo.objective=kl_fixed", {"beta": 1.0, "kl_after": 0.03}),
        (TRPO, {"backtracks": 1.0, "kl_after": 0.008, "actor_grad_norm": 90.0}),
        ("ppo.stop_kl=0.03", {"actor_steps": 9.0}),
    ],
)
def test_a_healthy_run_of_another_kind_has_none_either(objective, more):
    drop = ("learning_rate", "kl_target") if objective == TRPO else ()
    assert doctor.examine(record(overrides=[objective], drop=drop, **more)) == []


@pytest.mark.parametrize("case", SICK)
def test_a_defect_is_found_and_nothing_else(case):
    name, setting, evidence, _ = SICK[case]
    (finding,) = examined(case)
    assert finding.name == name
    assert evidence in finding.evidence
    assert setting in finding.settings if setting else not finding.settings
    assert finding.cause and finding.advice and finding.follows is None


@pytest.mark.parametrize("case", SICK)
def test_what_is_to_be_set_is_a_setting(case):
    overrides = [*SICK[case][3].get("overrides", ()), *examined(case)[0].settings]
    assert config.load("go2_walk", overrides=overrides)


def test_every_sign_has_a_case_in_which_it_shows():
    assert {name for name, *_ in SICK.values()} == {check.__name__ for check in doctor.CHECKS}


def test_the_consequences_name_signs():
    known = {check.__name__ for check in doctor.CHECKS}
    assert set(doctor.CONSEQUENCES) <= known
    assert {n for found in doctor.CONSEQUENCES.values() for n in found} <= known


def test_what_is_not_logged_is_no_sign():
    """Another kind of run: nothing but the counters."""
    bare = {k: v for k, v in healthy().items() if k in ("iteration", "steps", "seconds")}
    assert doctor.examine(Record(settings(), bare)) == []


@pytest.mark.parametrize("case", ["a KL far above its target", "a deviation that starts near zero"])
def test_a_task_without_a_robot_is_judged_by_how_it_learns(case, tmp_path, capsys):
    """And by nothing that only a robot has, whatever its columns are called."""
    name, setting, _, changes = SICK[case]
    world = {"diverged": 99.0, "velocity_error": 0.55, "reward_torque": -500.0, **FAILING}
    robots = record(deviations=still(7), **(world | changes))
    other = replace(robots, settings=config.load("Hopper-v5", "default"))
    assert len(doctor.examine(robots)) >= 4
    (finding,) = doctor.examine(other)
    assert finding.name == name and setting in finding.settings
    doctor.show(tmp_path, other, [finding], doctor.Console())
    assert "robot-ppo train Hopper-v5 --out" in capsys.readouterr().out


def test_one_odd_iteration_is_no_sign():
    spike = np.where(np.arange(N) == 60, 1e3, 1.0)
    columns = healthy()
    for name in ("kl", "clip_fraction", "actor_grad_norm", "std", "time_learn"):
        columns[name] = columns[name] * spike
    assert doctor.examine(Record(settings(), columns)) == []


def test_a_penalty_is_lowered_to_a_tenth_of_the_whole():
    (finding,) = examined("a penalty that drowns the rest")
    weight = float(finding.settings[0].partition("=")[2])
    late = record(reward_torque=-500.0 * weight / -2.4e-4)
    sizes = {k: abs(late.late(k)) for k in late.columns if k.startswith("reward_")}
    assert sizes["reward_torque"] / sum(sizes.values()) == pytest.approx(0.1, rel=0.2)
    assert doctor.examine(late) == []


@pytest.mark.parametrize("share", [0.45, 0.55])
def test_the_threshold_of_a_penalty_is_half_of_the_whole(share):
    rest = sum(abs(record().late(k)) for k in healthy() if k.startswith("reward_"))
    rest -= abs(record().late("reward_torque"))
    found = doctor.examine(record(reward_torque=-rest * share / (1 - share)))
    assert names(found) == (["reward_drowns"] if share > 0.5 else [])


# -- causes and consequences --------------------------------------------------------------------


def test_what_may_follow_from_a_cause_says_so():
    found = doctor.examine(record(kl=50.0, clip_fraction=0.9, explained_variance=0.0))
    assert names(found) == ["kl_runaway", "critic_explains_nothing", "clip_always"]
    assert [f.follows for f in found] == [None, "kl_runaway", "kl_runaway"]


def test_what_does_not_follow_stands_for_itself():
    found = doctor.examine(record(kl=50.0, time_learn=2.0))
    assert [f.follows for f in found] == [None, None]


@pytest.mark.parametrize(
    ("case", "fresh"),
    [
        ("everything clipped", False),
        ("a deviation that collapses", False),
        ("a deviation that starts near zero", True),
        ("a penalty that drowns the rest", True),
        ("a value that is no number", True),
        ("a KL that nobody bounds", True),  # all of the run: nothing in it is worth keeping
    ],
)
def test_a_finding_says_whether_the_run_can_go_on(case, fresh):
    assert examined(case)[0].fresh is fresh


@pytest.mark.parametrize("case", SICK)
def test_what_is_to_be_set_on_resume_is_what_a_resume_takes(case):
    overrides = SICK[case][3].get("overrides", ())
    for finding in examined(case):
        if finding.settings and not finding.fresh:
            resume.check(settings(*overrides), settings(*overrides, *finding.settings))


# -- reading ------------------------------------------------------------------------------------


def write_run(folder, overrides=(), keep=N, **changes):
    folder.mkdir()
    (folder / "config.yaml").write_text(config.to_yaml(settings(*overrides)))
    columns = healthy(**changes)
    with (folder / "log.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(column[:keep] for column in columns.values()), strict=True))
    return folder


def said(folder, capsys, *more, code=0):
    assert cli.main(["doctor", str(folder), *map(str, more)]) == code
    return " ".join("".join(capsys.readouterr()).split())


def test_a_healthy_run_is_said_to_be(tmp_path, capsys):
    text = said(write_run(tmp_path / "run"), capsys)
    assert "100 iterations, 614,400 steps" in text
    assert "healthy" in text and "--set" not in text


def test_a_sick_run_is_told_what_to_set_and_how(tmp_path, capsys):
    folder = write_run(tmp_path / "run", kl=50.0, clip_fraction=0.9)
    text = said(folder, capsys)
    assert "1 kl_runaway seen kl up to 50 instead of a target of" in text
    assert "--set ppo.epochs=2" in text
    assert "2 clip_always" in text and "may follow from kl_runaway" in text
    assert f"robot-ppo train go2_walk --out {folder}-2 --set" in text
    assert text.count("--set ppo.") == 1 and "healthy" not in text


def test_settings_with_brackets_can_be_pasted(tmp_path, capsys):
    """Quoted for the shell, on one line, and no bracket taken for markup."""
    folder = write_run(tmp_path / "run")
    still_record = record(deviations=still(7))
    doctor.show(folder, still_record, doctor.examine(still_record), doctor.Console(width=60))
    lines = capsys.readouterr().out.splitlines()
    assert "         --set 'task.commands.twist.vy=[-0.4,0.4]'" in lines
    assert "command vy [m/s]" in " ".join(" ".join(lines).split())


@pytest.mark.parametrize("keep", [1, doctor.ENOUGH - 1, doctor.ENOUGH])
def test_a_short_run_is_not_judged(keep, tmp_path, capsys):
    text = said(write_run(tmp_path / "run", keep=keep, explained_variance=0.0), capsys)
    assert ("too short" in text) == (keep < doctor.ENOUGH)
    assert ("critic_explains_nothing" in text) == (keep >= doctor.ENOUGH)
    assert "healthy" not in text


def test_a_short_run_that_broke_is_told(tmp_path, capsys):
    folder = write_run(tmp_path / "run", keep=3, kl=np.nan)
    assert "not_finite" in said(folder, capsys)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [({}, "healthy"), ({"keep": 2}, "too_short"), ({"clip_fraction": 0.9}, "findings")],
)
def test_the_json_says_the_same(changes, verdict, tmp_path, capsys):
    target = tmp_path / "findings.json"
    said(write_run(tmp_path / "run", **changes), capsys, "--json", target)
    data = json.loads(target.read_text())
    assert data["verdict"] == verdict
    assert data["iterations"] == changes.get("keep", N)
    if verdict == "findings":
        (finding,) = data["findings"]
        assert finding["name"] == "clip_always" and finding["settings"] == ["ppo.epochs=2"]
        assert set(finding) == {
            "name", "evidence", "cause", "advice", "settings", "lost", "follows", "fresh",
        }  # fmt: skip
    else:
        assert data["findings"] == []


def test_a_real_run_is_read_with_its_checkpoint(tmp_path, capsys):
    out = tmp_path / "run"
    overrides = ["--set", "task.commands.twist.vy=[0,0]", "--set", "task.noise={}"]
    steps = doctor.ENOUGH * helpers.ROBOTS * helpers.ROLLOUT
    assert cli.main(train_arguments(out, *overrides, steps=steps)) == 0
    one = records.load(out)
    assert len(one) == doctor.ENOUGH and one.deviations.shape == (SIZE,)
    assert one.deviations[7] == 0 and one.deviations[6] > 0.1
    assert "observation_never_moves" in names(doctor.examine(one))
    assert "command vy [m/s]: 0" in said(out, capsys)


def test_a_line_that_was_cut_off_while_it_was_written_is_left_out(tmp_path):
    folder = write_run(tmp_path / "run")
    with (folder / "log.csv").open("a") as file:
        file.write("101,620544,4")
    assert len(records.load(folder)) == N


def spoiled(folder, text):
    (folder / "log.csv").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no iteration yet"),
        ("iteration,kl\n", "holds no iteration yet"),
        ("a,b\n1,2\n", "holds no iteration yet"),
        ("iteration,kl\n1,0.1\n2,hello\n", "line 3 is no line of a log"),
        ("iteration,kl\n1,0.1,7\n2,0.2\n", "line 2 has 3 cells, its header 2"),
        ("iteration,kl\n1\n2,0.2\n", "line 2 has 1 cells, its header 2"),
    ],
)
def test_what_is_no_log_is_said(text, sentence, tmp_path, capsys):
    folder = spoiled(write_run(tmp_path / "run"), text)
    assert sentence in said(folder, capsys, code=2)


def test_a_folder_without_a_log_is_said(tmp_path, capsys):
    folder = write_run(tmp_path / "run")
    (folder / "log.csv").unlink()
    assert "log.csv: cannot be read" in said(folder, capsys, code=2)
    with pytest.raises(InputError, match="config"):
        records.load(tmp_path / "nothing")


def test_a_log_without_a_checkpoint_is_judged_all_the_same(tmp_path):
    one = records.load(write_run(tmp_path / "run"))
    assert one.deviations is None
    assert doctor.examine(one) == []


# -- the record ---------------------------------------------------------------------------------


def test_a_stretch_is_the_longest_and_long_enough():
    one = record()
    mask = np.zeros(N, bool)
    mask[5:12] = mask[40:80] = mask[99] = True
    assert one.stretch(mask) == (40, 79)
    assert one.stretch(mask, 0.5) is None
    assert one.stretch(np.zeros(N, bool)) is None
    assert one.stretch(np.ones(N, bool)) == (0, N - 1)
    assert one.span(40, 79) == "iterations 41 to 80"


def test_figures_before_anything_is_known_are_left_out():
    one = record(**{"return": np.where(np.arange(N) < 90, np.nan, 5.0)})
    assert one.late("return") == 5.0
    assert np.isnan(one.early("return"))


def test_a_gap_in_the_log_is_no_number_that_is_missing(tmp_path):
    folder = spoiled(write_run(tmp_path / "run"), "iteration,kl,beta\n1,,\n2,nan,\n3,,0.5\n")
    one = records.load(folder)
    assert one.gaps["beta"].tolist() == [True, True, False]
    assert np.isnan(one["beta"][:2]).all() and one["beta"][2] == 0.5
    assert one.gaps["kl"].tolist() == [True, False, True]
    found = world.not_finite(one)
    assert found and found.evidence == "kl not finite, iterations 2 to 3"


def test_the_normalizers_floor_is_the_networks():
    from robot_ppo.ppo.networks import MIN_STD, Normalizer

    normalizer = Normalizer(2, 10.0)
    normalizer.var.copy_(torch.tensor([0.0, 1.0]))
    assert normalizer.std().tolist() == pytest.approx([MIN_STD, 1.0])


# -- real trainings -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "first"),
    [
        ((), None),
        (("ppo.learning_rate_schedule=constant", "ppo.learning_rate=0.02"), "kl_runaway"),
        (("networks.init_std=0.01",), "dead_exploration"),
        (("task.rewards.torque.weight=-0.05",), "reward_drowns"),
        (("ppo.critic_learning_rate=1e-7",), "critic_explains_nothing"),
    ],
)
def test_a_real_run_is_told_what_was_done_to_it(overrides, first, tmp_path):
    """The shipped task and preset for ten to twenty seconds, whole or spoiled on purpose."""
    out = tmp_path / "run"
    sets = [word for setting in overrides for word in ("--set", setting)]
    assert cli.main(["train", "go2_walk", "--out", str(out), "--steps", "200000", *sets]) == 0
    found = names(doctor.examine(records.load(out)))
    assert found[:1] == ([first] if first else [])
