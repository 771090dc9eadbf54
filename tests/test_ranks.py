"""Several processes that train one policy: what they compute, and how they end.

The processes come from a fork server that has imported everything, so that each takes a moment.
Where only the arithmetic counts, ranks are threads.
"""

import contextlib
import hashlib
import multiprocessing
import os
import re
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from env_helpers import replace, shipped
from ppo_helpers import N, learner, rollout

from robot_ppo import config
from robot_ppo.mirror import Mirror
from robot_ppo.ppo import rollout as rollouts
from robot_ppo.ppo.ranks import ACTOR, Ranks, Stopwatch
from robot_ppo.ppo.reduction import Reduction
from robot_ppo.ppo.rollout import Rollout
from robot_ppo.ppo.update import Learner
from robot_ppo.training import processes
from robot_ppo.training.checkpoint import Checkpoints
from robot_ppo_export.errors import InputError

TASK = "InvertedDoublePendulum-v5"
SMALL = ["num_envs=12", "rollout=16", "ppo.minibatches=2", "ppo.epochs=2", "save_every=0", "keep=0"]
ITERATION = 12 * 16
LONG = 25
"""Iterations of a run that can be killed on its way."""

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["robot_ppo.training.train", "robot_ppo.envs.gymnasium.mujoco_env"])


# -- ranks as threads ---------------------------------------------------------------------------


class Meeting:
    """Where threads that play ranks add up."""

    def __init__(self, size):
        self.size = size
        self.barriers = [threading.Barrier(size) for _ in range(2)]
        self.slots = [[None] * size for _ in range(2)]

    def all_of(self, rank, value, channel):
        self.slots[channel][rank] = value
        self.barriers[channel].wait(30)
        found = list(self.slots[channel])
        self.barriers[channel].wait(30)
        return found


class Thread(Ranks):
    def __init__(self, meeting, rank):
        super().__init__()
        self.meeting, self.rank, self.size = meeting, rank, meeting.size

    def sum(self, values, channel=0):
        return np.sum(self.meeting.all_of(self.rank, values.copy(), channel), axis=0).astype(
            values.dtype
        )

    def gather(self, data):
        return self.meeting.all_of(self.rank, data, 0)

    def exchange(self, rows, channel=0):
        everything = self.meeting.all_of(self.rank, rows.copy(), channel)
        return np.stack([own[self.rank] for own in everything])

    def gather_rows(self, row, channel=0):
        return np.stack(self.meeting.all_of(self.rank, row.copy(), channel))


def as_ranks(size, function):
    """Call function(ranks) in so many threads; return what each returned."""
    meeting = Meeting(size)
    with ThreadPoolExecutor(size) as pool:
        jobs = [pool.submit(function, Thread(meeting, rank)) for rank in range(size)]
        return [job.result() for job in jobs]


def part(whole: Rollout, rank, size) -> Rollout:
    """Return the columns of one rank."""
    n = N // size
    mine = slice(rank * n, (rank + 1) * n)
    fields = {}
    for name, value in vars(whole).items():
        if name == "finals":
            fields[name] = [final(t, ids, x, mine) for t, ids, x in value]
        elif name == "last_critic_inputs":
            fields[name] = value[mine].contiguous()
        else:
            fields[name] = None if value is None else value[:, mine].contiguous()
    return Rollout(**fields)


def final(t, ids, inputs, mine):
    own = (ids >= mine.start) & (ids < mine.stop)
    return t, ids[own] - mine.start, inputs[own]


def in_parts(samples, size, count, epochs, generators):
    """Minibatches of all samples that are the unions of the ranks' minibatches."""
    n = N // size
    columns = np.arange(len(samples)).reshape(-1, N)
    own = [columns[:, r * n : (r + 1) * n].ravel() for r in range(size)]
    for _ in range(epochs):
        mixed = [
            rows[torch.randperm(len(rows), generator=g).numpy()]
            for rows, g in zip(own, generators, strict=True)
        ]
        for pieces in zip(*(np.array_split(rows, count) for rows in mixed), strict=True):
            yield samples.take(np.concatenate(pieces))


