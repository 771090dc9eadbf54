"""The loop on one screen: collect -> update -> log -> save.

The weights after N steps depend on the settings and the seed alone: not on the clock, not on the
number of threads of the simulations, not on where a run was killed and resumed. Nothing here
changes a setting of the process: the command that trains does (training/threads.py).
"""

import logging
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from robot_ppo import config as configs
from robot_ppo import envs
from robot_ppo.config import Config
from robot_ppo.envs import serialization
from robot_ppo.envs.environment import Observations, group_size, join
from robot_ppo.mirror import Mirror
from robot_ppo.ppo import learners, symmetric
from robot_ppo.ppo.distill import imitates, student_share
from robot_ppo.ppo.networks import Actor, Critic
from robot_ppo.ppo.ranks import Ranks
from robot_ppo.ppo.rollout import Rollout
from robot_ppo.training import joints, processes, resume
from robot_ppo.training.checkpoint import Checkpoint, Checkpoints
from robot_ppo.training.episode_statistics import EpisodeStatistics
from robot_ppo.training.explorer import Explorer
from robot_ppo.training.stop_signal import stop_on_signal
from robot_ppo.training.teacher import Teacher
from robot_ppo_export import __version__
from robot_ppo_export.errors import InputError

log = logging.getLogger(__name__)


class DivergedError(InputError):
    """The weights, or the output of the policy, are not finite any more."""


class Log(Protocol):
    """Receiver of the metrics of every iteration."""

    def log(self, trainer: "Trainer", metrics: dict[str, float], times: dict[str, float]) -> None:
        """Record the metrics of an update and the seconds that collecting and learning took."""


