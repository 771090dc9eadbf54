"""Makes the learner that a configuration asks for: imitation, PPO on the CPU, or PPO on a GPU."""

from robot_ppo.config import Config
from robot_ppo.ppo import on_device
from robot_ppo.ppo.distill import Distiller
from robot_ppo.ppo.networks import Policy, Value
from robot_ppo.ppo.ranks import Ranks
from robot_ppo.ppo.update import Learner


def make(config: Config, actor: Policy, critic: Value, ranks: Ranks) -> Learner:
    """Return the learner of `config.algorithm` and `config.device`.

    Raises:
        InputError: the device is not there, or cannot do what the configuration asks for.
    """
    if config.algorithm == "distill":
        return Distiller(config, actor, critic, ranks)
    check(config, ranks)
    kind = on_device.DeviceLearner if _on_device(config) else Learner
    return kind(config, actor, critic, ranks)


def check(config: Config, ranks: Ranks) -> None:
    """Raise `InputError` where the device is not there, or cannot do what is asked for."""
    if _on_device(config):
        on_device.check(config, ranks)


def _on_device(config: Config) -> bool:
    return config.device != "cpu" or config.engine != "batch"