@pytest.mark.parametrize("size", [2, 5])
@pytest.mark.parametrize(
    "settings",
    [
        {"normalize_advantages": "batch", "learning_rate_schedule": "kl", "kl_target": 0.01},
        {"normalize_advantages": "minibatch", "objective": "kl_adaptive", "stop_kl": 0.05},
        {"normalize_returns": True, "recompute_advantages": True},
    ],
)
def test_ranks_learn_what_one_learns_from_all_their_samples(size, settings, monkeypatch):
    """To the order of the additions: 1e-5 of weights of about 1 after three updates."""
    settings = {"minibatches": 3, "epochs": 2, **settings}
    of_ranks = as_ranks(size, lambda ranks: trained(ranks, settings))
    alone = reference(size, settings, monkeypatch)
    for one in of_ranks:
        for a, b in zip(weights(one), weights(alone), strict=True):
            assert torch.allclose(a, b, atol=1e-5)
    assert moved(alone, settings)
    assert len({fingerprint(one) for one in of_ranks}) == 1  # among each other to the bit


MAKING = threading.Lock()
"""Networks start from torch's one random stream."""


def trained(ranks, settings, updates=3):
    with MAKING:
        plain = learner(**settings)
    one = Learner(plain.config, plain.actor, plain.critic, ranks)
    for i in range(updates):
        one.update(part(rollout(one, seed=i), ranks.rank, ranks.size))
    return one


def reference(size, settings, monkeypatch, updates=3):
    """One learner that sees everything, in the same minibatches."""
    one = learner(**settings)
    # Of each rank the actor's and the critic's stream, as a Learner seeds them.
    streams = {
        i: [torch.Generator().manual_seed(0 * 2 + i + (r << 40)) for r in range(size)]
        for i in (0, 1)
    }

    def minibatches(self, count, epochs, generator):
        which = 0 if isinstance(self, rollouts.ActorSamples) else 1
        return in_parts(self, size, count, epochs, streams[which])

    monkeypatch.setattr(rollouts._Samples, "minibatches", minibatches)
    for i in range(updates):
        one.update(rollout(one, seed=i))
    return one


def weights(one):
    modules = (one.actor, one.critic)
    return [x.detach().float() for m in modules for x in m.state_dict().values()]


def fingerprint(one):
    return hashlib.sha256(b"".join(x.numpy().tobytes() for x in weights(one))).hexdigest()


def moved(one, settings):
    pairs = zip(weights(one), weights(learner(**settings)), strict=True)
    return max((a - b).abs().max() for a, b in pairs) > 1e-2


def test_without_the_mean_over_ranks_they_drift_apart(monkeypatch):
    """Negative control."""
    monkeypatch.setattr(Reduction, "__call__", lambda self, kl: kl)
    found = as_ranks(2, lambda ranks: trained(ranks, {"minibatches": 3}))
    assert fingerprint(found[0]) != fingerprint(found[1])


class Gradient:
    """What a reduction asks of a network's parameters."""

    def __init__(self, values, mirror=None):
        self.gradient = torch.tensor(values, dtype=torch.float32)
        self.mirror = mirror


def reduced(gradients, form, mirror=None):
    """Gradients and KL of every rank after so many reductions of one update."""

    def reduce(ranks):
        one = Gradient(np.zeros_like(gradients[0][0]), mirror)
        reduction = Reduction(one, ranks, ACTOR, form)
        found = []
        for step in gradients:
            one.gradient[:] = torch.from_numpy(step[ranks.rank])
            found.append((reduction(float(ranks.rank)), one.gradient.numpy().copy()))
        return found

    return as_ranks(len(gradients[0]), reduce)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("form, error", [("float32", 1e-6), ("int8", 2e-2)])
