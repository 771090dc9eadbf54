"""Checkpoints: whole or as before, passed over when damaged, and never executed."""

import errno
import logging
import os
import pathlib
import pickle

import numpy as np
import pytest
import torch

from robot_ppo.training import checkpoint
from robot_ppo.training.checkpoint import Checkpoint, Checkpoints
from robot_ppo_export.errors import InputError


def snapshot(steps):
    return Checkpoint(
        steps=steps,
        seconds=1.5,
        iteration=3,
        learner={"actor": {"w": torch.arange(3.0) + steps}, "learning_rate": 1e-3},
        rng={"state": 2**100, "name": "PCG64"},
        episodes={
            "window": {"return": np.arange(3.0) + steps},
            "rng": {"inc": 2**100},
            "diverged": 1,
        },
    )


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path)


def names(checkpoints):
    return [p.name for p in checkpoints.paths()]


def test_what_is_saved_comes_back(checkpoints):
    checkpoints.save(snapshot(64), keep=5)
    back = checkpoints.newest()
    assert (back.steps, back.seconds, back.iteration) == (64, 1.5, 3)
    assert torch.equal(back.learner["actor"]["w"], torch.arange(3.0) + 64)
    assert back.rng == {"state": 2**100, "name": "PCG64"}
    assert back.episodes["rng"] == {"inc": 2**100} and back.episodes["diverged"] == 1
    assert np.array_equal(back.episodes["window"]["return"], np.arange(3.0) + 64)


@pytest.mark.parametrize(
    ("keep", "kept"), [(1, [30]), (2, [20, 30]), (9, [10, 20, 30]), (0, [10, 20, 30])]
)
def test_the_newest_stay(checkpoints, keep, kept):
    for steps in (10, 20, 30):
        checkpoints.save(snapshot(steps), keep)
    assert names(checkpoints) == [f"{steps:012d}.pt" for steps in kept]
    assert checkpoints.newest().steps == 30


def test_newest_is_by_steps_not_by_digits(checkpoints):
    for steps in (9, 1_000_000, 10):
        checkpoints.save(snapshot(steps), keep=0)
    assert checkpoints.newest().steps == 1_000_000


def test_what_was_just_written_stays_also_beside_a_damaged_newer_one(checkpoints):
    """As after a resume from the one before it."""
    for steps in (10, 30):
        checkpoints.save(snapshot(steps), keep=2)
    checkpoints.paths()[-1].write_bytes(b"damaged")
    checkpoints.save(snapshot(20), keep=1)
    assert "000000000020.pt" in names(checkpoints)
    assert len(names(checkpoints)) == 1


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_checkpoint_is_passed_over_and_said(checkpoints, share, caplog):
    for steps in (10, 20):
        checkpoints.save(snapshot(steps), keep=0)
    newest = checkpoints.paths()[-1]
    data = newest.read_bytes()
    newest.write_bytes(data[: int(share * len(data))])
    with caplog.at_level(logging.WARNING):
        assert checkpoints.newest().steps == 10
    assert f"{newest}: not a whole checkpoint" in caplog.text
    assert "using the one before it" in caplog.text


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["actor", "critic"])
def test_weights_that_are_not_finite_are_passed_over_and_said(checkpoints, name, value, caplog):
    """As written by releases that did not look."""
    checkpoints.save(snapshot(10), keep=0)
    diverged = snapshot(20)
    diverged.learner[name] = {"w": torch.tensor([1.0, value])}
    checkpoints.save(diverged, keep=0)
    assert checkpoints.newest().steps == 10
    assert "20.pt: its weights are not finite, learning had diverged" in caplog.text


def test_a_checkpoint_that_lacks_a_part_is_not_whole(checkpoints):
    checkpoints.folder.mkdir()
    torch.save({"steps": 1}, checkpoints.folder / "1.pt")
    with pytest.raises(InputError, match="not a whole checkpoint"):
        checkpoint.load(checkpoints.folder / "1.pt")


def test_nothing_but_damaged_ones_is_an_error_that_counts_them(checkpoints):
    checkpoints.folder.mkdir()
    for i in range(2):
        (checkpoints.folder / f"{i}.pt").write_bytes(b"nothing")
    with pytest.raises(InputError, match="none of the 2 checkpoints can be read"):
        checkpoints.newest()


def test_no_checkpoint_is_an_error_that_says_who_writes_them(checkpoints):
    with pytest.raises(InputError, match="no checkpoint here; `robot-ppo train` writes them"):
        checkpoints.newest()
    with pytest.raises(InputError, match="no such checkpoint"):
        checkpoint.load(checkpoints.folder / "1.pt")


