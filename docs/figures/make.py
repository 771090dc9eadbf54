"""Draw the figures of docs/ppo.md.

    python docs/figures/make.py              # all of them
    python docs/figures/make.py beta gae     # two of them

The numbers come from problems.py, and those from the functions that train. One function per
figure; its name is the file's.
"""

import math
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import problems
import torch
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robot_ppo.ppo import objectives

HERE = Path(__file__).resolve().parent

# Okabe and Ito's colours, which the colour-blind can tell apart.
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
RED = "#D55E00"
GREY = "#767676"
STYLE = {
    "font.size": 11,
    "axes.titlesize": 11.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 2.0,
}


def panels(rows: int, columns: int, width: float, height: float, **more: object) -> tuple:
    """Return a figure and its axes."""
    return pyplot.subplots(rows, columns, figsize=(width, height), layout="constrained", **more)  # pyright: ignore


def four_cases() -> Figure:
    """Return the clipped objective and its slope over the ratio, for a good and a bad action."""
    ratios = torch.linspace(0.0, 2.0, 201).double()
    e = problems.EPSILON
    lines = (
        ("r A", lambda r, a: objectives.unclipped(r, a), GREY, ":"),
        ("clip(r) A alone", lambda r, a: problems.clipping_alone(r, a, e), ORANGE, "--"),
        ("min of both: PPO", lambda r, a: objectives.clip(r, a, e), BLUE, "-"),
    )
    figure, axes = panels(2, 2, 9.5, 5.6, sharex=True)
    for column, gain in enumerate((1.0, -1.0)):
        for label, objective, color, style in lines:
            values, slopes = problems.one_sample(objective, gain, ratios)
            width = 3.5 if style == "-" else 2.0
            kwargs = {"color": color, "linestyle": style, "linewidth": width}
            order = 1 if style == "-" else 2
            axes[0, column].plot(ratios, values, label=label, zorder=order, **kwargs)
            axes[1, column].plot(ratios, slopes, zorder=order, **kwargs)
        kind = "good action, A = +1" if gain > 0 else "bad action, A = −1"
        axes[0, column].set_title(kind)
        axes[1, column].set_ylim((-0.25, 1.5) if gain > 0 else (-1.5, 0.25))
        axes[1, column].set_xlabel(r"ratio $r = \pi_{new}(a|s)\;/\;\pi_{old}(a|s)$")
        for axis in axes[:, column]:
            for edge in (1 - e, 1 + e):
                axis.axvline(edge, color="black", linewidth=0.8, alpha=0.5)
        far, wrong = (1.62, 0.38) if gain > 0 else (0.38, 1.62)
        height = 0.28 if gain > 0 else -0.28
        axes[1, column].text(far, height, "done enough:\nno more pull", ha="center", va="center")
        axes[1, column].text(
            wrong, 1.25 * gain, "the wrong way: the\nmin pulls it back", ha="center", va="center"
        )
    axes[0, 0].set_ylabel("objective")
    axes[1, 0].set_ylabel("its slope in r")
    axes[0, 0].legend(loc="upper left")
    return figure


def trust() -> Figure:
    """Return what one batch says about policies further and further away."""
    shifts = torch.linspace(0, 3, 61).double()
    found = problems.trust(shifts)
    figure, (left, right) = panels(1, 2, 9.5, 3.9)
    for name, label, color in (
        ("unclipped", "E[r A] of one batch", ORANGE),
        ("clipped", "PPO's clipped objective", BLUE),
    ):
        low, middle, high = found[name].quantile(torch.tensor([0.05, 0.5, 0.95]).double(), 0)
        left.fill_between(shifts, low, high, color=color, alpha=0.25, linewidth=0)
        left.plot(shifts, middle, color=color, label=label)
    left.plot(shifts, found["truth"], color="black", linestyle="--", label="true improvement")
    left.set_xlabel("the new mean, in standard deviations from the old")
    left.set_ylabel("improvement of the reward")
    left.set_title("256 actions of the old policy; bands: 90 % of batches")
    left.set_ylim(-0.1, 0.78)
    left.legend(loc="upper left")
    kl = found["kl"]
    right.plot(kl, found["effective"], color=BLUE, label="of one batch of 256")
    right.plot(kl, torch.exp(-2 * kl), color="black", linestyle="--", label="exp(−2 KL)")
    right.axvline(0.01, color=GREEN, linewidth=1.5)
    right.text(0.035, 0.03, "a usual target:\nKL 0.01, 98 %", color=GREEN)
    right.set_xlim(0, 1.5)
    right.set_ylim(0, 1.03)
    right.set_xlabel("KL(old, new) [nats]")
    right.set_ylabel("samples that still count, share")
    right.set_title("effective sample size")
    right.legend(loc="upper right")
    return figure