def test_a_gradient_is_the_mean_of_all_ranks_the_same_bits_on_each(size, form, error):
    """With int8 to two roundings of half a 127th of the largest entry: 0.008 of 2.5 here."""
    own = np.random.default_rng(0).normal(0, 0.6, (1, size, 700)).astype(np.float32)
    everywhere = [found[0] for found in reduced(own, form)]
    assert len({gradient.tobytes() for _, gradient in everywhere}) == 1
    assert {kl for kl, _ in everywhere} == {(size - 1) / 2}
    np.testing.assert_allclose(everywhere[0][1], own[0].mean(axis=0), atol=error)


def test_what_rounding_leaves_is_made_up_for_in_the_same_update():
    """A number too small for its block's scale arrives as often as makes its sum right."""
    own = np.zeros((64, 2, 256), np.float32)
    own[:, :, 0] = 1.0
    own[:, :, 1] = 0.001  # a quarter of half a step
    sums = sum(gradient for _, gradient in reduced(own, "int8")[0])
    assert sums[1] == pytest.approx(0.064, abs=1 / 127)
    first = reduced(own, "int8")[0][0][1]
    assert first[1] == 0.0  # negative control


def test_of_a_symmetric_gradient_half_travels():
    index = np.array([1, 0, 3, 2, 4, 5])
    mirror = Mirror(index, np.array([1, 1, -1, -1, 1, -1], np.float32))
    raw = np.random.default_rng(1).normal(0, 1, (1, 2, 6)).astype(np.float32)
    own = 0.5 * (raw + mirror(raw))
    travelled = []

    class Counting(Thread):
        def sum(self, values, channel=0):
            travelled.append(len(values))
            return super().sum(values, channel)

    def reduce(ranks):
        one = Gradient(own[0, ranks.rank], mirror)
        Reduction(one, Counting(ranks.meeting, ranks.rank), ACTOR)(0.0)
        return one.gradient.numpy()

    for found in as_ranks(2, reduce):
        np.testing.assert_allclose(found, own[0].mean(axis=0), atol=1e-6)
    assert travelled == [4 + 1] * 2  # two of two pairs, two that are their own image, the KL


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_rank_that_diverges_is_seen_by_all_whatever_travels(bad):
    own = np.ones((1, 2, 600), np.float32)
    own[0, 1, 300] = bad
    for form in ("float32", "int8"):
        for found in reduced(own, form):
            assert not np.isfinite(found[0][1]).all()


def test_ranks_hold_the_same_weights_when_gradients_travel_as_bytes():
    """And near those of float32: a third of what three updates moved."""
    settings = {"minibatches": 3, "epochs": 2}
    exact = as_ranks(2, lambda ranks: trained(ranks, settings))[0]
    coded = as_ranks(2, lambda ranks: trained(ranks, settings | {"reduction": "int8"}))
    assert len({fingerprint(one) for one in coded}) == 1
    assert fingerprint(coded[0]) != fingerprint(exact)
    start = learner(**settings)
    assert distance(coded[0], exact) < distance(exact, start) / 3


def distance(one, other):
    pairs = zip(one.actor.parameters(), other.actor.parameters(), strict=True)
    return sum((a - b).square().sum() for a, b in pairs).item() ** 0.5


def test_metrics_are_those_of_all_ranks():
    def figures(ranks):
        return ranks.metrics({"kl": float(ranks.rank), "ratio_max": float(ranks.rank)})

    assert as_ranks(3, figures) == [{"kl": 1.0, "ratio_max": 2.0}] * 3
    assert Ranks().metrics({"kl": 5.0}) == {"kl": 5.0}


def test_a_mean_counts_by_what_it_is_over_and_not_where_there_is_none():
    own = [{"a": 1.0, "b": 1.0, "ratio_max": 1.0}, {"a": 4.0, "c": 3.0, "ratio_max": 9.0}]

    def figures(ranks):
        return ranks.metrics(own[ranks.rank], {"a": 2.0 - ranks.rank, "ratio_max": 1.0})

    assert as_ranks(2, figures) == [{"a": 2.0, "b": 1.0, "ratio_max": 9.0, "c": 3.0}] * 2


