"""Files of before stay valid: policies of contract format 2 and early 3, a log of version 3."""

import gzip

import pytest
from node_helpers import ROOT

from robot_ppo_export.policy import TOLERANCE, Difference, Policy
from robot_ppo_node.app import report
from robot_ppo_node.app.replay import replay
from robot_ppo_node.log import log_file

GOLDEN = ROOT / "tests" / "golden"
POLICY = GOLDEN / "go2_walk_format2.onnx"
WORST = Difference(0.0, "observation", 0, 0)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy(POLICY)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A walk of 9 s, from lying to lying, as the first edition's node recorded it."""
    path = tmp_path_factory.mktemp("old") / "walk.rlog"
    path.write_bytes(gzip.decompress((GOLDEN / "go2_walk_first_edition.rlog.gz").read_bytes()))
    return log_file.load(path)


def test_a_policy_file_of_format_2_passes_its_golden_traces(policy):
    assert policy.check_golden().value <= TOLERANCE
    page = report.describe_page(policy)
    assert "twist, frame body" in page and "gait clock 2 Hz" in page
    assert "no fingerprint" in page and "not stated: `robot-ppo eval` scores a policy" in page
    assert policy.contract.format_version == 2 and "format 2" in report.check_page(policy, WORST)


def test_a_policy_file_without_parameters_of_terms_passes_its_golden_traces():
    early = Policy(GOLDEN / "go2_walk_early_format3.onnx")
    assert early.check_golden().value <= TOLERANCE
    assert early.contract.format_version == 3
    assert not any(term.parameters for term in early.contract.observation)


@pytest.mark.numeric
def test_a_log_of_the_first_edition_replays_bit_for_bit(policy, log):
    rows, meta = log
    assert replay(policy, rows, meta) == len(rows["time"]) == 450
