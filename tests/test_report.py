"""The report: exact intervals, charts, and a page that needs nothing beside it."""

import itertools
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest

from robot_ppo import cli, config
from robot_ppo.diagnostics.checks.finding import Finding
from robot_ppo.diagnostics.checks.record import Record
from robot_ppo.evaluation import intervals
from robot_ppo.playback import clip
from robot_ppo.playback.record import Summary, Track
from robot_ppo.report import html, motion, report, scores, source, svg
from robot_ppo.report.source import Card, Played, Shown
from robot_ppo.training.provenance import Origin
from robot_ppo_export.contract.command import CommandEntry, CommandSpec
from robot_ppo_export.policy import Policy

GOLDEN = Path(__file__).parent / "golden" / "go2_walk.onnx"


# --- intervals


def test_no_fall_of_45_leaves_the_rule_of_three_and_a_bit():
    """With no success the upper end p solves (1 - p)^n = 0.025, in closed form."""
    found = intervals.probability(0, 45)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 45), abs=1e-9)
    assert intervals.probability(45, 45).low == pytest.approx(0.025 ** (1 / 45), abs=1e-9)


def test_an_interval_of_clopper_and_pearson_covers_exactly():
    """Enumerated: for every true p, the probability of all counts whose interval holds p."""
    n = 12
    found = [intervals.probability(k, n) for k in range(n + 1)]
    for p in np.linspace(0.01, 0.99, 25):
        chances = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
        covered = sum(c for c, i in zip(chances, found, strict=True) if i.low <= p <= i.high)
        assert covered >= 0.95


def test_the_median_of_six_lies_between_the_extremes_and_of_five_nowhere():
    """All six on one side has probability 2 / 64 < 5 %, all five 2 / 32 > 5 %."""
    six = intervals.median(np.arange(6.0))
    assert (six.value, six.low, six.high) == (2.5, 0.0, 5.0)
    assert intervals.median(np.arange(5.0)).low == -math.inf


def test_the_interval_of_a_median_covers_by_enumeration():
    """Every pattern of which of n values lie below the true median has the same probability."""
    n = 11
    found = intervals.median(np.arange(float(n)))
    outside = 0
    for below in itertools.product((0, 1), repeat=n):
        k = sum(below)  # the true median lies between the k-th and the next value
        outside += not found.low < k <= found.high
    assert outside / 2**n <= 0.05
    assert sum(math.comb(n, k) for k in range(3)) * 2 / 2**n > 0.05  # a narrower one would not


def test_paired_trials_see_what_unpaired_ones_do_not():
    rng = np.random.default_rng(1)
    hard = rng.uniform(0, 10, 45)  # how hard a command is
    found = intervals.paired(hard, hard - 0.1)
    assert found.high < 0
    assert found.excludes_zero
    alone = intervals.median(hard - 0.1), intervals.median(hard)
    assert alone[0].high > alone[1].low  # negative control: side by side they overlap


# --- charts


def test_a_thinned_curve_keeps_its_extremes():
    y = np.zeros(10_000)
    y[[1234, 7777]] = 5, -5
    x, thin = svg.thinned(np.arange(10_000), y)
    assert len(x) <= svg.POINTS
    assert {x[thin.argmax()], x[thin.argmin()]} == {1234, 7777}


def test_gaps_are_gaps_and_a_curve_without_a_number_is_left_out():
    x = np.arange(5.0)
    y = np.array([0, 1, np.nan, 3, 4])
    drawn = svg.lines([svg.Line("a", x, y)], "x", "y")
    (path,) = re.findall(r'd="([^"]*)"', drawn)
    assert path.count("M") == 2 and "nan" not in drawn
    assert "nothing was logged" in svg.lines([svg.Line("a", x, x * np.nan)], "x", "y")


def test_ticks_are_round_and_inside():
    for low, high in ((0, 1), (-0.37, 12.9), (1e6, 3e6), (0.0, 1e-4)):
        ticks = svg.nice(low, high)
        assert 2 <= len(ticks) <= 8
        assert all(low <= t <= high for t in ticks)
    assert [svg.short(v) for v in (0, 1.5e6, 2500, 0.25)] == ["0", "1.5M", "2.5k", "0.25"]