def test_a_rank_waits_while_none_of_its_jobs_computes(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("robot_ppo.ppo.ranks.time.perf_counter", lambda: clock[0])
    watch = Stopwatch()

    def at(second, **change):
        clock[0] = second
        watch.change(**change)
        return watch.seconds

    assert [at(1, waiting=1), at(3, waiting=-1)] == [0, 2]  # one job, alone
    at(4, jobs=1)  # actor and critic begin
    assert [at(5, waiting=1), at(7, waiting=1), at(8, waiting=-1), at(9, waiting=-1)] == [
        2,
        2,
        3,
        3,
    ]
    assert [at(10, waiting=1), at(12, jobs=-1), at(15, waiting=-1)] == [3, 3, 6]  # one has ended
    at(16, jobs=-1)
    assert at(20, jobs=1) == 6  # between jobs nobody waits


def test_mean_and_deviation_of_all_ranks():
    numbers = torch.randn(3, 50, generator=torch.Generator().manual_seed(0)) + 2.0
    for mean, std in as_ranks(3, lambda ranks: ranks.mean_and_std(numbers[ranks.rank])):
        assert mean.item() == pytest.approx(numbers.mean().item(), abs=1e-6)
        assert std.item() == pytest.approx(numbers.std().item(), abs=1e-6)


def test_episodes_of_all_ranks_are_counted():
    found = as_ranks(2, lambda r: r.concatenated({"return": np.arange(r.rank + 1.0)}))
    assert all(x["return"].tolist() == [0.0, 0.0, 1.0] for x in found)


@pytest.mark.parametrize("settings", [{"objective": "trpo"}, {"estimator": "group_relative"}])
def test_what_learns_in_one_process_only_says_so(settings):
    with pytest.raises(InputError, match="in one process"):
        trained(Thread(Meeting(2), 0), settings)


def test_a_curriculum_with_one_level_for_all_is_for_one_process(tmp_path):
    from robot_ppo.training.train import Trainer

    term = {"reward": "lin_vel_tracking", "above": 0.5, "step": 0.1, "narrowest": 0.3}
    task = replace(shipped().task, curriculum={"command_range": term})
    settings = replace(shipped(), task=task, num_envs=2)

    def refused(ranks):
        with pytest.raises(InputError, match=r"`task\.curriculum\.command_range`: its level foll"):
            Trainer(settings, tmp_path, ranks=ranks)
        return True

    assert as_ranks(2, refused) == [True, True]


TILES = "task.terrain={kinds: {waves: {share: 1}, flat: {share: 2}}, levels: 5, columns: 3}"
RISING = "task.curriculum={terrain_level: {}}"


def test_levels_are_means_over_the_simulations_of_all_ranks(tmp_path):
    """Of each kind of ground, on which ranks may have other numbers of them, or none."""
    from robot_ppo.training.train import Trainer

    rough = ["num_envs=16", "rollout=4", "ppo.minibatches=1", "threads=1", TILES, RISING]
    settings = config.load("go2_walk", overrides=rough)

    def started(ranks):
        trainer = Trainer(settings, tmp_path, ranks=ranks)
        trainer.env.reset(seed=trainer.seed, options={"spread_episodes": True})
        placement = trainer.env.placement
        placement.row[:] = np.random.default_rng(ranks.rank).integers(0, 5, 8)
        placement.kind[:] = [0] * 8 if ranks.rank else [0, 1, 1, 0, 1, 0, 1, 1]
        trainer._gather_metrics()
        return trainer.behaviour, placement

    found = as_ranks(2, started)
    placements = [placement for _, placement in found]
    levels = np.concatenate([one.tiles.levels[one.row] for one in placements])
    kinds = np.concatenate([one.kind for one in placements])
    assert len(placements[0].tiles.names) == 2
    for figures, placement in found:
        for kind, name in enumerate(placement.tiles.names):
            assert figures[f"level_{name}"] == pytest.approx(levels[kinds == kind].mean())
    means = [one.tiles.levels[one.row].mean() for one in placements]
    assert abs(means[0] - means[1]) > 0.05


# -- cores --------------------------------------------------------------------------------------


def test_ranks_share_the_cores_of_a_machine():
    assert processes.part_of([4, 5, 6, 7], 1, 2) == [6, 7]
    parts = [processes.part_of(list(range(7)), rank, 3) for rank in range(3)]
    assert [len(part) for part in parts] == [2, 2, 3]
    assert [core for part in parts for core in part] == list(range(7))
    assert processes.part_of([0, 1], 0, 1) == [] == processes.part_of([0], 0, 2)


# -- ranks as processes -------------------------------------------------------------------------


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def member(rank, environment, arguments, file, sabotage):
    """The body of a rank's process."""
    os.environ.update(environment)
    with open(file, "w", buffering=1) as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    if sabotage is not None:
        sabotage()
    from robot_ppo import cli

    sys.exit(cli.main(arguments))


class Crew:
    """Ranks that train together, each with what it says in a file."""

    def __init__(
        self, tmp_path, size, out, *more, changed=None, sabotage=None, patience=30, start=0
    ):
        self.files = [tmp_path / f"{out}_{start}_{rank}.txt" for rank in range(size)]
        common = {
            "WORLD_SIZE": str(size),
            "LOCAL_WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port()),
            "ROBOT_PPO_RANK_TIMEOUT": str(patience),
        }
        self.processes = []
        for rank in range(size):
            arguments = ["train", TASK, "--out", str(tmp_path / out), *more]
            for text in SMALL:
                arguments += ["--set", text]
            arguments += (changed or {}).get(rank, [])
            environment = common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            own = (sabotage or {}).get(rank)
            process = SERVER.Process(
                target=member, args=(rank, environment, arguments, self.files[rank], own)
            )
            process.start()
            self.processes.append(process)

    def wait(self, seconds=90):
        until = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0.0, until - time.monotonic()))
        assert all(p.exitcode is not None for p in self.processes), self.said()
        return [process.exitcode for process in self.processes]

    def said(self):
        return [file.read_text() if file.exists() else "" for file in self.files]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join()