def _plane(axis: Axes, problem: problems.OneAction, span: tuple, levels: list, **more: object):  # noqa: ANN202
    """Draw contours of the KL over mean and standard deviation; return grid and contours."""
    x0, x1, y0, y1 = span
    mean, log_std = torch.meshgrid(
        torch.linspace(x0, x1, 161).double(), torch.linspace(y0, y1, 161).double(), indexing="xy"
    )
    kl = problem.kl(torch.stack((mean, log_std), -1))
    axis.set_xlabel("mean, in old standard deviations")
    axis.set_ylabel("log(std / old std)")
    start = math.log(problems.STD)
    x = mean / problems.STD
    y = log_std - start
    return mean, log_std, axis.contour(x, y, kl, levels=levels, **more)


def trpo_step() -> Figure:
    """Return the unit circle of KL, and TRPO's step on a small problem."""
    problem = problems.OneAction(peak=0.35, width=0.2)
    std = problems.STD
    start = math.log(problems.STD)
    bound = 0.2
    figure, (left, right) = panels(1, 2, 9.5, 4.6)
    span = (-2 * std, 2 * std, start - 1.2, start + 1.2)
    *_, drawn = _plane(left, problem, span, [0.01, 0.05, 0.2, 0.5, 1.0], colors=BLUE)
    left.clabel(drawn, fmt="%g", fontsize=9)
    left.plot(0, 0, "o", color="black")
    left.set_title("KL(old, new) [nats]; dot: old. To narrow\nis dear, to widen is cheap")

    span = (-0.25 * std, 0.95 * std, start - 1.1, start + 0.25)
    mean, log_std, _ = _plane(right, problem, span, [bound], colors=[BLUE], linewidths=[2.5])
    some = slice(None, None, 4)  # the surrogate is smooth, and dear to evaluate
    mean = mean[some, some]
    log_std = log_std[some, some]
    points = torch.stack((mean, log_std), -1).view(-1, 2)
    rise = torch.stack([problem.surrogate(at) for at in points]).view(mean.shape)
    right.contour(
        mean / std, log_std - start, rise, levels=10, colors=GREY, linewidths=0.8, alpha=0.7
    )
    step = problems.natural_step(problem, bound)
    circle = torch.linspace(0, 2 * math.pi, 200).double()
    model = torch.stack((circle.cos(), circle.sin()), -1) * torch.sqrt(
        2 * bound / torch.diagonal(step["fisher"])
    )
    right.plot(model[:, 0] / std, model[:, 1], color=BLUE, linestyle="--", linewidth=1.5)
    gradient = step["gradient"]
    scale = 0.42 / gradient.norm()
    arrow = {"length_includes_head": True, "head_width": 0.025, "width": 0.004, "zorder": 3}
    right.arrow(
        0, 0, float(scale * gradient[0] / std), float(scale * gradient[1]), color=ORANGE, **arrow
    )
    tried = (step["tried"] - problem.old) / torch.tensor([std, 1.0]).double()
    right.arrow(0, 0, *tried[0].tolist(), color=GREEN, **arrow)
    right.plot(*tried[:-1].T, "x", color=RED, markersize=11, markeredgewidth=3, zorder=4)
    right.plot(*tried[-1], "o", color=GREEN, markersize=10, zorder=4)
    right.plot(0, 0, "o", color="black", zorder=4)
    right.set_xlim(-0.25, 0.95)
    right.set_ylim(-1.1, 0.25)
    for label, color, style in (
        ("KL = bound", BLUE, {"linewidth": 2.5}),
        ("its model by F", BLUE, {"linestyle": "--", "linewidth": 1.5}),
        ("gradient", ORANGE, {}),
        ("natural gradient", GREEN, {}),
        ("full step: KL too large", RED, {"marker": "x", "linestyle": "", "markeredgewidth": 3}),
        ("half of it: taken", GREEN, {"marker": "o", "linestyle": "", "markersize": 9}),
    ):
        right.plot([], [], label=label, color=color, **style)
    right.legend(loc="lower left", frameon=True, edgecolor="white", framealpha=0.95)
    right.set_title("TRPO: the direction by F, the length by a\nline search (grey: the surrogate)")
    return figure


