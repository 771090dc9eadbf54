"""What a run goes on with: new settings are kept, and never change what its weights mean."""

import json
import shutil

import pytest
import torch
import yaml
from env_helpers import ROBOTS, ROLLOUT, tiny_config, train_arguments
from test_train import contents, refused, result

from robot_ppo import cli, config, export
from robot_ppo.diagnostics.checks import record
from robot_ppo.evaluation import scorecard
from robot_ppo.training import resume as resuming
from robot_ppo.training.checkpoint import EPISODES, Checkpoint, Checkpoints
from robot_ppo.training.train import Trainer
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy

pytestmark = pytest.mark.usefixtures("short_rollouts")

BATCH = ROBOTS * ROLLOUT
STEPS = 2 * BATCH


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two iterations; copy it before changing it."""
    out = tmp_path_factory.mktemp("runs") / "run"
    result(out)
    return out


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def resume(out, *more):
    """Go on with nothing said but what is in `more`, as after Ctrl-C."""
    return cli.main(["train", "go2_walk", "--out", str(out), "--resume", *more])


def sets(*keys):
    return [word for key in keys for word in ("--set", key)]


def contract(out):
    """What the policy file of a run says that it assumes."""
    path = out.parent / "walk.onnx"
    assert cli.main(["export", str(out), "-o", str(path)]) == 0
    return Policy(path).contract


def bounds_of_vx(contract):
    """The range of vx [m/s] that a contract states."""
    vx = contract.command.entries[0]
    return vx.low, vx.high


# -- new settings are kept ------------------------------------------------------------------------

NEW = ("task.commands.twist.vx=[-0.3, 0.7]", "task.noise.joint_vel=0.25", "ppo.kl_target=0.005")


def has_new(settings):
    vx = settings.task.commands["twist"]["vx"]
    noise = settings.task.noise["joint_vel"]
    return (vx, noise, settings.ppo.kl_target) == ([-0.3, 0.7], 0.25, 0.005)


def test_what_is_said_on_resume_is_in_the_run_its_checkpoint_and_its_policy_file(run):
    assert not has_new(config.load_run(run))
    assert resume(run, "--steps", str(3 * BATCH), *sets(*NEW)) == 0
    newest = Checkpoints(run).newest()
    assert newest.steps == 3 * BATCH
    assert has_new(config.load_run(run)) and has_new(newest.settings)
    assert has_new(record.load(run).settings)
    written = contract(run)
    assert bounds_of_vx(written) == (-0.3, 0.7)
    assert written.training.noise["joint_vel"] == 0.25


def test_a_second_resume_goes_on_with_what_the_first_was_told(run):
    assert resume(run, "--steps", str(3 * BATCH), *sets(*NEW)) == 0
    assert resume(run, "--steps", str(4 * BATCH)) == 0
    assert has_new(config.load_run(run)) and has_new(Checkpoints(run).newest().settings)


def test_what_the_run_had_before_stays_beside_it(run):
    before = config.load_run(run)
    assert resume(run, "--steps", str(3 * BATCH), *sets(*NEW)) == 0
    (old,) = run.glob("config-*.yaml")
    assert old.name == f"config-{STEPS:012d}.yaml"
    assert yaml.safe_load(old.read_text()) == yaml.safe_load(config.to_yaml(before))


def test_a_resume_that_changes_nothing_leaves_no_second_file(run, monkeypatch):
    (newest,) = (run / "checkpoints").glob(f"*{EPISODES}")
    before = (run / "config.yaml").read_text()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert resume(run) == 0
    assert newest.exists() and (run / "config.yaml").read_text() == before
    assert not list(run.glob("config-*.yaml"))


def test_what_cannot_go_on_changes_no_file(run, capsys):
    before = contents(run)
    words = train_arguments(run, "--resume", *sets("task.events.reset.frixion.range=[0, 1]"))
    assert "unknown event 'frixion'" in refused(words, capsys)
    assert contents(run) == before


# -- a run that has had its budget ----------------------------------------------------------------

SPENT = {
    "steps": ((), r"has had 128 of its 128 steps; to go on, add --steps N, more than it has had"),
    "fewer steps": (("--steps", "64"), "has had 128 of its 64 steps; to go on, add --steps N"),
    "minutes": (
        ("--steps", "256", "--minutes", "0.000001"),
        "of its 1e-06 minutes; to go on, add --minutes M",
    ),
    "both": (
        ("--minutes", "0.000001"),
        "of its 1e-06 minutes; to go on, add --steps N and --minutes M",
    ),
}


@pytest.mark.parametrize("case", SPENT)
def test_a_run_that_has_had_its_budget_is_not_resumed(case, run, capsys):
    more, sentence = SPENT[case]
    before = contents(run)
    assert resume(run, *more) == 2
    said = capsys.readouterr()
    assert f"{run}: the run has had " in said.err and sentence in said.err
    assert "done after" not in said.out
    assert contents(run) == before


# -- weights are read with what they were trained with --------------------------------------------


def edited(run, key, value):
    """Let config.yaml say something that the run was not trained with."""
    path = run / "config.yaml"
    text = path.read_text()
    assert text.count(key) == 1
    path.write_text(text.replace(key, value))


def test_export_eval_and_doctor_read_the_checkpoints_settings_not_the_files(run):
    edited(run, "action:\n    scale: 0.5", "action:\n    scale: 0.25")
    assert config.load_run(run).task.action.scale == 0.25
    assert contract(run).action.scale == 0.5
    assert scorecard.load(run)[0].action.scale == 0.5
    assert record.load(run).settings.task.action.scale == 0.5


def test_a_file_that_was_edited_cannot_change_what_the_weights_mean(run, capsys):
    edited(run, "action:\n    scale: 0.5", "action:\n    scale: 0.25")
    assert resume(run) == 2
    assert "`task.action.scale`: 0.25 instead of 0.5, which the run's weights" in (
        capsys.readouterr().err
    )


def test_weights_that_learned_nothing_new_keep_the_settings_that_they_had(run, monkeypatch):
    """A budget that is spent ends a rank that torchrun starts again at once, like the others."""
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert resume(run, *sets(*NEW)) == 0
    assert has_new(config.load_run(run))
    assert not has_new(Checkpoints(run).newest().settings)
    assert bounds_of_vx(contract(run)) == (-1.0, 1.0)


def old_checkpoint(run):
    """The newest checkpoint, as written before checkpoints had settings."""
    path = Checkpoints(run).paths()[-1]
    data = torch.load(path, weights_only=True)
    del data["settings"]
    torch.save(data, path)


def test_a_checkpoint_from_before_they_had_settings_has_those_of_the_run(run, capsys):
    old_checkpoint(run)
    assert Checkpoints(run).newest().settings is None
    assert contract(run).action.scale == 0.5
    assert resume(run, *sets("task.action.scale=0.25")) == 2
    assert "`task.action.scale`: 0.25 instead of 0.5" in capsys.readouterr().err
    assert resume(run, "--steps", str(3 * BATCH), *sets(*NEW)) == 0
    assert has_new(Checkpoints(run).newest().settings)


def test_settings_of_another_release_are_named_with_the_file(run):
    path = Checkpoints(run).paths()[-1]
    data = torch.load(path, weights_only=True)
    data["settings"]["roll_out"] = data["settings"].pop("rollout")
    torch.save(data, path)
    with pytest.raises(InputError, match=r"0128\.pt: unknown key `roll_out`; did you mean"):
        Checkpoints(run).newest()


# -- what cannot be changed -----------------------------------------------------------------------

CHANGES_MEANING = {
    "task.control_period": "0.04",
    "task.gait.frequency": "1.5",
    "task.gait.swing_height": "0.05",
    "task.action.scale": "0.25",
    "task.action.clip": "2.0",
    "task.observations.actor": "{command: {}, last_action: {}}",
    "task.observations.critic": "{base_lin_vel: {}}",
    "networks.actor": "[64, 32]",
    "networks.critic": "[64, 32]",
    "networks.activation": "tanh",
    "networks.std": "state",
    "networks.log_std_range": "[-3, 0]",
    "networks.obs_clip": "5.0",
    "ppo.normalize_returns": "true",
}


@pytest.mark.parametrize("key", CHANGES_MEANING)
def test_what_would_change_what_the_weights_mean_is_refused(key, run, capsys):
    before = contents(run)
    words = train_arguments(run, "--resume", *sets(f"{key}={CHANGES_MEANING[key]}"))
    said = refused(words, capsys)
    assert said.startswith(f"robot-ppo: `{key}")
    assert "which the run's weights were trained with and mean nothing without" in said
    assert contents(run) == before


WITHOUT_EFFECT = {
    "seed": (("seed=2",), "a seed belongs to a new one"),
    "ppo.learning_rate": (("ppo.learning_rate=1e-4",), "set ppo.kl_target, or ppo.learning_rate"),
}


@pytest.mark.parametrize("key", WITHOUT_EFFECT)
def test_what_a_run_reads_at_its_start_only_is_refused(key, run, capsys):
    keys, reason = WITHOUT_EFFECT[key]
    said = refused(train_arguments(run, "--resume", *sets(*keys)), capsys)
    assert f"`{key}`: " in said and "does nothing: --resume goes on with" in said
    assert reason in said


def test_a_price_belongs_to_a_new_run(tmp_path, capsys):
    dual = sets("ppo.objective=kl_dual")
    result(tmp_path / "run", *dual)
    words = train_arguments(tmp_path / "run", "--resume", *dual, *sets("ppo.beta=3"))
    assert "`ppo.beta`: 3.0 instead of 1.0 does nothing" in refused(words, capsys)


def test_a_learning_rate_that_is_constant_can_be_changed(run):
    """Negative control for the two above: there it has an effect."""
    keys = ("ppo.learning_rate_schedule=constant", "ppo.learning_rate=1e-4")
    assert resume(run, "--steps", str(3 * BATCH), *sets(*keys)) == 0
    assert Checkpoints(run).newest().learner["learning_rate"] == 1e-4


def test_another_order_of_the_observation_is_refused(run, capsys):
    """The same terms in another order are equal as a mapping, and another vector."""
    terms = reversed(config.load_run(run).task.observations["critic"])
    turned = f"task.observations.critic={{{', '.join(f'{name}: {{}}' for name in terms)}}}"
    said = refused(train_arguments(run, "--resume", *sets(turned)), capsys)
    assert said.startswith("robot-ppo: `task.observations.critic`: ['randomized', 'foot_contact',")


def test_another_set_of_draws_is_refused_where_the_critic_reads_them(run, capsys):
    fewer = "task.events.reset={friction: {range: [0.5, 1.0]}}"
    said = refused(train_arguments(run, "--resume", *sets(fewer)), capsys)
    assert "is gone: a network reads one number for each draw" in said
    ranges = "task.events.reset.friction.range=[0.5, 1.0]"
    assert resume(run, "--steps", str(3 * BATCH), *sets(ranges)) == 0


def test_groups_of_a_delay_are_not_changed_under_a_critic_that_reads_them():
    """The range may be; other groups would be other draws."""

    def task(**delay):
        delay = {"range": [0, 5], "groups": {"FL_*": 2}} | delay
        text = f"task.events.reset.group_delay={json.dumps(delay)}"
        return config.load("go2_walk", overrides=[text]).task

    resuming._check_critic(task(), task(range=[0, 9]))
    with pytest.raises(InputError, match="group_delay` draws by other parameters than it did"):
        resuming._check_critic(task(), task(groups={"FR_*": 2}))


def test_without_a_checkpoint_everything_can_be_changed(run):
    shutil.rmtree(run / "checkpoints")
    assert cli.main(train_arguments(run, "--resume", "--seed", "7", "--set", NEW[0])) == 0
    assert config.load_run(run).seed == Checkpoints(run).newest().settings.seed == 7


def test_a_preset_belongs_to_a_new_run(run, capsys):
    before = contents(run)
    for preset in ("default", "nonsense"):
        said = refused(train_arguments(run, "--resume", "--preset", preset), capsys)
        assert f"--preset {preset}: belongs to a new run; --resume goes on with" in said
    assert contents(run) == before


def test_weights_that_do_not_fit_are_said(tmp_path):
    """As of a release with other networks, or a file that somebody else made."""
    trainer = Trainer(tiny_config(), tmp_path)
    learner = trainer.learner.state_dict() | {"actor": {}}
    with pytest.raises(InputError, match="the checkpoint is of another robot, other networks or"):
        trainer._restore(
            Checkpoint(0, 0.0, 0, learner, {}, settings=trainer.config),
        )


def test_a_policy_file_is_of_the_settings_of_the_checkpoint_that_it_is_of(run, tmp_path):
    """Of an older checkpoint too."""
    old = Checkpoints(run).newest()
    assert resume(run, "--steps", str(3 * BATCH), *sets(*NEW)) == 0
    export.export(run, tmp_path / "old.onnx", old)
    assert bounds_of_vx(Policy(tmp_path / "old.onnx").contract) == (-1.0, 1.0)