def steps(iterations):
    return ["--steps", str(iterations * ITERATION)]


def newest(tmp_path, out):
    paths = Checkpoints(tmp_path / out).paths()
    return paths[-1] if paths else None


def state_of(tmp_path, out):
    checkpoint = torch.load(newest(tmp_path, out), weights_only=True)
    learned = checkpoint["learner"]
    tensors = [*learned["actor"].values(), *learned["critic"].values()]
    return checkpoint["steps"], hashlib.sha256(
        b"".join(t.numpy().tobytes() for t in tensors)
    ).hexdigest()


def train(tmp_path, size, out, *more, **kwargs):
    with Crew(tmp_path, size, out, *more, **kwargs) as crew:
        assert crew.wait() == [0] * size, crew.said()
        return crew.said()


def when_saved(tmp_path, out, count):
    """Return when so many checkpoints are there."""
    until = time.monotonic() + 60
    while len(Checkpoints(tmp_path / out).paths()) < count:
        assert time.monotonic() < until, "no checkpoint"
        time.sleep(0.01)


def test_the_same_ranks_and_seed_give_the_same_bits_also_after_a_kill(tmp_path):
    """Unbroken, and with a rank killed on the way and resumed: the same weights."""
    said = train(tmp_path, 2, "whole", *steps(LONG))
    assert "done after" in said[0] and said[1] == ""  # the first one speaks
    for killed in (0, 1):
        out = f"killed{killed}"
        with Crew(tmp_path, 2, out, *steps(LONG)) as crew:
            when_saved(tmp_path, out, 3)
            crew.processes[killed].kill()
            began = time.monotonic()
            codes = crew.wait(20)
            assert codes[killed] == -signal.SIGKILL and codes[1 - killed] == 2
            assert time.monotonic() - began < 15
            assert f"rank {killed}" in crew.said()[1 - killed]
        assert state_of(tmp_path, out)[0] < LONG * ITERATION
        train(tmp_path, 2, out, *steps(LONG), "--resume")
        assert state_of(tmp_path, out) == state_of(tmp_path, "whole")