def beta() -> Figure:
    """Return the price of KL under both rules, where the right price is known."""
    updates = 45
    figure, (left, right) = panels(1, 2, 9.5, 3.7)
    for objective, label, color, style in (
        ("kl_adaptive", "kl_adaptive: halve or double", ORANGE, "--"),
        ("kl_dual", "kl_dual: ascend the dual", BLUE, "-"),
        ("kl_fixed", "kl_fixed: beta = 1", GREY, ":"),
    ):
        betas, kls = problems.prices(objective, updates)
        marks = {"color": color, "linestyle": style, "marker": "" if style == ":" else "."}
        left.plot(betas, label=label, **marks)
        right.plot([kl / problems.BOUND for kl in kls], **marks)
    left.axhline(problems.MULTIPLIER, color="black", linewidth=1, label="the multiplier: 5.6")
    left.set_yscale("log", base=2)
    left.set_yticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
    left.set_ylim(0.85, 32)
    left.set_ylabel("beta, the price of KL")
    left.legend(loc="upper right")
    band = {"color": ORANGE, "alpha": 0.2, "linewidth": 0}
    right.axhspan(1 / 1.5, 1.5, label="dead band of kl_adaptive", **band)
    right.legend(loc="center right", bbox_to_anchor=(1.0, 0.7))
    right.axhline(1, color="black", linewidth=1)
    right.set_yscale("log")
    right.set_yticks([0.5, 1, 2, 5, 10, 30], ["0.5", "1", "2", "5", "10", "30"])
    right.minorticks_off()
    right.set_ylabel("KL of the update / its bound")
    for axis in (left, right):
        axis.set_xlabel("update")
    return figure


SAMPLES = 200
"""Of each state and action: what a batch averages."""


def gae() -> Figure:
    """Return bias and noise of advantage estimates over lambda, for better and worse critics."""
    lambdas = torch.linspace(0, 1, 21)
    errors = [0.0, 0.3, 1.0]
    bias, noise = problems.lambda_errors(lambdas, errors)
    noise = noise / math.sqrt(SAMPLES)
    total = torch.sqrt(bias**2 + noise**2)
    figure, (left, right) = panels(1, 2, 9.5, 3.7)
    left.plot(lambdas, bias[1], color=RED, linestyle="--", label="bias, from the critic's error")
    left.plot(lambdas, noise[1], color=ORANGE, linestyle=":", label=f"noise, mean of {SAMPLES}")
    left.plot(lambdas, total[1], color=BLUE, label="both")
    left.set_title("a critic that is wrong by 0.3")
    left.legend(loc="upper center")
    marks = (("0 (perfect)", GREEN, "-"), ("0.3", BLUE, "--"), ("1.0", RED, ":"))
    for row, (label, color, style) in zip(total, marks, strict=True):
        best = int(row.argmin())
        right.plot(lambdas, row, color=color, linestyle=style, label=label)
        right.plot(lambdas[best], row[best], "o", color=color, markersize=9)
    right.set_title("the worse the critic, the larger the best λ (dots)")
    right.legend(title="critic's error", loc="upper center")
    for axis in (left, right):
        axis.set_xlabel("λ")
        axis.set_ylim(0, 0.4)
    left.set_ylabel("error of the advantage [reward]")
    return figure


WEIGHTS = ((0.0, GREY, ":"), (0.2, BLUE, "-"), (3.0, RED, "--"))
SEEDS = 4
UPDATES = 50


def entropy() -> Figure:
    """Return how exploration goes with no, some and too much of a bonus for entropy."""
    figure, (hills, middle, right) = panels(1, 3, 10.5, 3.6)
    actions = torch.linspace(-1.5, 4, 300)
    start = torch.exp(-(actions**2) / (2 * problems.STD**2))
    hills.plot(actions, problems.two_hills(actions), color="black", label="reward")
    hills.fill_between(actions, 0.6 * start, color=GREEN, alpha=0.3, label="policy at the start")
    hills.set_xlabel("action")
    hills.set_title("the better hill is far away")
    hills.legend(loc="upper left")
    hills.set_ylim(0, 1.35)
    for weight, color, style in WEIGHTS:
        for seed in range(SEEDS):
            deviations, rewards = problems.search(weight, UPDATES, seed)
            label = f"{weight:g}" if seed == 0 else None
            kwargs = {"color": color, "linestyle": style, "linewidth": 1.5}
            middle.plot(deviations, label=label, **kwargs)
            right.plot(rewards, label=label, **kwargs)
    middle.set_yscale("log")
    middle.set_yticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
    middle.minorticks_off()
    middle.set_title("standard deviation of actions")
    right.set_title(f"mean reward, {SEEDS} seeds each")
    right.set_ylim(0, 1.05)
    right.legend(title="ppo.entropy", loc="center right", bbox_to_anchor=(1.0, 0.7))
    for axis in (middle, right):
        axis.set_xlabel("update")
    return figure


FIGURES = {f.__name__: f for f in (four_cases, trust, trpo_step, beta, gae, entropy)}


def save(name: str, folder: Path = HERE) -> Path:
    """Draw a figure; return the file."""
    path = folder / f"{name}.png"
    with pyplot.rc_context(STYLE):
        figure = FIGURES[name]()
    figure.savefig(path, dpi=100, metadata={"Software": None})
    pyplot.close(figure)
    return path


if __name__ == "__main__":
    for name in sys.argv[1:] or FIGURES:
        print(save(name))
