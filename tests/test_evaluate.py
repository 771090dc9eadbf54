"""The scorecard, on policies whose behaviour is known without training."""

import re

import env_helpers as helpers
import msgspec
import mujoco.batch
import numpy as np
import pytest

from robot_ppo import config, project
from robot_ppo.config import Condition
from robot_ppo.envs.robot import trials
from robot_ppo.envs.robot.trials import COMMANDS, CONDITIONS, WALKING
from robot_ppo.evaluation import evaluate
from robot_ppo.evaluation.card import Scorecard
from robot_ppo_export.contract.command import NO_COMMAND
from robot_ppo_export.errors import InputError

FIGURES = trials.figures("twist")
STAND = (0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def contract():
    """Without a section on evaluation, as in a policy file of the first edition."""
    return msgspec.structs.replace(helpers.contract_of(helpers.tiny_config()), evaluation=None)


@pytest.fixture
def commands(monkeypatch):
    """Sets the commands, and the time that they are given, for one test."""

    def set_to(*values, seconds=4.0, unscored=2.0):
        monkeypatch.setattr(trials, "COMMANDS", values)
        monkeypatch.setattr(trials, "SECONDS", seconds)
        monkeypatch.setattr(trials, "UNSCORED", unscored)

    return set_to


def zeros(observation):
    return np.zeros((len(observation), helpers.JOINTS), np.float32)


def lying(contract):
    """The action that folds the legs."""
    rest = helpers.robot().rest().astype(np.float32)
    return contract.action_map().action(rest)


def run_of(contract, *conditions, seed=0):
    return evaluate.Run(contract, list(conditions), threads=1, seed=seed)


# -- what a policy does -------------------------------------------------------------------------


def test_a_policy_that_does_nothing_stands_for_all_eight_seconds(contract, commands):
    commands(STAND, seconds=trials.SECONDS)
    overall = evaluate.evaluate(contract, zeros, CONDITIONS[:1], threads=1).overall()
    assert overall["falls"] == 0
    assert overall["velocity_error"] < 0.05 and overall["yaw_error"] < 0.05
    assert overall["foot_slip"] < 0.02 and overall["action_rate"] == 0
    assert overall["torque_saturation"] == 0


def test_errors_of_a_standing_robot_are_what_was_asked_of_it(contract, commands):
    commands((0.8, 0.0, 0.0), (0.0, -0.3, 0.7), (0.4, 0.3, -0.7))
    card = evaluate.evaluate(contract, zeros, CONDITIONS[:1], threads=1)
    assert np.allclose(card.figures["velocity_error"], [[0.8, 0.3, 0.5]], atol=0.02)
    assert np.allclose(card.figures["yaw_error"], [[0.0, 0.7, 0.7]], atol=0.02)


def test_a_policy_that_lies_down_has_fallen_once_per_command(contract, commands):
    commands(STAND, (0.4, 0.0, 0.0), (0.0, 0.0, 0.7))
    action = lying(contract)
    card = evaluate.evaluate(contract, lambda o: zeros(o) + action, CONDITIONS[:2], threads=1)
    assert card.figures["falls"].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert card.overall(1)["falls"] == 3
    assert not card.walking


def test_getting_up_again_does_not_undo_a_fall_nor_does_falling_again_count(contract, commands):
    commands(STAND, seconds=6.0)
    action = lying(contract)
    ticks = iter(range(10**6))

    def lies_down_twice(observation):
        return zeros(observation) + action * (next(ticks) // 75 % 2 == 0)

    run = run_of(contract, CONDITIONS[0])
    heights = []
    fallen = 0
    for _ in range(300):
        run.tick(lies_down_twice, scored=True)
        heights.append(run.engine.qpos[0, 2])
        now = heights[-1] < 0.4 * contract.robot.base.height
        fallen += now and not heights[-2] < 0.4 * contract.robot.base.height
    assert fallen == 2  # it did get up in between
    assert run.scorecard().figures["falls"].tolist() == [[1]]


def test_a_fall_before_scoring_begins_counts(contract, commands):
    commands(STAND, seconds=3.0, unscored=2.0)
    action = lying(contract)
    ticks = iter(range(10**6))

    def lies_down_first(observation):
        return zeros(observation) + action * (next(ticks) < 75)

    card = evaluate.evaluate(contract, lies_down_first, CONDITIONS[:1], threads=1)
    assert card.overall()["falls"] == 1


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_policy_that_is_not_finite_falls_and_breaks_nothing(
    contract, commands, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a MUJOCO_LOG.TXT where it stands
    commands(STAND, seconds=2.0, unscored=1.0)
    card = evaluate.evaluate(contract, lambda o: zeros(o) + np.nan, CONDITIONS[:1], threads=1)
    assert not card.walking
    assert card.overall()["falls"] == 1
    assert all(np.isfinite(values).all() for values in card.figures.values())


@pytest.fixture
def blown_up(contract, commands, tmp_path, monkeypatch):
    """A function: a run of two standing robots, of which the first meets a state in mid-run."""
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a MUJOCO_LOG.TXT where it stands
    commands(STAND, STAND)

    def run(harm=lambda run: None):
        one = run_of(contract, CONDITIONS[0])
        for tick in range(100):
            if tick == 50:
                harm(one)
            one.tick(zeros, scored=True)
        return one, {name: values[0] for name, values in one.scorecard().figures.items()}

    return run


def assert_first_is_lost(run, figures, healthy):
    """It has fallen and its figures are the worst from then on; the second does not notice."""
    assert run.lost.tolist() == [True, False] and figures["falls"].tolist() == [1, 0]
    assert figures["cost_of_transport"][0] == evaluate.LOST
    for name in set(FIGURES) - {"falls", "cost_of_transport"}:
        assert figures[name][0] == pytest.approx(evaluate.LOST / 2, abs=0.5), name
    assert all(figures[name][1] == healthy[name][1] for name in FIGURES)


@pytest.mark.parametrize(
    ("field", "value"), [("qvel", np.nan), ("qvel", 1e12), ("qvel", 2e3), ("qpos", np.nan)]
)
def test_a_robot_that_diverges_has_fallen_and_is_not_put_on_its_feet(field, value, blown_up):
    """MuJoCo's own way would be to let it stand again as if nothing had happened."""

    def harm(run):
        getattr(run.engine, field)[0, 8] = value

    assert_first_is_lost(*blown_up(harm), blown_up()[1])


def test_a_robot_that_mujoco_gives_up_has_fallen(blown_up, monkeypatch):
    def harm(run):
        step = run.engine.batch.step
        left = iter([True])

        def failing(nstep):
            step(nstep=nstep)
            if next(left, False):
                raise mujoco.batch.SimulationError(np.array([0]), "stack overflow")

        monkeypatch.setattr(run.engine.batch, "step", failing)

    assert_first_is_lost(*blown_up(harm), blown_up()[1])


@pytest.mark.parametrize("period", [0.02, 0.015, 1 / 60])
def test_a_control_period_has_its_rate_whatever_physics_steps_it_holds(contract, commands, period):
    commands(STAND)
    run = run_of(helpers.replace(contract, control_period=period), CONDITIONS[0])
    ticks = round(3.0 / period)
    for _ in range(ticks):
        run.tick(zeros, scored=True)
    assert run.engine.batch.bind("time")[0] == pytest.approx(ticks * period, abs=0.0011)
    assert run.sums["falls"][0] == 0


def test_a_control_period_without_a_physics_step_is_refused(contract):
    short = helpers.replace(contract, control_period=0.001)
    with pytest.raises(
        InputError, match=r"0\.001 s, is shorter than a physics step of the scoreca"
    ):
        evaluate.evaluate(short, zeros, CONDITIONS[:1])


def restless(observation):
    """An arbitrary function of all that is observed, so that noise and seed show.

    Elementwise: a product of matrices may round a robot's row by its place in the batch.
    """
    weights = np.random.default_rng(0).normal(0, 0.1, (observation.shape[1], helpers.JOINTS))
    mixed = np.zeros((len(observation), helpers.JOINTS))
    for entry, weight in zip(observation.T, weights, strict=True):
        mixed += np.multiply.outer(entry, weight)
    return np.tanh(mixed).astype(np.float32)


@pytest.mark.numeric
def test_a_seed_gives_equal_bits_at_any_number_of_threads(contract, commands):
    commands((0.4, 0.0, 0.0), STAND, seconds=1.0, unscored=0.5)

    def figures(threads, seed):
        card = evaluate.evaluate(contract, restless, CONDITIONS[:2], threads, seed)
        return np.stack([card.figures[name] for name in FIGURES])

    assert np.array_equal(figures(1, 0), figures(2, 0))
    assert not np.array_equal(figures(1, 0), figures(1, 1))


def test_sensor_noise_is_on(contract, commands):
    commands(STAND)
    run = run_of(contract, CONDITIONS[0])
    seen = [run._inputs().state.joint_vel.copy() for _ in range(2)]  # of one and the same state
    assert contract.training.noise["joint_vel"] > 0
    assert not np.isclose(*seen).any()


def test_progress_goes_from_nothing_to_all(contract, commands):
    commands(STAND, seconds=0.2, unscored=0.0)
    told = []
    evaluate.evaluate(contract, zeros, CONDITIONS[:1], threads=1, progress=told.append)
    assert len(told) == 10 and told == sorted(told) and told[-1] == 1.0


# -- the conditions -----------------------------------------------------------------------------


def test_the_first_condition_is_the_nominal_one_and_names_are_unique():
    assert CONDITIONS[0] == Condition(CONDITIONS[0].name)
    assert len({c.name for c in CONDITIONS}) == len(CONDITIONS)


def test_payload_raises_the_weight(contract, commands):
    commands(STAND)
    run = run_of(contract, Condition("nominal"), Condition("loaded", payload=3.0))
    assert run.weight[1] - run.weight[0] == pytest.approx(3.0 * 9.81)
    assert run.engine.batch.get_model(1).body_subtreemass[0] == pytest.approx(run.weight[1] / 9.81)


def test_friction_is_that_of_every_foot(contract, commands):
    commands(STAND, (0.4, 0.0, 0.0))
    run = run_of(contract, Condition("nominal"), Condition("ice", friction=0.1))
    feet = [run.model.geom(name).id for name in contract.robot.feet]
    friction = run.engine.batch.expand("geom_friction")[:, feet, 0]
    assert np.array_equal(friction[:2], np.tile(run.model.geom_friction[feet, 0], (2, 1)))
    assert (friction[2:] == 0.1).all()


def test_strength_and_delay_are_those_of_the_motors(contract, commands):
    commands(STAND)
    run = run_of(
        contract,
        Condition("nominal"),
        Condition("weak", strength=0.5),
        Condition("late", delay=0.02),
    )
    target = run.actions.target(run.last_action).astype(np.float64) + 10.0
    ctrl = []
    for _ in range(11):  # 20 ms are ten physics steps
        pos = run.engine.qpos[:, run.engine.joint_qpos]
        vel = run.engine.qvel[:, run.engine.joint_qvel]
        ctrl.append(run.motors.torque(target, pos, vel))
    limit = helpers.robot().vector("torque_limit")
    for torque in ctrl[:10]:
        assert np.allclose(torque, [limit, 0.5 * limit, 0 * limit], atol=1e-5)
    assert np.allclose(ctrl[10], [limit, 0.5 * limit, limit], atol=1e-5)


def test_a_push_adds_its_speed_to_the_base_every_three_seconds(contract, commands):
    commands(STAND)
    run = run_of(contract, Condition("nominal"), Condition("pushed", push=0.5))
    every = round(trials.PUSH_EVERY / contract.control_period)
    for ticks, pushed in ((0, False), (every - 1, False), (every, True), (2 * every, True)):
        run.ticks = ticks
        before = run.engine.qvel.copy()
        run._push()
        change = run.engine.qvel - before
        assert not change[0].any() and not change[:, 2:].any()
        assert np.linalg.norm(change[1]) == pytest.approx(0.5 if pushed else 0.0)


@pytest.mark.numeric
def test_every_condition_makes_a_difference(contract, commands):
    commands((0.4, 0.0, 0.7), seconds=4.0, unscored=0.0)
    # Without noise, which every simulation draws for itself, conditions are all that differs.
    exact = helpers.replace(contract, training=helpers.replace(contract.training, noise={}))
    twice = (*CONDITIONS, CONDITIONS[0])
    card = evaluate.evaluate(exact, restless, twice, threads=2)
    seen = np.stack([card.figures[name][:, 0] for name in FIGURES], axis=1)
    assert np.array_equal(seen[-1], seen[0])
    for i in range(1, len(CONDITIONS)):
        assert not np.allclose(seen[i], seen[0], rtol=1e-3, atol=0), CONDITIONS[i].name


def test_the_robot_is_the_evaluation_variant(contract, commands):
    commands(STAND)
    run = run_of(contract, CONDITIONS[0])
    assert run.model.opt.timestep == pytest.approx(0.002)
    assert run.model.opt.cone == mujoco.mjtCone.mjCONE_ELLIPTIC
    assert run.model.ngeom > 1 + len(contract.robot.feet)  # the trunk can hit the floor


# -- the card -----------------------------------------------------------------------------------


def card(**nominal):
    figures = {name: np.zeros((2, len(COMMANDS))) for name in FIGURES}
    for name, value in nominal.items():
        figures[name][0] = value
    grid = np.array(COMMANDS, np.float32)
    return Scorecard(["nominal", "pushes"], grid, WALKING, FIGURES, figures)


def test_there_are_45_commands_in_all_combinations():
    assert len(set(COMMANDS)) == 45
    assert STAND in COMMANDS and (-0.8, -0.3, -0.7) in COMMANDS and (0.8, 0.3, 0.7) in COMMANDS


@pytest.mark.parametrize(
    ("nominal", "walking"),
    [
        ({}, True),
        ({"velocity_error": 0.149, "yaw_error": 0.199}, True),
        ({"velocity_error": 0.151}, False),
        ({"yaw_error": 0.201}, False),
        ({"falls": 1}, False),
        ({"cost_of_transport": 1e9, "foot_slip": 1e9}, True),
    ],
)
def test_walking_means_none_of_the_limits_is_exceeded(nominal, walking):
    assert card(**nominal).walking == walking


def test_one_fall_among_the_45_is_not_walking():
    one = card()
    one.figures["falls"][0, 17] = 1
    assert not one.walking and one.overall()["falls"] == 1


def test_only_the_nominal_condition_decides_over_walking():
    one = card()
    one.figures["falls"][1] = 1
    one.figures["velocity_error"][1] = 9.0
    assert one.walking


def test_gain_is_measured_over_commanded_along_each_axis():
    one = card()
    asked = one.commands.T
    noise = np.random.default_rng(0).normal(0, 0.02, (2, len(asked[0])))
    one.measured = {
        "vx": np.stack((0.9 * asked[0], 0.5 * asked[0])),
        "vy": np.stack((np.zeros(45), 1.2 * asked[1])) + noise,
        "yaw_rate": np.stack((0.75 * asked[2], -asked[2])) + noise,
    }
    assert list(one.gain().items()) == [
        ("vx", pytest.approx(0.9)),
        ("vy", pytest.approx(0.0, abs=0.02)),
        ("yaw_rate", pytest.approx(0.75, abs=0.02)),
    ]
    assert one.gain(1) == pytest.approx({"vx": 0.5, "vy": 1.2, "yaw_rate": -1.0}, abs=0.02)
    data = one.to_json()
    assert data["gain"] == data["conditions"]["nominal"]["gain"] == one.gain()


def test_an_axis_that_nobody_asked_for_has_no_gain(contract, commands):
    commands((0.8, 0.0, 0.0), (-0.4, 0.0, 0.0))
    card = evaluate.evaluate(contract, zeros, CONDITIONS[:1], threads=1)
    assert card.gain() == {"vx": pytest.approx(0.0, abs=0.02)}  # it stands


def test_measured_velocities_are_those_that_errors_are_taken_of(contract, commands):
    commands((0.8, 0.0, 0.7), STAND, seconds=1.0, unscored=0.0)
    run = run_of(contract, CONDITIONS[0])
    run.engine.qvel[0, :6] = (0.3, 0.1, 0, 0, 0, 0.5)
    run._score(np.zeros(2), np.zeros(2), np.zeros(2))
    card = run.scorecard()
    measured = [values[0, 0] for values in card.measured.values()]
    assert measured == pytest.approx([0.3, 0.1, 0.5])
    assert card.figures["velocity_error"][0, 0] == pytest.approx(np.hypot(0.8 - 0.3, 0.1))
    assert card.figures["yaw_error"][0, 0] == pytest.approx(0.2)


def test_the_json_has_the_headline_figures_at_the_top_and_all_others_below(contract):
    one = card(velocity_error=0.1, yaw_error=0.05)
    one.figures["velocity_error"][0, 3] = 0.55
    data = msgspec.json.decode(msgspec.json.encode(one.to_json()))
    assert data["walking"] is True and data["falls"] == 0
    assert data["velocity_error"] == pytest.approx(0.1 + 0.45 / 45)
    assert data["yaw_error"] == pytest.approx(0.05)
    assert set(data["conditions"]) == set(data["per_command"]) == {"nominal", "pushes"}
    assert set(data["conditions"]["nominal"]) == {*FIGURES, "falls_interval"}
    assert data["per_command"]["nominal"]["velocity_error"][3] == 0.55
    assert data["commands"][3] == list(COMMANDS[3]) and len(data["commands"]) == 45
    assert data["limits"] == trials.WALKING


# -- the task's own section -----------------------------------------------------------------------


def with_section(contract, **section):
    section = {"conditions": {"nominal": {}}, **section}
    return msgspec.structs.replace(contract, evaluation=section)


def test_the_section_of_the_walk_is_the_first_editions_grid(contract):
    """A policy file of the first edition has no section, and is scored alike."""
    task = config.load("go2_walk").task
    ours = evaluate.plan(with_section(contract, **msgspec.to_builtins(task.evaluation)))
    first = evaluate.plan(msgspec.structs.replace(contract, evaluation=None))
    assert np.array_equal(ours.commands, first.commands)
    assert ours.conditions == first.conditions and ours.limits == first.limits
    assert (ours.seconds, ours.unscored, ours.push_every) == (8.0, 2.0, 3.0)


def test_entries_that_are_not_named_are_in_the_middle_of_their_range(contract):
    plan = evaluate.plan(with_section(contract, commands={"vx": [0.0, 0.5]}))
    assert plan.commands.tolist() == [[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]


def test_commands_that_are_not_given_are_drawn_within_their_ranges(contract):
    plan = evaluate.plan(with_section(contract, trials=50))
    low, high = contract.command.bounds().T
    assert plan.commands.shape == (50, 3)
    assert ((plan.commands >= low) & (plan.commands <= high)).all()
    assert len({tuple(row) for row in plan.commands.tolist()}) == 50


def test_what_starts_lying_has_fallen_only_if_it_lies_when_it_is_scored(contract):
    lie = {"fallen_pose": {"fraction": 1, "clearance": [0, 0.1], "tilt": [3, 3.14], "joints": 0.5}}
    section = {"seconds": 1.0, "unscored": 0.5, "trials": 3, "start": lie}
    card = evaluate.evaluate(with_section(contract, **section), zeros, threads=1)
    assert card.overall()["falls"] == 3
    upright = evaluate.evaluate(with_section(contract, **section | {"start": {}}), zeros, threads=1)
    assert upright.overall()["falls"] == 0


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ({"limits": {"velocity_eror": 1}}, "unknown figure 'velocity_eror'; did you mean"),
        ({"commands": {"vz": [0.0]}}, "unknown entry 'vz'; did you mean"),
        (
            {"unscored": 9.0},
            "`evaluation.unscored`: 9 s leave nothing of the trial's 8 s to be scored",
        ),
        (
            {"push_every": 0.009},
            "`evaluation.push_every`: 0.009 s is less than a control period, 0.0",
        ),
        (
            {"push_every": 0.1, "conditions": {"nominal": {}, "hit": {"punch": 50.0}}},
            "push_every`: 0.1 s must be above 0.1 s, which a punch lasts: that of the cond",
        ),
        ({"start": {"falen_pose": {}}}, "unknown initial state 'falen_pose'; did you mean"),
        ({"second": 3.0}, "unknown key `evaluation.second`"),
    ],
)
def test_a_section_that_cannot_be_is_refused_in_a_sentence(contract, section, text):
    with pytest.raises(InputError, match=re.escape(text)):
        evaluate.plan(with_section(contract, **section))


def test_a_policy_without_a_twist_needs_a_section(contract):
    still = msgspec.structs.replace(contract, command=NO_COMMAND, evaluation=None)
    with pytest.raises(InputError, match="has no `evaluation:`"):
        evaluate.plan(still)


@pytest.mark.parametrize("name", project.task_names())
def test_every_task_that_ships_says_how_it_is_scored(name):
    """What holds still passes no task: the first figures say so."""
    contract = helpers.contract_of(config.load(name))
    shorter = contract.evaluation | {"unscored": 0.04, "seconds": 0.1}
    contract = helpers.replace(contract, evaluation=shorter)
    card = evaluate.evaluate(contract, zeros, evaluate.plan(contract).conditions[:1], threads=1)
    assert card.limits and not card.passed
    assert all(np.isfinite(values).all() for values in card.figures.values())
    assert set(card.figures) == set(card.units)
