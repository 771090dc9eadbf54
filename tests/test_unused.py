"""Settings that do nothing beside others are refused where somebody gives them."""

import msgspec
import pytest

from robot_ppo import config, project
from robot_ppo.config import unused
from robot_ppo_export.errors import InputError

TASK = "go2_walk"
VALUES = {
    "ppo.kl_target": "0.005",
    "ppo.kl_target_end": "0.004",
    "ppo.learning_rate": "5e-4",
    "ppo.beta": "2",
    "ppo.beta_rate": "0.3",
    "ppo.kl_bound": "0.02",
    "ppo.gae_lambda": "0.8",
    "ppo.group_size": "4",
    "ppo.recompute_advantages": "true",
    "ppo.value_clip": "0.3",
    "ppo.normalize_returns": "true",
    "ppo.critic_learning_rate": "5e-4",
    "distill.until": "0.5",
    "distill.alone": "0.25",
}
"""Key -> a value that is not its default."""
ROWS = [
    (f"{key}={VALUES[key]}", f"{by}={'null' if value is None else value}")
    for key, by, values in unused.UNUSED
    for value in values
]
IMITATES = "algorithm=distill"
MORE = [
    ("ppo.learning_rate_schedule=kl", "ppo.kl_target=null"),
    ("ppo.learning_rate_schedule=kl", "ppo.objective=trpo"),
    ("ppo.stop_kl=0.1", IMITATES),
    ("ppo.kl_target=0.005", IMITATES),
    ("ppo.entropy=0.1", IMITATES),
    ("networks.init_std=0.4", IMITATES),
    ("task.map.offset=0.1", "task.observations.actor={command: {}}"),
]
USED = [
    ("ppo.kl_target=0.005", "ppo.learning_rate_schedule=kl"),
    ("ppo.kl_target_end=0.004", "ppo.kl_target=0.02"),
    ("ppo.learning_rate=5e-4", "ppo.objective=clip"),
    ("ppo.epochs=3", "ppo.objective=trpo"),  # of the critic
    ("ppo.learning_rate_schedule=linear", "ppo.objective=trpo"),
    *[("ppo.beta=2", f"ppo.objective={name}") for name in ("kl_fixed", "kl_adaptive", "kl_dual")],
    ("ppo.beta=2", "ppo.objective=mine"),  # of a program, which may read it
    ("ppo.beta_rate=0.3", "ppo.objective=kl_dual"),
    *[("ppo.kl_bound=0.02", f"ppo.objective={o}") for o in ("kl_adaptive", "kl_dual", "trpo")],
    ("ppo.gae_lambda=0.8", "ppo.estimator=gae"),
    ("ppo.group_size=4", "ppo.estimator=group_relative"),
    ("ppo.value_clip=0.3", "ppo.estimator=rewards_to_go"),
    ("distill.until=0.5", IMITATES),
    ("distill.alone=0.25", IMITATES),
    ("ppo.value_clip=null", "ppo.estimator=group_relative"),  # asks for nothing
    ("networks.critic=[8]", "ppo.estimator=group_relative"),  # it is built and saved
    ("ppo.normalize_returns=false", "ppo.estimator=group_relative"),
    ("ppo.kl_target=null", "ppo.learning_rate_schedule=constant"),
    ("task.map.offset=0.1", IMITATES),  # its teacher may read the scan
    ("task.map.offset=0.1", "task.observations.actor={height_scan: {}}"),
]


def load(*overrides, task=TASK, preset=None):
    return config.load(task, preset, overrides)


@pytest.mark.parametrize(("setting", "by"), [*ROWS, *MORE])
def test_a_setting_without_effect_is_refused_and_says_why(setting, by):
    load(by)
    key = setting.partition("=")[0].removesuffix(".offset")
    for both in ((setting, by), (by, setting)):  # the command line has no order
        with pytest.raises(InputError, match=f"`{key}`: does nothing w|`{key}`: does nothing as"):
            load(*both)


