"""Every key set to nonsense: refused with a sentence, or it trains; never a traceback."""

import copy
import functools
import random

import msgspec
import pytest
from env_helpers import SMALL
from test_train import Quiet

from robot_ppo import config
from robot_ppo.training.train import Trainer
from robot_ppo_export.contract import strict
from robot_ppo_export.errors import InputError

# Numbers overflow on their way to the sentence that says so, which is an error in our tests alone.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

TASKS = ("go2_walk", "Hopper-v5", "gym:Pendulum-v1")
NONSENSE = ("0", "-1", "null", "x", "[]", "{}", "[0]", "[-1, -1]", "[[]]", "true", "1000000000")
ENDLESS = ("steps", "rollout", "ppo.epochs", "networks.actor", "networks.critic")
"""With a large number they are only slow."""
TRAINED = 15
"""Of what the fast test is not refused, so much is trained with."""


def keys(data, path=""):
    for name, value in data.items():
        yield (whole := f"{path}.{name}" if path else name)
        if isinstance(value, dict):
            yield from keys(value, whole)


def overrides(task):
    """Every key with every value."""
    for key in keys(msgspec.to_builtins(config.load(task))):
        for value in NONSENSE:
            if not (key in ENDLESS and len(value) > 8):
                yield f"{key}={value}"


def loaded(task, override):
    """The configuration with one override, or None where that is refused."""
    try:
        tiny = [key for key in SMALL if not key.startswith(override.partition("=")[0])]
        return config.load(task, overrides=[*tiny, "steps=64", "threads=1", override])
    except InputError as error:
        assert str(error).count("\n") == 0
        return None


def train(settings, folder):
    """Train as `robot-ppo train` does; what cannot be trained is an `InputError`."""
    try:
        Trainer(settings, folder).run(Quiet())
    except InputError:
        return


@pytest.fixture(autouse=True)
def read_once(monkeypatch):
    """Files are parsed once, not once per nonsense."""
    read = functools.cache(strict.read_yaml)
    monkeypatch.setattr(strict, "read_yaml", lambda path: copy.deepcopy(read(path)))


@pytest.mark.parametrize("task", TASKS)
def test_nonsense_is_refused_or_trains(task, tmp_path):
    every = list(overrides(task))
    tried = random.Random(0).sample(every, len(every) // 6)
    accepted = {text: c for text in tried if (c := loaded(task, text)) is not None}
    assert len(accepted) > 5 < len(tried) - len(accepted)
    for text in random.Random(0).sample(sorted(accepted), TRAINED // len(TASKS)):
        print(text)
        train(accepted[text], tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_all_nonsense_is_refused_or_trains(task, tmp_path):
    for text in overrides(task):
        settings = loaded(task, text)
        if settings is not None:
            print(text)
            train(settings, tmp_path / "run")
