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
    if config.device == "cpu":
        return Learner(config, actor, critic, ranks)
    on_device.check(config, ranks)
    return on_device.DeviceLearner(config, actor, critic, ranks)