def test_a_heat_map_says_who_fell():
    drawn = svg.heat_map(
        np.array([[0.1, 0.2]]), ["0"], ["-1", "1"], top=0.2, marked=np.array([[False, True]])
    )
    assert re.findall(r"<td[^>]*>([^<]*)</td>", drawn) == ["0.10", "fell"]
    assert re.findall(r"--v:([\d.]+)", drawn) == ["0.50", "1.00"]


def test_a_bar_of_the_gait_is_as_long_as_the_foot_was_down():
    time = np.arange(100) * 0.02
    contacts = np.zeros((100, 2), bool)
    contacts[10:60, 0] = True
    drawn = svg.gait(time, contacts, ["FR", "FL"], width=200)
    (width,) = re.findall(r'<rect[^>]*width="([\d.]+)"', drawn)
    inner = 200 - svg.LEFT - svg.RIGHT
    assert float(width) == pytest.approx(50 * 0.02 / time[-1] * inner, abs=0.1)


# --- the page


@pytest.fixture(scope="module")
def contract():
    return Policy(GOLDEN).contract


def a_run(contract, tmp_path, name="go2", worse=0.0, without=()):
    n = 45
    rng = np.random.default_rng(0)
    track = Track(contract.robot.feet)
    for i in range(50):
        track.time.append(i * 0.02)
        track.command.append(np.array([0.5, 0, 0]))
        track.velocity.append(np.array([0.4, 0, 0.1]))
        track.contacts.append(np.arange(4) % 2 == i // 10 % 2)
        track.joint_vel.append(np.full(12, 3.0))
        track.torque.append(np.full(12, 30.0))
    summary = Summary(1.0, 0.1, 0.1, 0.4, 0, None, {})
    errors = rng.uniform(0.05, 0.1, (2, n)) + worse
    commands = np.array(
        list(itertools.product((-0.8, -0.4, 0, 0.4, 0.8), (-0.3, 0, 0.3), (-1, 0, 1)))
    )
    card = Card(
        ["nominal", "pushes"],
        commands,
        {"velocity_error": errors, "falls": np.zeros((2, n))},
        {"velocity_error": "m/s", "falls": ""},
        {"velocity_error": 0.15},
        {"vx": 0.98},
        True,
        6,
    )
    steps = np.arange(30) * 6144.0
    columns = {
        "iteration": np.arange(30.0),
        "steps": steps,
        "seconds": steps / 1e4,
        "return": np.linspace(0, 100, 30),
        "reward_slip": -np.ones(30),
        "kl": np.full(30, 0.02),
    }
    settings = config.load("go2_walk")
    found = [Finding("kl_runaway", "KL was 9", "too large a step", "smaller", ("ppo.x=1",))]
    values = {
        "run": tmp_path / name,
        "config": settings,
        "record": Record(settings, columns),
        "findings": found,
        "verdict": "findings",
        "origin": Origin("2026-11-28 05:00 UTC", "A CPU, 2 CPUs", {"torch": "2"}, "abc"),
        "steps": 184_320,
        "seconds": 80.0,
        "film": b"mp4 bytes",
        "contract": contract,
        "card": card,
        "played": Played(track, summary),
    }
    return Shown(**(values | dict(without)))


class Reader(HTMLParser):
    """Checks that tags are closed in order; collects every address."""

    VOID = ("meta", "br", "path", "line", "rect")

    def __init__(self):
        super().__init__()
        self.open = []
        self.addresses = []
        self.ids = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "action", "xlink:href")]
        self.ids += [v for k, v in attrs if k == "id"]

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_a_page_needs_nothing_beside_it(contract, tmp_path):
    page = report.page([a_run(contract, tmp_path)], ["runs/go2", "-o", "r.html"])
    reader = read(page)
    assert all(a.startswith(("#", "data:video/mp4;base64,")) for a in reader.addresses)
    assert {a[1:] for a in reader.addresses if a[0] == "#"} == set(reader.ids)
    assert not re.search(r"url\(|@import|https?:", page)
    for said in (
        "2026-11-28 05:00 UTC", "abc", "kl_runaway", "--set ppo.x=1", "0 of 45", "0 to 7.87",
        "base_ang_vel", "FR_calf_joint", "robot-ppo train go2_walk", "--steps",
        "robot-ppo report runs/go2 -o r.html", "slip", "prefers-color-scheme",
        "task.events.reset" if "task.events.reset" in page else "events.reset",
    ):  # fmt: skip
        assert said in page, said


