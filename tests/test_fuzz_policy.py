"""Mutated policy files: none loads, and none is answered otherwise than by a refusal.

The short form mutates 200 files, the slow one 10,000. A mutation that changed nothing, or nothing
that the network or the contract would notice, is not counted (policy_mutations.py).
"""

import random
from collections import Counter

import pytest
from contract_helpers import policy_bytes
from fuzz_helpers import mutate
from node_helpers import ROOT
from policy_mutations import Mutator

from robot_ppo_export import checksum
from robot_ppo_export.errors import RefusedError
from robot_ppo_export.policy import Policy

MARK = checksum.KEY.encode() + b"\x12\x40"
SHIPPED = ROOT / "tests" / "golden" / "go2_walk.onnx"
FORMAT_2 = SHIPPED.with_name("go2_walk_format2.onnx")
COUNTS = [200, pytest.param(10_000, marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=["shipped", "format 2", "format 3"])
def mutator(request):
    data = {
        "shipped": SHIPPED.read_bytes,
        "format 2": FORMAT_2.read_bytes,
        "format 3": policy_bytes,
    }
    return Mutator(data[request.param]())


@pytest.fixture
def opens(tmp_path):
    """A function: whether the node would take these bytes for a policy."""
    path = tmp_path / "policy.onnx"

    def opens(data: bytes) -> bool:
        path.write_bytes(data)
        try:
            Policy(path).check_golden()
        except RefusedError:
            return False
        return True

    return opens


@pytest.mark.parametrize("count", COUNTS)
def test_no_mutated_policy_file_loads(count, mutator, opens):
    rng = random.Random(7)
    tried = Counter()
    loaded = []
    for i in range(count):
        kind, data = mutator.mutation(rng)
        assert data != mutator.data
        tried[kind] += 1
        if opens(data):
            loaded.append((i, kind))
    print(f"{count} mutated policy files, {len(loaded)} loaded: {dict(sorted(tried.items()))}")
    assert loaded == []
    assert tried.keys() == mutator.kinds.keys()
    assert min(tried.values()) >= count / 100  # each of the twelve ways counts


@pytest.mark.parametrize("count", COUNTS)
def test_bytes_that_were_changed_blindly_and_sealed_again_are_refused_or_a_whole_file(count, opens):
    """Behind the seal, too, nothing but a refusal comes of damage: no other error, no crash."""
    rng = random.Random(8)
    data = SHIPPED.read_bytes()
    opened = 0
    tried = 0
    while tried < count:
        blank = blanked(mutate(data, rng))
        if blank is not None:
            tried += 1
            opened += opens(checksum.insert(blank))
    print(f"{tried} blind changes sealed again: {opened} are whole files with another text or gain")
    assert opened < 0.1 * tried


def blanked(data: bytes) -> bytes | None:
    """The bytes without their digest, or None where there is no place for one."""
    start = data.find(MARK)
    if start < 0 or data.find(MARK, start + 1) >= 0 or start + len(MARK) + 64 > len(data):
        return None
    start += len(MARK)
    return data[:start] + checksum.BLANK.encode() + data[start + 64 :]


def test_what_is_not_mutated_loads(mutator, opens):
    """Negative control: it is the mutation that is refused, not the sealing again."""
    assert opens(mutator.data)
    assert mutator.with_contract(mutator.contract) == mutator.data
    assert mutator.with_arrays(mutator.arrays()) == mutator.data


def test_another_consistent_file_loads(mutator, opens):
    """A seal is no signature: who writes other gains and seals the file has made another policy."""
    data = mutator.contract | {"robot": {**mutator.contract["robot"]}}
    data["robot"]["joints"] = [{**joint, "kp": 36.0} for joint in data["robot"]["joints"]]
    assert opens(mutator.with_contract(data))