class Trainer:
    """One run: environment, learner, counters."""

    def __init__(
        self, config: Config, folder: Path, resume: bool = False, ranks: Ranks | None = None
    ) -> None:
        """Build everything; with `resume`, go on from the newest whole checkpoint.

        A run that was killed before its first checkpoint starts from nothing, as it did then.
        With other `ranks`, this one simulates its part of `num_envs`.
        """
        self.teacher = Teacher(config, folder) if config.algorithm == "distill" else None
        config = self.teacher.config if self.teacher else config
        self.config = self.learned_with = config
        self.ranks = ranks or Ranks()
        self.ranks.require_equal(
            {"release of robot-ppo": __version__, "configuration": configs.to_yaml(config)}
        )
        self.num_envs = processes.simulations(config, self.ranks)
        """Simulations of this rank."""
        self.seed = processes.seed(config, self.ranks)
        learners.check(config, self.ranks)
        self.env = envs.make(config, self.num_envs, self.seed)
        self.explorer = Explorer(self.env)
        self.joints = joints.of(config)
        if self.teacher:
            self.teacher.require(self.env)
        actor, critic = self._networks()
        self.learner = learners.make(config, actor, critic, self.ranks)
        self.rng = np.random.default_rng([self.seed, 1])
        self.rollout = Rollout.empty(
            config.rollout,
            self.num_envs,
            len(actor.normalizer.mean),
            len(critic.normalizer.mean),
            len(actor.log_std),
            config.networks.std == "state",
            device=config.device,
            state=actor.state_size,
        )
        if self.teacher:
            self.rollout.labels = torch.zeros_like(self.rollout.means)
            if self.teacher.width:
                self.rollout.latents = torch.zeros(*self.rollout.rewards.shape, self.teacher.width)
        self.state = torch.zeros(self.num_envs, actor.state_size)
        """Memory of the actor in each simulation's episode, (n, S)."""
        self.checkpoints = Checkpoints(folder, self.ranks.rank, self.ranks.size)
        self.steps = 0
        self.seconds = 0.0
        self.iteration = 0
        self.reached: dict[str, Any] = {}
        """Levels of curricula in the checkpoint that was resumed."""
        self.statistics = EpisodeStatistics()
        self.interrupted = False
        """True where a signal ended the run."""
        self.behaviour: dict[str, float] = {}
        """Metrics of the environments since the last update, means over the ranks."""
        self._started = False
        self._counted = np.zeros(2)
        """Seconds that this rank had waited and bytes that it had sent when both were logged."""
        if resume and self.checkpoints.paths():
            self._restore(self.checkpoints.newest())

    def _networks(self) -> tuple[Actor, Critic]:
        """Return actor and critic as they start, their own mirror images where that is asked."""
        env = self.env
        networks = self.config.networks
        size = group_size(env, networks.actor_groups, "networks.actor_groups")
        critic_size = group_size(env, networks.critic_groups, "networks.critic_groups")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            actor = Actor(size, env.single_action_space.shape[0], networks)
            critic = Critic(critic_size, networks, self.config.ppo.normalize_returns)
        if self.teacher:
            self.teacher.give_deviation(actor)
        if (symmetry := envs.symmetry(env, networks.symmetric)) is not None:
            if self.teacher:
                self.teacher.require_symmetric(symmetry.actions)
            actor_mirrors = [symmetry.groups[name] for name in networks.actor_groups]
            critic_mirrors = [symmetry.groups[name] for name in networks.critic_groups]
            symmetric.tie(actor, Mirror.joined(actor_mirrors), symmetry.actions)
            symmetric.tie_critic(critic, Mirror.joined(critic_mirrors))
        return actor, critic

    def run(self, logger: Log) -> Checkpoint:
        """Train until the budget is spent or Ctrl-C; return the last checkpoint."""
        started = time.perf_counter() - self.seconds
        saved = self.seconds
        if not self._started:
            self._start_episodes()
        with stop_on_signal() as stopped:
            while self.progress < 1 and not self._agree_to_stop(stopped()):
                times = {"physics": -self.env.physics_seconds}
                self.ranks.publish(f"iteration {self.iteration}")
                self._collect(times)
                self._gather_metrics()
                metrics = self._learn(times)
                self.learned_with = self.config
                self.iteration += 1
                self.steps += self.config.num_envs * self.config.rollout
                due = self._agree_on_time(started, saved)
                times["ranks"], times["sent"] = self._means_of_ranks()
                logger.log(self, metrics, times)  # before the check: the doctor reads NaN, too
                self._check_weights()
                if due:
                    self._save()
                    saved = self.seconds
        return self._save()

    def _agree_to_stop(self, stopped: bool) -> bool:
        """Return whether any rank was told to stop, also as `interrupted`."""
        self.interrupted = bool(self.ranks.sum(np.array([float(stopped)]))[0] > 0)
        return self.interrupted

    def _agree_on_time(self, started: float, saved: float) -> bool:
        """Set the clock to that of the first rank; return whether it is time to save."""
        own = np.array([time.perf_counter() - started]) * (self.ranks.rank == 0)
        self.seconds = float(self.ranks.sum(own)[0])
        return self.seconds - saved >= self.config.save_every

    def _means_of_ranks(self) -> list[float]:
        """Return the seconds that ranks waited and the bytes that they sent since the last call."""
        now = np.array([self.ranks.waited, self.ranks.sent])
        since = now - self._counted
        self._counted = now
        return (self.ranks.sum(since) / self.ranks.size).tolist()

    def _gather_metrics(self) -> None:
        """Take in what the environments of all ranks say of the latest steps."""
        self.statistics.add(self.ranks.concatenated(self.env.metrics.drain()))
        metrics = self.env.metrics
        self.behaviour = self.ranks.metrics(metrics.behaviour(), metrics.simulations())

    @property
    def progress(self) -> float:
        """The fraction of the budget, steps or time, that is spent."""
        done = self.steps / self.config.steps
        minutes = self.config.minutes
        return done if minutes is None else max(done, self.seconds / (60 * minutes))

    # -- the parts --------------------------------------------------------------------------

    @torch.inference_mode()
    def _collect(self, times: dict[str, float]) -> None:
        """Fill the rollout: T steps of every simulation under the present policy."""
        begin = time.perf_counter()
        policy = 0.0
        rollout = self.rollout
        rollout.finals = []
        rollout.state[:] = self.state
        self.explorer.begin(self.rng)
        if self.config.ppo.estimator == "group_relative":
            self._start_groups()
        done = self.steps / self.config.steps
        for t in range(self.config.rollout):
            t0 = time.perf_counter()
            rollout.observations[t] = self._actor_inputs(self.observations)
            rollout.critic_inputs[t] = self._critic_inputs(self.observations)
            mean, log_std, self.state = self.learner.policy(rollout.observations[t], self.state)
            if self.teacher and rollout.labels is not None and imitates(self.config, done):
                share = student_share(self.config, done)
                latents = None if rollout.latents is None else rollout.latents[t]
                mean = self.teacher.lead(self.observations, mean, rollout.labels[t], latents, share)
            action = self.explorer.draw(mean, log_std, self.rng)
            if not self.explorer.finite(action):
                raise self._diverged("the policy's output is")
            rollout.means[t] = mean
            rollout.actions[t] = action
            if rollout.log_stds is not None:
                rollout.log_stds[t] = log_std
            policy += time.perf_counter() - t0
            _, reward, failed, cut, info = self.env.step(self.explorer.given(action))
            self.observations = info["observations"]
            rollout.rewards[t] = torch.as_tensor(reward)
            rollout.terminated[t] = torch.from_numpy(failed)
            rollout.truncated[t] = torch.from_numpy(cut)
            self.state[torch.from_numpy(failed | cut)] = 0.0
            if self.teacher:
                self.teacher.acting.reset(failed | cut)
            if cut.any():
                ids = np.flatnonzero(cut)
                final = self._critic_inputs(_rows(info["final_observations"], ids))
                rollout.finals.append((t, torch.from_numpy(ids), final))
        rollout.last_critic_inputs = self._critic_inputs(self.observations)
        times["collect"] = time.perf_counter() - begin
        times["policy"] = policy
        times["physics"] += self.env.physics_seconds

    def _start_groups(self) -> None:
        """Make every group exact copies of its first simulation, what it saw last included."""
        everyone = np.arange(self.num_envs)
        first = everyone - everyone % self.config.ppo.group_size
        others = np.flatnonzero(first != everyone)
        self.env.copy_rows(first[others], others)
        self.observations = _rows(self.observations, first)

    def _learn(self, times: dict[str, float]) -> dict[str, float]:
        begin = time.perf_counter()
        # Schedules follow the steps alone: the clock must not have a say in the weights.
        metrics = self.learner.update(self.rollout, self.steps / self.config.steps)
        times["learn"] = time.perf_counter() - begin
        return metrics

    def _actor_inputs(self, observations: Observations) -> torch.Tensor:
        """Return what the actor reads, (m, size)."""
        return torch.as_tensor(join(observations, self.config.networks.actor_groups)).float()

    def _critic_inputs(self, observations: Observations) -> torch.Tensor:
        """Return what the critic reads, (m, critic size)."""
        return torch.as_tensor(join(observations, self.config.networks.critic_groups)).float()

    def _start_episodes(self) -> None:
        """Start all episodes, and let the normalizers see some of the world before learning.

        That is one rollout in which nothing is learned: `steps` leaves it out, the clock does not,
        and the first row of the log is about its episodes too.
        """
        if self.iteration:
            self.env.reset(seed=self.seed + self.iteration)
            self.env.go_on_from(self.reached)
        _, info = self.env.reset(options={"spread_episodes": True})
        self.observations = info["observations"]
        if self.steps == 0:
            times = {"physics": 0.0}
            self._collect(times)
            self.learner.update_normalizers(self.rollout)

    # -- checkpoints ------------------------------------------------------------------------

    def _save(self) -> Checkpoint:
        """Write a checkpoint; one whose policy cannot act would end every resume."""
        inputs = self._actor_inputs(self.observations)
        mean, log_std, _ = self.learner.policy(inputs, self.state)
        if not (mean.isfinite().all() and log_std.exp().isfinite().all()):
            raise self._diverged("the policy's output is")
        snapshot = self.snapshot()
        if self.ranks.rank > 0:
            self.checkpoints.save_part(snapshot)
        self.ranks.barrier()  # a checkpoint is there when all its parts are
        if self.ranks.rank == 0:
            self.checkpoints.save(snapshot, self.config.keep)
        self.ranks.barrier()
        return snapshot

    def _check_weights(self) -> None:
        """Raise `DivergedError` where actor or critic, normalizers included, are not finite."""
        for name, model in (("actor", self.learner.actor), ("critic", self.learner.critic)):
            if not all(weights.isfinite().all() for weights in model.state_dict().values()):
                raise self._diverged(f"the {name}'s weights are")

    def _diverged(self, what: str) -> DivergedError:
        """Return the error, with a remedy."""
        ppo = self.config.ppo
        follows = ppo.learning_rate_schedule == "kl" and ppo.kl_target is not None
        key = "ppo.kl_target" if follows else "ppo.learning_rate"
        key = "ppo.kl_bound" if ppo.objective == "trpo" else key
        on = f"start anew with a smaller {key}"
        if self.checkpoints.paths():
            on = f"the last checkpoint stays: --resume --set {key}=..., smaller, goes on from it"
        return DivergedError(
            f"{what} no longer finite after {self.steps:,} steps: learning diverged; {on}"
        )

    def snapshot(self) -> Checkpoint:
        """Return the run as it is now."""
        return Checkpoint(
            steps=self.steps,
            seconds=self.seconds,
            iteration=self.iteration,
            ranks=self.ranks.size,
            learner=self.learner.state_dict(),
            rng=dict(self.rng.bit_generator.state),
            episodes={
                "env": self.env.state_dict(),
                "observations": serialization.copy(self.observations),
                "memory": {
                    "actor": self.state,
                    "critic": self.learner.values.state,
                    "teacher": self.teacher and self.teacher.acting.state,
                },
                "statistics": self.statistics.state_dict(),
                "rng": dict(self.rng.bit_generator.state),
                "generators": self.learner.generator_states(),
            },
            settings=self.learned_with,
            joints=self.joints,
            reached=self.env.reached(),
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.learned_with = self.checkpoints.settings(checkpoint)
        resume.check(self.learned_with, self.config)
        joints.check(self.config, checkpoint)
        self.steps = checkpoint.steps
        self.seconds = checkpoint.seconds
        self.iteration = checkpoint.iteration
        self.reached = checkpoint.reached
        resume.load(self.learner, checkpoint.learner)
        self.rng.bit_generator.state = checkpoint.rng
        self._restore_episodes(checkpoint)

    def _restore_episodes(self, checkpoint: Checkpoint) -> None:
        """Go on with the running episodes; where that cannot be, warn and start new ones."""
        episodes = checkpoint.episodes
        try:
            if checkpoint.ranks != self.ranks.size:
                raise InputError(
                    f"they ran in {checkpoint.ranks} processes, now there are {self.ranks.size}"
                )
            if episodes is None:
                raise InputError("the checkpoint is without them")
            if "observations" not in episodes:
                raise InputError("the checkpoint was written before observations had groups")
            self.env.load_state_dict(episodes["env"])
        except InputError as error:
            log.warning(
                "the running episodes cannot go on (%s): new ones start, so from here on the "
                "weights are not those of an unbroken run",
                error,
            )
            # Else several ranks would go on with the random numbers of the first.
            self.rng = np.random.default_rng([self.seed, 1, self.iteration])
            return
        self.observations = episodes["observations"]
        self._remember(episodes.get("memory", {}))
        self.statistics.load_state_dict(episodes["statistics"])
        if self.ranks.rank > 0:
            self.rng.bit_generator.state = episodes["rng"]
            self.learner.load_generator_states(episodes["generators"])
        self._started = True

    def _remember(self, memory: dict[str, Any]) -> None:
        """Take over what networks with a memory know of the running episodes."""
        if self.state.shape[1]:
            self.state = torch.from_numpy(memory["actor"])
        if memory.get("critic") is not None:
            self.learner.values.state = torch.from_numpy(memory["critic"])
        if self.teacher and memory.get("teacher") is not None:
            self.teacher.acting.state = memory["teacher"]


def _rows(observations: Observations, ids: np.ndarray) -> Observations:
    """Return copies of the rows `ids` of every group."""
    return {name: rows[ids] for name, rows in observations.items()}