def test_a_joint_over_its_limit_is_red(contract, tmp_path):
    page = motion.played([a_run(contract, tmp_path)])
    over = re.findall(r'meter over"><span>([^<]*)', page)
    assert over == [j.name for j in contract.robot.joints if j.torque_limit < 30]


def test_names_are_text_not_html(contract, tmp_path):
    page = report.page([a_run(contract, tmp_path, "<b>&run")], ["<b>&run"])
    assert "<b>&run" not in page and "&lt;b&gt;&amp;run" in page
    read(page)


def test_two_runs_are_compared_trial_by_trial(contract, tmp_path):
    runs = [a_run(contract, tmp_path, "a"), a_run(contract, tmp_path, "b", worse=0.02)]
    said = scores.compared(runs)
    assert "+0.02" in said and 'class="more"' in said and "less in 0 of 45" in said
    assert scores.compared(runs[:1]) == ""
    read(report.page(runs, ["a", "b"]))


def test_runs_tried_on_other_commands_are_not_compared(contract, tmp_path):
    runs = [a_run(contract, tmp_path, "a"), a_run(contract, tmp_path, "b")]
    runs[1].card.commands = runs[1].card.commands * 2
    assert "not comparable" in scores.compared(runs)


def test_what_is_missing_is_left_out(contract, tmp_path):
    nothing = dict.fromkeys(("film", "contract", "card", "played"))
    said = {"findings": [], "verdict": "healthy", "film_error": "no OpenGL"}
    bare = a_run(contract, tmp_path, without=nothing | said)
    page = report.page([bare], [])
    read(page)
    assert "No film: no OpenGL" in page and "Contract" not in page and "<video" not in page


def test_a_card_is_read_only_if_it_is_of_this_checkpoint(contract, tmp_path):
    planned = source.evaluate.plan(contract)
    n = len(planned.commands)
    one = {"velocity_error": [0.1] * n, "falls": [0] * n}
    data = {
        "passed": True, "limits": {}, "gain": {"vx": 1.0}, "commands": planned.commands.tolist(),
        "per_command": {"nominal": one, "pushes": one}, "source": {"steps": 10},
    }  # fmt: skip
    path = tmp_path / "scorecard.json"
    path.write_bytes(msgspec.json.encode(data))
    card = source._read_card(path, 10, planned, full=False)
    assert card.conditions == ["nominal", "pushes"] and card.figures["falls"].shape == (2, n)
    assert source._read_card(path, 11, planned, full=False) is None  # it has learned since
    assert source._read_card(path, 10, planned, full=True) is None  # two of six conditions
    path.write_text("{}")
    assert source._read_card(path, 10, planned, full=False) is None
    assert source._read_card(tmp_path / "none", 10, planned, full=False) is None


def test_what_is_no_twist_is_asked_for_the_middle_of_its_ranges(contract):
    entries = (CommandEntry(name="hip", unit="rad", low=-0.2, high=0.6),)
    command = CommandSpec(kind="joint_pos", entries=entries)
    held = msgspec.structs.replace(contract, command=command)
    assert clip._command(held) == pytest.approx((0.2,))
    assert clip._command(contract) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "-o", "r.html"], "no such run folder"),
        (["nowhere", "-o", "r.pdf"], "must end in .html"),
        (["a", "a", "-o", "r.html"], "named twice"),
        ([*"abcdefg", "-o", "r.html"], "6 at the most"),
    ],
)
def test_bad_input_is_a_sentence(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", *words]) == 2
    assert said in capsys.readouterr().err


def test_cells_show_numbers_as_people_read_them():
    assert [html.cell(v) for v in (1234567, 0.123456, True, None, "a<b")] == [
        "1,234,567", "0.1235", "True", "", "a&lt;b",
    ]  # fmt: skip
