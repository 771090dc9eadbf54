"""Rows of the comparison of objectives, and a program that only pretends to train."""

import math
import os
import sys
import time
from pathlib import Path

from benchmarks.ppo_paper.results import Result, write

CHEETAH = "HalfCheetah-v5"
HOPPER = "Hopper-v5"
PENDULUM = "InvertedPendulum-v5"
STEPS = 4096
CURVE = [(2048, math.nan), (4096, 1.5)]
PRETEND = (sys.executable, "-m", "ppo_paper_helpers")


def result(setting, task, score, seed=1, **more):
    figures = {"steps": STEPS, "ended": "done", "episodes": 100, "seconds": 4.0}
    figures |= {"seconds_physics": 1.0, "seconds_collect": 2.0, "seconds_learn": 1.0}
    return Result(setting=setting, task=task, seed=seed, score=score, **(figures | more))


def pretend(setting, task, seed, steps, file):
    """In the place of `training.main`, in its process: what a run does depends on its name."""
    if setting == "clip_0.1":
        os._exit(3)
    if setting == "kl_dual_0.01":
        Path(file).with_suffix(".pid").write_text(str(os.getpid()))
        time.sleep(60)
    if setting == "clip_0.3":
        raise ValueError("no")
    write(Path(file), result(setting, task, 1.0, int(seed), steps=int(steps)), CURVE)


if __name__ == "__main__":
    pretend(*sys.argv[1:])