class Attack:
    """A pickle that runs code when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_checkpoint_with_code_in_it_is_refused_and_the_code_not_run(
    checkpoints, tmp_path, writer
):
    checkpoints.folder.mkdir()
    trap = tmp_path / "executed"
    path = checkpoints.folder / "1.pt"
    data = {"steps": Attack(trap)}
    if writer == "torch":
        torch.save(data, path)
    else:
        path.write_bytes(pickle.dumps(data))
    with pytest.raises(InputError, match="not a whole checkpoint"):
        checkpoint.load(path)
    assert not trap.exists()
    # Negative control: a loader that trusts the file does run it.
    with path.open("rb") as file:
        (torch.load(file, weights_only=False) if writer == "torch" else pickle.load(file))
    assert trap.exists()


# -- disks that fail ----------------------------------------------------------------------------


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("call", "good", "fails"),
    [
        ("fdopen", 0, ".episodes"),
        ("fsync", 0, ".episodes"),
        ("replace", 0, ".episodes"),
        ("fsync", 1, ".episodes"),  # of the folder, when the file is there
        ("fdopen", 1, ".pt"),
        ("fsync", 2, ".pt"),
        ("replace", 1, ".pt"),
    ],
)
def test_a_full_disk_keeps_the_last_good_checkpoint(checkpoints, call, good, fails, monkeypatch):
    checkpoints.save(snapshot(10), keep=1)
    before = checkpoints.paths()[0].read_bytes()
    with monkeypatch.context() as patch:
        calls = iter(range(9))
        working = getattr(os, call)
        patch.setattr(os, call, lambda *a: (working if next(calls) < good else full)(*a))
        with pytest.raises(InputError, match=rf"000020{fails}: cannot be written \(No space left"):
            checkpoints.save(snapshot(20), keep=1)
    assert names(checkpoints) == ["000000000010.pt"]
    assert checkpoints.paths()[0].read_bytes() == before
    assert checkpoints.newest().steps == 10 and checkpoints.newest().episodes is not None
    assert sorted(p.name for p in checkpoints.folder.iterdir()) == [
        "000000000010.episodes",
        "000000000010.pt",
    ]  # no litter


def test_an_interrupted_write_leaves_no_half_checkpoint(checkpoints, monkeypatch):
    checkpoints.save(snapshot(10), keep=5)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(snapshot(20), keep=5)
    assert names(checkpoints) == ["000000000010.pt"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="cannot be written"):
        Checkpoints(tmp_path / "file").save(snapshot(1), keep=1)


def test_a_first_checkpoint_that_cannot_be_written_does_not_speak_of_a_last_one(
    checkpoints, monkeypatch
):
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=r"\(No space left on device\); nothing is saved$"):
        checkpoints.save(snapshot(10), keep=1)


# -- episodes -----------------------------------------------------------------------------------


def files(checkpoints):
    return sorted(p.name.lstrip("0") for p in checkpoints.folder.iterdir())


def test_only_the_newest_has_its_episodes(checkpoints):
    """They are most of what is written; `newest` alone brings them along."""
    for steps in (10, 20, 30):
        checkpoints.save(snapshot(steps), keep=2)
    assert files(checkpoints) == ["20.pt", "30.episodes", "30.pt"]
    assert checkpoints.newest().episodes is not None
    assert checkpoint.load(checkpoints.paths()[-1]).episodes is None


@pytest.mark.parametrize("killed", range(4))
def test_at_any_moment_the_newest_has_its_own_episodes(checkpoints, killed, monkeypatch):
    """The process ends before the first, second ... change in the folder."""
    checkpoints.save(snapshot(10), keep=1)
    changes = iter(range(9))

    def dying(change):
        def call(*args, **kwargs):
            if next(changes) >= killed:
                raise SystemExit
            return change(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying(os.replace))
        patch.setattr(pathlib.Path, "unlink", dying(pathlib.Path.unlink))
        with pytest.raises(SystemExit):
            checkpoints.save(snapshot(20), keep=1)
    newest = checkpoints.newest()
    assert newest.steps == (10 if killed < 2 else 20)
    assert newest.episodes["window"]["return"][0] == newest.steps
    checkpoints.save(snapshot(30), keep=1)
    assert files(checkpoints) == ["30.episodes", "30.pt"]  # what was left lying is gone


def test_what_a_killed_process_was_writing_is_removed(checkpoints):
    checkpoints.folder.mkdir()
    (checkpoints.folder / ".000000000010.episodes.x1y2").write_bytes(b"half")
    (checkpoints.folder / ".000000000010.pt.x1y2").write_bytes(b"half")
    checkpoints.save(snapshot(20), keep=5)
    assert files(checkpoints) == ["20.episodes", "20.pt"]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_episodes_with_code_in_them_are_passed_over_and_the_code_not_run(
    checkpoints, tmp_path, caplog
):
    checkpoints.save(snapshot(10), keep=5)
    path = checkpoints.paths()[0].with_suffix(checkpoint.EPISODES)
    trap = tmp_path / "executed"
    torch.save({"env": Attack(trap)}, path)
    assert checkpoints.newest().episodes is None
    assert not trap.exists() and f"{path}: not a whole checkpoint" in caplog.text