def test_three_ranks_and_another_number_of_them_go_on(tmp_path):
    said = train(tmp_path, 3, "run", *steps(3))
    parts = sorted(p.name for p in (tmp_path / "run" / "checkpoints").glob("*.episodes"))
    assert [re.sub(r"^\d+", "", name) for name in parts] == [
        ".episodes",
        ".rank1.episodes",
        ".rank2.episodes",
    ]
    said = train(tmp_path, 2, "run", *steps(5), "--resume")
    assert "ran in 3 processes, now there are 2" in said[0]
    assert state_of(tmp_path, "run")[0] == 5 * ITERATION


def hang():
    """Sabotage: this rank stops in its third iteration."""
    from robot_ppo.training.train import Trainer

    collect = Trainer._collect

    def hangs(self, times):
        if self.iteration == 2:
            time.sleep(1000)
        collect(self, times)

    Trainer._collect = hangs


def diverge():
    """Sabotage: this rank's policy is lost in its third iteration."""
    from robot_ppo.training.train import Trainer

    collect = Trainer._collect

    def diverges(self, times):
        if self.iteration == 2:
            raise self._diverged("the policy's output is")
        collect(self, times)

    Trainer._collect = diverges


def other_release():
    """Sabotage: this rank is of another release."""
    from robot_ppo.training import train

    train.__version__ = "0.0.9"


def test_a_rank_that_diverges_ends_all_with_its_reason_and_the_last_checkpoint(tmp_path):
    with Crew(tmp_path, 2, "run", *steps(1000), sabotage={1: diverge}) as crew:
        assert crew.wait(40) == [2, 2]
        assert "rank 1 ended: the policy's output is no longer finite" in crew.said()[0]
        assert "no longer finite" in crew.said()[1]
    assert state_of(tmp_path, "run")[0] == 2 * ITERATION


def test_a_rank_that_hangs_ends_the_others_within_the_time_that_was_stated(tmp_path):
    with Crew(tmp_path, 2, "run", *steps(1000), sabotage={1: hang}, patience=3) as crew:
        when_saved(tmp_path, "run", 2)
        began = time.monotonic()
        crew.processes[0].join(30)
        assert crew.processes[0].exitcode == 2 and time.monotonic() - began < 20
        assert "no answer for 3 s from rank 1 (after iteration 2)" in crew.said()[0]


@pytest.mark.parametrize(
    "changed, sabotage, sentence",
    [
        ({1: ["--set", "ppo.gamma=0.9"]}, None, "rank 1 has another configuration than rank 0"),
        (None, {1: other_release}, "rank 1 has another release of robot-ppo than rank 0"),
    ],
)
def test_ranks_that_do_not_belong_together_refuse(tmp_path, changed, sabotage, sentence):
    with Crew(tmp_path, 2, "run", *steps(5), changed=changed, sabotage=sabotage) as crew:
        assert crew.wait(40) == [2, 2]
        assert all(sentence in said for said in crew.said())
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_simulations_that_cannot_be_shared_are_refused(tmp_path):
    with Crew(tmp_path, 5, "five", *steps(5)) as crew:
        assert set(crew.wait(60)) == {2}
        assert "12 simulations cannot be shared evenly among 5 processes" in crew.said()[0]


@pytest.mark.parametrize("text", ["soon", "0", "nan"])
def test_a_timeout_that_is_none_is_refused(monkeypatch, text):
    from robot_ppo.ppo import ranks

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ROBOT_PPO_RANK_TIMEOUT", text)
    with pytest.raises(InputError, match=f"ROBOT_PPO_RANK_TIMEOUT={text}"):
        ranks.from_environment()


def test_a_process_that_was_started_alone_meets_nobody():
    with processes.together() as met:
        assert (met.rank, met.size) == (0, 1)


def test_cores_and_threads_are_restored(monkeypatch):
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("one core cannot be shared")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with processes.own_cores():
        assert os.sched_getaffinity(0) < before
    assert os.sched_getaffinity(0) == before
    with contextlib.suppress(ZeroDivisionError), processes.own_cores():
        raise ZeroDivisionError
    assert os.sched_getaffinity(0) == before