@pytest.mark.parametrize(("setting", "by"), USED)
def test_the_same_setting_is_taken_where_it_has_one(setting, by):
    assert load(setting, by)


def test_an_imitation_that_ends_leaves_the_rest_to_ppo():
    assert load(IMITATES, "distill.until=0.5", "ppo.stop_kl=0.1", "ppo.entropy=0.1")
    assert load(IMITATES, "networks.std=state", "networks.init_std=0.4")


@pytest.mark.parametrize("setting", ["ppo.epochs=3", "ppo.minibatches=2", "ppo.max_grad_norm=2"])
def test_without_a_critic_trpo_takes_no_steps_along_a_gradient(setting):
    groups = "ppo.estimator=group_relative"
    assert load(setting, groups)
    with pytest.raises(InputError, match="does nothing with trpo and no critic"):
        load(setting, groups, "ppo.objective=trpo")


def test_the_default_is_refused_too_where_it_is_typed():
    with pytest.raises(InputError, match=r"--set ppo\.beta=1\.0: `ppo\.beta`: does nothing with"):
        load("ppo.beta=1.0")
    with pytest.raises(InputError, match=r"with `ppo\.objective: clip`; leave it out, or"):
        load("ppo.beta=1.0")


def test_a_search_may_draw_what_another_draw_leaves_without_effect():
    bound = "ppo.kl_bound=0.02"
    assert config.load(TASK, drawn=["ppo.objective=clip", bound])
    assert config.load(TASK, overrides=[bound], drawn=["ppo.objective=clip"])
    with pytest.raises(InputError, match="does nothing"):
        config.load(TASK, overrides=[bound, "ppo.objective=clip"], drawn=["ppo.gamma=0.9"])


# -- files ----------------------------------------------------------------------------------------


@pytest.fixture
def presets(tmp_path, monkeypatch):
    """A function: name and text, which become a preset."""
    folder = tmp_path / "configs" / "train"
    folder.mkdir(parents=True)
    monkeypatch.setenv(project.PATH_VARIABLE, str(tmp_path))
    return lambda name, text: (folder / f"{name}.yaml").write_text(text)


def refused_in(name, preset, *overrides):
    with pytest.raises(InputError) as error:
        load(*overrides, preset=preset)
    assert f"{name}: `ppo.beta`: does nothing with `ppo.objective: clip`" in str(error.value)


def test_a_file_is_told_by_its_name(presets):
    presets("mine", "extends: default\nppo: {beta: 3.0}")
    refused_in("mine.yaml", "mine")
    presets("child", "extends: mine\nppo: {objective: kl_dual}")
    assert load(preset="child").ppo.beta == 3.0


def test_what_a_file_gives_may_lose_its_effect_by_what_comes_later(presets):
    presets("mine", "extends: default\nppo: {objective: kl_dual, beta: 3.0}")
    assert load(preset="mine")
    assert load("ppo.objective=clip", preset="mine")
    presets("child", "extends: mine\nppo: {objective: clip}")
    assert load(preset="child")
    refused_in("--set ppo.beta=2", "child", "ppo.beta=2")
    presets("child", "extends: mine\nppo: {objective: clip, beta: 2.0}")
    refused_in("child.yaml", "child")


def test_a_file_may_spell_defaults_out(presets):
    presets("mine", msgspec.yaml.encode({"ppo": msgspec.to_builtins(config.Ppo())}).decode())
    assert load(preset="mine").ppo == config.Ppo()


def test_what_a_run_began_with_is_not_given_again_by_its_resume(tmp_path):
    saved = load("ppo.learning_rate_schedule=constant")
    assert saved.ppo.kl_target is not None
    (tmp_path / "config.yaml").write_text(config.to_yaml(saved))
    assert config.load_resumed(tmp_path, TASK, ["ppo.gamma=0.9"]).ppo.kl_target is not None
    with pytest.raises(InputError, match=r"`ppo\.kl_target`: does nothing with"):
        config.load_resumed(tmp_path, TASK, ["ppo.kl_target=0.005"])
