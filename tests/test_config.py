"""Task and preset into one checked configuration, `--set` on top, and the way back from YAML."""

import math
import shutil

import msgspec
import pytest
import yaml

from robot_ppo import config, envs, project
from robot_ppo.config.check import check
from robot_ppo.envs.robot.robot_env import RobotEnv
from robot_ppo.training import run_folder
from robot_ppo_export.contract import strict
from robot_ppo_export.errors import InputError

TASK = "go2_walk"


def load(*overrides, **flags):
    return config.load(TASK, overrides=overrides, **flags)


def refused(*overrides, text, **flags):
    with pytest.raises(InputError, match=text):
        load(*overrides, **flags)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A function: a folder of configs/ and a text, which becomes its file mine.yaml."""
    source = project.root()
    (tmp_path / "robots").symlink_to(source / "robots")
    shutil.copytree(source / "configs", tmp_path / "configs")
    monkeypatch.setattr(project, "root", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)

    def ship(folder: str, text: str) -> None:
        (tmp_path / "configs" / folder / "mine.yaml").write_text(text)

    return ship


# What is shipped


@pytest.mark.parametrize("task", [*config.task_names(), "gym:Pendulum-v1"])
@pytest.mark.parametrize("preset", project.preset_names())
def test_every_shipped_task_loads_with_every_preset(task, preset):
    loaded = config.load(task, preset)
    assert loaded.task.name == task
    check(loaded)


@pytest.mark.parametrize("task", project.task_names())
def test_every_name_in_a_shipped_task_is_known_to_the_environment(task):
    loaded = config.load(task).task
    env = RobotEnv(loaded, project.load_robot(loaded.robot), num_envs=2, threads=1, seed=0)
    assert env.observation_space.shape == (2, env.layout.size)
    env.close()


@pytest.mark.parametrize("task", project.task_names())
def test_a_shipped_task_fits_its_robot(task):
    loaded = config.load(task).task
    robot = project.load_robot(loaded.robot)
    if loaded.gait:
        assert set(loaded.gait.offsets) == set(robot.feet)
        assert all(0 <= offset < 1 for offset in loaded.gait.offsets.values())
    if "base_height" in loaded.terminations:
        assert loaded.terminations["base_height"]["limit"] < robot.base.height


# --set and flags


@pytest.mark.parametrize(
    "text, read, expected",
    [
        ("ppo.gamma=0.9876", lambda c: c.ppo.gamma, 0.9876),
        ("ppo.learning_rate=3.25e-4", lambda c: c.ppo.learning_rate, 3.25e-4),
        ("ppo.max_grad_norm=7e-1", lambda c: c.ppo.max_grad_norm, 0.7),
        ("ppo.value_clip=0.7", lambda c: c.ppo.value_clip, 0.7),
        ("networks.actor=[65, 33]", lambda c: c.networks.actor, (65, 33)),
        ("num_envs=17", lambda c: c.num_envs, 17),
        (
            "task.commands.twist.vx=[-0.5, 0.5]",
            lambda c: c.task.commands["twist"]["vx"],
            [-0.5, 0.5],
        ),
        ("task.rewards.slip.weight=-17", lambda c: c.task.rewards["slip"]["weight"], -17.0),
        ("task.rewards.torque={weight: 0}", lambda c: c.task.rewards["torque"], {"weight": 0.0}),
        ("task.events.reset={}", lambda c: c.task.randomization, {}),
        ("task.events.interval.push=null", lambda c: c.task.events.interval, {}),
        ("task.gait=null", lambda c: c.task.gait, None),
        ("task.observations.actor={command: {}}", lambda c: len(c.task.observations["actor"]), 1),
    ],
)
def test_an_override_is_applied_as_yaml(text, read, expected):
    assert read(load()) != expected
    assert read(load(text)) == expected


def test_an_override_changes_nothing_else():
    changed = load("ppo.gamma=0.9876")
    plain = load()
    assert changed != plain
    ppo = msgspec.structs.replace(changed.ppo, gamma=plain.ppo.gamma)
    assert msgspec.structs.replace(changed, ppo=ppo) == plain


def test_a_later_override_wins_and_overrides_win_over_flags():
    assert load("ppo.gamma=0.9", "ppo.gamma=0.8").ppo.gamma == 0.8
    assert load(seed=7).seed == 7
    assert load("seed=8", seed=7).seed == 8


def test_a_flag_that_was_not_given_leaves_the_preset():
    assert load(seed=None, steps=None) == load()
    assert load(steps=123).steps == 123


@pytest.mark.parametrize(
    "override, text",
    [
        (
            "ppo.gama=1",
            r"--set ppo\.gama=1: unknown key `ppo\.gama`; did you mean 'gamma'\? Known: beta, ",
        ),
        ("gama=1", r"--set gama=1: unknown key `gama`"),
        ("task.gait.frequncy=1", r"unknown key `task\.gait\.frequncy`; did you mean 'frequency'"),
        ("task.action.scal=1", r"unknown key `task\.action\.scal`; did you mean 'scale'"),
        ("task.events.reste={}", r"unknown key `task\.events\.reste`; did you mean 'reset'"),
        ("ppo.gamma=high", r"--set ppo\.gamma=high: `ppo\.gamma`: Expected `float`, got `str`"),
        ("num_envs=1.5", r"--set num_envs=1\.5: `num_envs`: Expected `int`, got `float`"),
        ("ppo=3", r"--set ppo=3: `ppo`: Expected `object`, got `int`"),
        ("task.rewards.slip=3", r"`task\.rewards\.slip`: Expected `object`, got `int`"),
        ("task.observations.actor=[command]", r"`task\.observations\.actor`: Expected `object`"),
        ("networks.activation=gelu", r"did you mean 'elu'\? Known: elu, relu, tanh"),
        ("ppo.gamma", r"--set ppo\.gamma: write it as path\.to\.key=value"),
        ("ppo.gamma=[", r"--set ppo\.gamma=\[: '\[' is not a YAML value"),
        ("seed=2020-13-45", r"is not a YAML value"),
        ("=3", r"--set =3: unknown key ``"),
    ],
)
def test_a_wrong_override_is_named_with_its_path(override, text):
    refused(override, text=text)


# Files


def test_an_unknown_key_in_a_file_is_named_with_the_file(shipped):
    task = project.task_path(TASK).read_text()
    shipped("tasks", task.replace("frequency:", "frequncy:"))
    with pytest.raises(InputError) as error:
        config.load("mine")
    assert "configs/tasks/mine.yaml: unknown key `task.gait.frequncy`" in str(error.value)
    assert "did you mean 'frequency'?" in str(error.value)


def test_an_unknown_key_in_a_preset_is_named_with_the_file(shipped):
    shipped("train", "ppo: {gama: 0.9}")
    with pytest.raises(InputError) as error:
        config.load(TASK, "mine")
    assert "configs/train/mine.yaml: unknown key `ppo.gama`; did you mean" in str(error.value)


def test_an_override_cannot_repair_a_broken_file(shipped):
    """The file is checked first, so that the error names it."""
    shipped("train", "ppo: {gamma: high}")
    with pytest.raises(InputError, match=r"mine\.yaml: `ppo\.gamma`: Expected `float`, got `str`"):
        config.load(TASK, "mine", overrides=["ppo.gamma=0.9"])


@pytest.mark.parametrize("text", ["- 1", "3", "word"])
def test_a_file_that_holds_no_keys_is_refused(text, shipped):
    shipped("tasks", text)
    with pytest.raises(InputError, match=r"mine\.yaml: must hold keys and values, got "):
        config.load("mine")


def test_an_empty_task_lacks_its_keys_and_an_empty_preset_is_all_defaults(shipped):
    shipped("tasks", "")
    with pytest.raises(
        InputError, match=r"mine\.yaml: `task`: Object missing required field `robot`"
    ):
        config.load("mine")
    project.preset_path("default").with_name("mine.yaml").write_text("# nothing\n")
    assert config.load(TASK, "mine").ppo == config.Ppo()


@pytest.mark.parametrize(
    "task, text, preset",
    [
        ("mine", "extends: go2_rough", "go2_rough"),
        ("mine", "extends: ../tasks/go2_rough_scan.yaml", "go2_rough_scan"),
        ("configs/tasks/mine.yaml", "extends: go2_stand_up", "go2_stand_up"),
        ("mine", "extends: go2_corners", "default"),  # none of its names is a preset
        ("go2_rough_scan", "", "go2_rough_scan"),  # its own, before that of what it extends
        ("Hopper-v5", "", "Hopper-v5"),
        ("Reacher-v5", "", "gym"),
    ],
)
def test_a_task_trains_with_the_preset_of_the_nearest_task_that_has_one(
    task, text, preset, shipped
):
    shipped("tasks", text)
    assert config.default_preset(task) == preset
    loaded = config.load(task)
    assert msgspec.structs.replace(config.load(task, preset), task=loaded.task) == loaded


def test_a_task_that_extends_one_with_a_preset_has_its_budget_and_its_networks(shipped):
    shipped("tasks", "extends: go2_rough")
    loaded = config.load("mine")
    assert (loaded.steps, loaded.minutes) == (50_000_000, 60)
    assert loaded.networks.actor == (256, 128, 64) != config.load(TASK).networks.actor


MISTAKES = {
    "evaluation: {limits: {velocity_eror: 1}}": (
        "`task.evaluation.limits.velocity_eror`: unknown figure 'velocity_eror'; did you mean"
    ),
    "evaluation: {commands: {vz: [0.1]}}": "`task.evaluation.commands.vz`: unknown entry 'vz'",
    "evaluation: {push_every: 0.001}": "`task.evaluation.push_every`: 0.001 s is less than a contr",
    "evaluation: {unscored: 8.0}": "`task.evaluation.unscored`: 8 s leave nothing of the trial's 8",
    "evaluation: {start: {falen_pose: {}}}": "`task.evaluation.start.falen_pose`: unknown initial",
    "rewards: {slp: {weight: 1}}": "`task.rewards.slp`: unknown reward 'slp'; did you mean 'slip'",
    "rewards: {slip: {sigma2: 1}}": "`task.rewards.slip.sigma2`: unknown parameter 'sigma2'; it",
    "events: {reset: {kpp: {range: [1, 1]}}}": "`task.events.reset.kpp`: unknown event 'kpp'",
    "observations: {actor: {gait_clock: {harmonic: 2}}}": (
        "`task.observations.actor.gait_clock.harmonic`: unknown parameter 'harmonic'; it takes "
        "scale, clip, history, harmonics"
    ),
    "observations: {actor: {gait_clock: {harmonics: 0}}}": (
        "`task.observations.actor.gait_clock.harmonics`: 0 must be at least 1"
    ),
    "observations: {critic: {hight: {}}}": "`task.observations.critic.hight`: unknown term",
    "noise: {joint_poss: 1}": "`task.noise.joint_poss`: unknown signal 'joint_poss'; did you mean",
    "action: {scale: -1}": "`task.action.scale`: -1.0 must be above 0",
}
"""What a task may hold beside what it extends, and what is said of it."""


@pytest.mark.parametrize("text", MISTAKES)
def test_what_no_environment_can_be_made_of_is_told_with_its_file_before_anything_is_written(
    text, shipped, tmp_path
):
    """Though the mistake is in a file that another extends, and shows only when terms resolve."""
    shipped("tasks", f"extends: {TASK}\n{text}")
    mine = project.task_path("mine")
    mine.with_name("child.yaml").write_text(
        "extends: mine\n"
        "rewards: {slip: {weight: -0.2}, torque: {weight: 0}}\n"
        "evaluation: {seconds: 8.0, limits: {falls: 1}}\n"
        "noise: {joint_pos: 0.02}"
    )
    with pytest.raises(InputError) as error:
        run_folder.train("child", tmp_path / "run", None, ["num_envs=2"], False, False)
    assert f"{mine}: {MISTAKES[text]}" in str(error.value)
    assert not (tmp_path / "run").exists()


def test_who_makes_an_environment_is_told_the_file_too(shipped):
    shipped("tasks", f"extends: {TASK}\nrewards: {{slp: {{weight: 1}}}}")
    with pytest.raises(InputError, match=r"mine\.yaml: `task\.rewards\.slp`: unknown reward"):
        envs.make_named("mine")


def test_what_is_wrong_with_a_flag_is_told_with_the_flag(tmp_path):
    wrong = "task.evaluation.limits.fals=1"
    with pytest.raises(InputError, match=f"--set {wrong}: `task.evaluation.limits.fals`: unknown"):
        run_folder.train(TASK, tmp_path / "run", None, [wrong], False, False)


# check()


def test_the_unchanged_configuration_is_not_refused():
    """Negative control for the table below."""
    check(load())


@pytest.mark.parametrize("step", [0.003, 0.021, 0.04, -0.01])
def test_the_physics_step_must_divide_the_control_period(step):
    text = r"task\.physics\.timestep`: .* (must divide control_period 0\.02|must be above 0)"
    refused("task.control_period=0.02", f"task.physics.timestep={step}", text=text)


@pytest.mark.parametrize("step", [0.02, 0.01, 0.005, 0.004, 0.002, 0.001])
def test_a_physics_step_that_divides_is_accepted(step):
    loaded = load("task.control_period=0.02", f"task.physics.timestep={step}")
    assert loaded.task.physics.timestep == step


@pytest.mark.parametrize(
    "key",
    ["num_envs", "rollout", "steps", "ppo.epochs", "ppo.minibatches", "threads", "keep", "seed"],
)
def test_a_count_below_its_least_is_refused(key):
    least = 0 if key in ("threads", "keep", "seed") else 1
    load("ppo.minibatches=1", f"{key}={least}")
    refused(f"{key}={least - 1}", text=rf"`{key}`: {least - 1} must be at least {least}")


@pytest.mark.parametrize(
    "key",
    [
        *("task.control_period", "task.physics.timestep", "task.episode_length", "ppo.gamma"),
        *("ppo.clip", "ppo.value_clip", "ppo.kl_target", "ppo.max_grad_norm"),
        *("ppo.beta", "ppo.beta_rate", "ppo.kl_bound", "ppo.stop_kl"),
        *("networks.init_std", "networks.obs_clip", "networks.last_gain", "minutes"),
        *("task.gait.frequency", "task.gait.swing_height"),
    ],
)
@pytest.mark.parametrize("value", ["0", "-0.5"])
def test_what_must_be_above_zero_is_refused_otherwise(key, value):
    refused(f"{key}={value}", text=rf"`{key}`: {value} must be above 0")


@pytest.mark.parametrize("key", ["ppo.gamma", "ppo.gae_lambda"])
def test_a_fraction_above_one_is_refused_and_one_is_not(key):
    load(f"{key}=1")
    refused(f"{key}=1.01", text=rf"`{key}`: 1\.01 must be at most 1")


@pytest.mark.parametrize(("key", "most"), [("num_envs", 2**20), ("seed", 2**32 - 1)])
def test_a_count_above_its_most_is_refused(key, most):
    load(f"{key}={most}")
    refused(f"{key}={most + 1}", text=rf"`{key}`: {most + 1} must be at most {most}")


@pytest.mark.parametrize("key", ["networks.actor", "networks.critic"])
def test_layers_have_widths(key):
    load(f"{key}=[]")  # no hidden layer: linear in the observation
    for widths in ("[0]", "[-1]", "[64, 0]"):
        refused(f"{key}={widths}", text=rf"`{key}\[\d\]`: (0|-1) must be at least 1")


def test_a_cycle_of_the_gait_has_two_ticks_at_least():
    load("task.gait.frequency=25")
    refused("task.gait.frequency=26", text="26.0 has fewer than two ticks of 0.02 s in a cycle")


def test_an_episode_has_a_step_at_least():
    load("task.episode_length=0.02")
    refused("task.episode_length=0.01", text=r"0\.01 is shorter than one control_period, 0\.02")


def test_an_actor_sees_something_and_a_critic_need_not_see_more():
    text = r"`task\.observations\.actor`: must hold at least one term"
    refused("task.observations.actor={}", text=text)
    refused(
        "task.observations.actor=null", text=r"`task\.observations`: must have the group `actor`"
    )
    load("task.observations.critic=null")


@pytest.mark.parametrize(
    "override",
    ["task.name=mine", "task={kind: gym, name: go2_walk}", "task={kind: gym, name: Hopper-v5}"],
)
def test_an_override_cannot_make_another_task(override):
    refused(override, text="`task`: --set cannot make another one of 'go2_walk'; name that instead")


@pytest.mark.parametrize("value", [0, 1])
def test_a_gait_needs_both_stance_and_swing(value):
    refused(f"task.gait.stance={value}", text=r"`task\.gait\.stance`: . must be (above 0|below 1)")


def test_no_more_minibatches_than_samples():
    load("ppo.minibatches=24", num_envs=3, rollout=8)
    refused("ppo.minibatches=25", num_envs=3, rollout=8, text=r"25 is more than the 24 samples")


@pytest.mark.parametrize(
    "key",
    [
        *("task.commands.twist.vx", "task.commands.twist.vy", "task.commands.twist.yaw_rate"),
        *("task.commands.twist.resample", "task.events.interval.push.interval"),
        *("task.events.interval.push.speed", "task.events.reset.friction.range"),
        *("task.events.reset.payload.range", "task.events.reset.home_pose.heading"),
    ],
)
def test_a_range_that_is_turned_round_is_refused(key):
    built(f"{key}=[2, 2]")
    with pytest.raises(InputError, match=rf"`{key}`: \[3\.0, 2\.0\] is not \[low, high\]"):
        built(f"{key}=[3, 2]")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("ppo.stop_kl=0.1", "does nothing for `ppo.objective: trpo`, which takes one step"),
        ("ppo.recompute_advantages=true", "takes one step over the whole batch; leave it false"),
        ("ppo.normalize_advantages=minibatch", "minibatch does nothing .*; use batch"),
    ],
)
def test_trpo_refuses_what_only_minibatches_can_do(override, words):
    load(override)
    load("ppo.objective=trpo")
    key = override.partition("=")[0]
    refused("ppo.objective=trpo", override, text=f"`{key}`: .*{words}")


def test_advantages_cannot_be_recomputed_without_a_second_epoch():
    load("ppo.recompute_advantages=true", "ppo.epochs=2")
    words = r"`ppo\.recompute_advantages`: needs ppo\.epochs of at least 2"
    refused("ppo.recompute_advantages=true", "ppo.epochs=1", text=words)


@pytest.mark.parametrize(("minibatches", "fits"), [(1, True), (4, True), (12, True), (24, False)])
def test_a_minibatch_of_one_has_no_deviation(minibatches, fits):
    words = ("ppo.normalize_advantages=minibatch", f"ppo.minibatches={minibatches}")
    if fits:
        load(*words, num_envs=3, rollout=8)
    else:
        refused(*words, num_envs=3, rollout=8, text="leave one with a single sample")
    load(words[1], num_envs=3, rollout=8)


def test_one_minibatch_of_one_is_refused_too():
    words = ("ppo.normalize_advantages=minibatch", "ppo.minibatches=4")
    refused(*words, num_envs=1, rollout=7, text="7 samples in 4 minibatches")  # 1, 2, 2 and 2
    load("ppo.normalize_advantages=minibatch", "ppo.minibatches=3", num_envs=1, rollout=7)


def test_the_range_of_the_deviation_holds_its_start():
    load("networks.log_std_range=[-1.0, 0.0]", "networks.init_std=0.5")
    refused(
        *("networks.log_std_range=[-0.5, 0.0]", "networks.init_std=0.5"),
        text=r"`networks\.log_std_range`: \[-0\.5, 0\.0\] does not hold log\(init_std\) = -0\.693",
    )


GROUPS = "ppo.estimator=group_relative"


def test_groups_must_be_full():
    load(GROUPS, num_envs=24)
    load(GROUPS, "ppo.group_size=6", num_envs=24)
    load(num_envs=21)  # there are none
    text = r"`ppo\.group_size`: 7 must divide num_envs 24, so that every group is full"
    refused(GROUPS, "ppo.group_size=7", num_envs=24, text=text)
    refused("ppo.group_size=1", text=r"`ppo\.group_size`: 1 must be at least 2")


def test_groups_are_normalized_as_groups():
    load(GROUPS, "ppo.normalize_advantages=none")
    words = r"`ppo\.normalize_advantages`: minibatch does not go with .*; use batch or none"
    refused(GROUPS, "ppo.normalize_advantages=minibatch", text=words)


def test_groups_need_simulations_that_can_be_copied():
    config.load("InvertedPendulum-v5", overrides=[GROUPS])
    config.load("gym:Pendulum-v1")
    with pytest.raises(InputError, match=r"of gym:Pendulum-v1 cannot be copied; use gae"):
        config.load("gym:Pendulum-v1", overrides=[GROUPS])


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
@pytest.mark.parametrize(
    "key", ["task.control_period", "ppo.clip", "task.rewards.slip.weight", "task.noise.joint_pos"]
)
def test_a_number_that_is_not_finite_is_refused_with_its_path(key, value):
    refused(f"{key}={value}", text=rf"`{key}`: -?(nan|inf) is not a finite number")


# What only the environment can know


def built(*overrides):
    task = load(*overrides).task
    return RobotEnv(task, project.load_robot(task.robot), num_envs=1, threads=1)


@pytest.mark.parametrize(
    "override, text",
    [
        ("task.observations.actor={comand: {}}", "unknown term 'comand'; did you mean 'command'?"),
        ("task.observations.critic={base_hight: {}}", "'base_hight'; did you mean 'base_height'?"),
        ("task.observations.actor={base_height: {}}", "base_height`: only a simulation knows it"),
        (
            "task.observations.actor.command.scal=1",
            "unknown parameter 'scal'; it takes scale, clip, history",
        ),
        ("task.observations.actor.command.history=0", ".history`: 0 must be at least 1"),
        ("task.commands={twist: {}, joint_pos: {}}", "a task has one command, not ['joint_pos', '"),
        ("task.commands={}", "`task.observations.actor.command`: needs `task.commands`, and the"),
        ("task.gait=null", "needs `task.gait`"),
        ("task.commands.twist.vx=[1]", "twist.vx`: Expected `array` of length 2, got 1"),
        ("task.commands.twist.standing_fraction=1.5", "fraction`: 1.5 must be at most 1"),
        (
            "task.events.start.kp.range=[1, 1]",
            "`task.events.start.kp`: is at reset too; choose one",
        ),
        ("task.events.start={push: {}}", "`task.events.start.push`: unknown event 'push'"),
        (
            "task.events.reset.kp.range=1",
            "`task.events.reset.kp.range`: Expected `array`, got `int`",
        ),
        ("task.terminations.tilt={}", "`task.terminations.tilt`: lacks limit"),
        ("task.metrics.tilt.limit=1", "unknown parameter 'limit'; it takes none"),
        ("task.curriculum.widen={}", "`task.curriculum.widen`: unknown curriculum term 'widen'"),
        ("task.rewards.slip={sigma2: 1}", "unknown parameter 'sigma2'; it takes weight"),
        ("task.rewards.slip={}", "`task.rewards.slip`: lacks weight"),
        ("task.rewards.slip.weight=x", "`task.rewards.slip.weight`: Expected `float`, got `str`"),
        ("task.rewards.lin_vel_tracking.sigma2=0", "sigma2`: 0 must be above 0"),
        ("task.rewards.slp={weight: 1}", "unknown reward 'slp'; did you mean 'slip'?"),
        ("task.noise.joint_poss=1.0", "unknown signal 'joint_poss'; did you mean 'joint_pos'?"),
        ("task.events.reset.frixion.range=[0, 1]", "'frixion'; did you mean 'friction'?"),
        ("task.gait.offsets={FR: 0.0}", "`task.gait.offsets`: names ['FR'], robot.yaml's feet are"),
    ],
)
def test_a_name_that_no_table_has_is_refused_with_the_nearest(override, text):
    with pytest.raises(InputError) as error:
        built(override)
    assert text in str(error.value)


# The saved configuration


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("ppo.learning_rate=1e-5", "ppo.value_clip=0.2", "minutes=1.5"),
        (
            "task.events.interval={}",
            "ppo.kl_target=null",
            "task.rewards.torque.weight=-1.2345678901e-9",
        ),
        (f"task.action.scale={1 / 3}", f"task.episode_length={math.pi}"),
    ],
)
def test_a_run_loads_the_very_configuration_that_it_saved(overrides, tmp_path):
    saved = load(*overrides)
    (tmp_path / "config.yaml").write_text(config.to_yaml(saved))
    assert config.load_run(tmp_path) == saved
    assert config.to_yaml(config.load_run(tmp_path)) == config.to_yaml(saved)


def test_the_saved_configuration_is_plain_yaml_with_every_key():
    data = yaml.safe_load(config.to_yaml(load()))
    assert set(data) == set(config.Config.__struct_fields__)
    assert data["task"]["rewards"] == load().task.rewards


def test_a_run_without_a_configuration_is_named(tmp_path):
    with pytest.raises(InputError, match=r"config\.yaml: cannot be read"):
        config.load_run(tmp_path)


def test_a_damaged_saved_configuration_is_named(tmp_path):
    (tmp_path / "config.yaml").write_text(config.to_yaml(load()).replace("num_envs", "num_env"))
    with pytest.raises(InputError, match=r"config\.yaml: unknown key `num_env`; did you mean"):
        config.load_run(tmp_path)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(AttributeError):
        load().seed = 2


def test_the_yaml_of_a_task_has_no_key_that_its_structure_lacks():
    for name in project.task_names():
        keys = set(strict.read_yaml(project.task_path(name)))
        assert keys <= {*config.Task.__struct_fields__, "extends"}
