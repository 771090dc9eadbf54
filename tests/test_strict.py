"""YAML into structures: an error names the file, the path of the key and the nearest right name."""

from typing import Literal

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from node_helpers import ROOT

from robot_ppo_export.contract import strict
from robot_ppo_export.errors import InputError


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Leaf(Struct):
    weight: float = 0.0
    colour: Literal["red", "green"] | None = None


class Branch(Struct):
    leaf: Leaf = Leaf()
    leaves: tuple[Leaf, ...] = ()
    by_name: dict[str, Leaf] = {}
    maybe: Leaf | None = None
    numbers: dict[str, dict[str, float]] = {}
    rows: tuple[dict[str, Leaf], ...] = ()


class Tree(Struct):
    branch: Branch = Branch()
    height: int = 0
    pair: tuple[float, float] = (0.0, 0.0)


class Needy(Struct):
    tree: "Inner"


class Inner(Struct):
    needed: int


def error_of(kind, text, tmp_path):
    path = tmp_path / "tree.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        strict.load_yaml(kind, path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_what_is_right_loads(tmp_path):
    path = tmp_path / "tree.yaml"
    path.write_text("branch: {leaf: {weight: 1.5, colour: red}, leaves: [{}, {weight: 2}]}\n")
    tree = strict.load_yaml(Tree, path)
    assert tree.branch.leaf == Leaf(weight=1.5, colour="red")
    assert tree.branch.leaves == (Leaf(), Leaf(weight=2.0))


@pytest.mark.parametrize(
    "text, path",
    [
        ("heigth: 3", "heigth"),
        ("branch: {laef: {}}", "branch.laef"),
        ("branch: {leaf: {wieght: 3}}", "branch.leaf.wieght"),
        ("branch: {leaves: [{}, {wieght: 3}]}", "branch.leaves[1].wieght"),
        ("branch: {by_name: {elm: {}, oak: {wieght: 3}}}", "branch.by_name.oak.wieght"),
        ("branch: {by_name: {weight: {wieght: 3}}}", "branch.by_name.weight.wieght"),
        ("branch: {maybe: {wieght: 3}}", "branch.maybe.wieght"),
    ],
)
def test_an_unknown_key_at_any_depth_is_named_with_the_nearest(text, path, tmp_path):
    message = error_of(Tree, text, tmp_path)
    right = {"heigth": "height", "laef": "leaf", "wieght": "weight"}[path.split(".")[-1]]
    assert message.startswith(f"unknown key `{path}`; did you mean '{right}'? Known: ")


def test_an_unknown_key_that_resembles_nothing_gets_the_list(tmp_path):
    message = error_of(Tree, "zzz: 1", tmp_path)
    assert message == "unknown key `zzz`. Known: branch, height, pair"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("height: tall", "`height`: Expected `int`, got `str`"),
        ("height: 1.5", "`height`: Expected `int`, got `float`"),
        ("height: true", "`height`: Expected `int`, got `bool`"),
        ("branch: 3", "`branch`: Expected `object`, got `int`"),
        ("branch: {leaf: {weight: heavy}}", "`branch.leaf.weight`: Expected `float`, got `str`"),
        ("branch: {leaves: [{weight: []}]}", "`branch.leaves[0].weight`: Expected `float`, got"),
        (
            "branch: {numbers: {a: {b: 1}, c: {d: 1, e: x}}}",
            "`branch.numbers.c.e`: Expected `float`",
        ),
        ("branch: {rows: [{}, {a: {colour: x}}]}", "`branch.rows[1].a.colour`: Invalid enum value"),
        ("branch: {by_name: {1: {}}}", "`branch.by_name`: its key: Expected `str`, got `int`"),
        ("pair: [1.0]", "`pair`: Expected `array` of length 2, got 1"),
        ("pair: 1.0", "`pair`: Expected `array`, got `float`"),
        ("- 1", "Expected `object`, got `array`"),
        ("", "Expected `object`, got `null`"),
    ],
)
def test_a_wrong_type_is_named_with_its_path(text, expected, tmp_path):
    assert error_of(Tree, text, tmp_path).startswith(expected)


def test_a_wrong_choice_is_named_with_the_nearest_and_all(tmp_path):
    message = error_of(Tree, "branch: {leaf: {colour: gren}}", tmp_path)
    assert message == (
        "`branch.leaf.colour`: Invalid enum value 'gren'; did you mean 'green'? Known: green, red"
    )


@pytest.mark.parametrize(
    "text, expected",
    [
        ("{}", "Object missing required field `tree`"),
        ("tree: {}", "`tree`: Object missing required field `needed`"),
    ],
)
def test_a_missing_key_is_named(text, expected, tmp_path):
    assert error_of(Needy, text, tmp_path) == expected


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "a:\n\t- b", "{", "'", "@"])
def test_malformed_yaml_is_one_sentence_with_the_line(text, tmp_path):
    message = error_of(Tree, text, tmp_path)
    assert message.startswith("is not valid YAML (")
    assert "line " in message


@given(st.text(max_size=40))
def test_no_text_gives_anything_but_data_or_an_input_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        assert isinstance(strict.load_yaml(Tree, path), Tree)
    except InputError as error:
        assert str(error).startswith(f"{path}: ")


@pytest.mark.parametrize("text", ["2020-13-45", "0b_", "!!bool x", "!!timestamp x", "[" * 1100])
def test_what_pyyaml_itself_trips_over_is_malformed_yaml(text, tmp_path):
    assert error_of(Tree, f"height: {text}", tmp_path).startswith("is not valid YAML (")


def test_a_key_given_twice_is_refused(tmp_path):
    """YAML itself keeps the last and says nothing."""
    message = error_of(Tree, "branch:\n  leaf:\n    weight: 1\n    weight: 2\n", tmp_path)
    assert "the key 'weight' is given twice" in message
    assert "line 4" in message


def test_the_same_key_in_two_places_is_fine(tmp_path):
    path = tmp_path / "tree.yaml"
    path.write_text("branch: {leaf: {weight: 1}, maybe: {weight: 2}}")
    assert strict.load_yaml(Tree, path).branch.maybe == Leaf(weight=2.0)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read \(.*No such file"):
        strict.read_yaml(tmp_path / "none.yaml")
    with pytest.raises(InputError, match=r"cannot be read \(.*[Dd]irectory"):
        strict.read_yaml(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"binary\.yaml: cannot be read \('utf-8' codec"):
        strict.read_yaml(tmp_path / "binary.yaml")


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.0e-3", "+1e-3", ".001", "10.e-4"])
def test_a_power_of_ten_is_a_number_with_or_without_a_point(text):
    """PyYAML's own rule takes 1e-3 for a word."""
    assert strict.parse_yaml(f"weight: {text}") == {"weight": 1e-3}


@pytest.mark.parametrize("text", ["e3", "1e", "1e3x", "0x1e3x", "go2e1", "1e-3 m"])
def test_a_word_stays_a_word(text):
    assert strict.parse_yaml(f"name: {text}") == {"name": text}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_that_python_writes_is_read_back(value):
    assert strict.parse_yaml(repr(value)) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    "data, path",
    [
        (lambda v: v, ""),
        (lambda v: {"a": v}, "a"),
        (lambda v: {"a": [1.0, {"b": v}]}, "a[1].b"),
        (lambda v: [(0.0, v)], "[0][1]"),
    ],
)
def test_a_number_that_is_not_finite_is_named_with_its_path(value, data, path):
    with pytest.raises(InputError) as error:
        strict.check_finite(data(value), "file")
    where = f"`{path}`: " if path else ""
    assert str(error.value) == f"file: {where}{value} is not a finite number"


def test_finite_data_of_every_kind_pass():
    strict.check_finite({"a": [1, 2.0, "nan", None, True, {"b": (1e308,)}]}, "file")


def test_the_hint_is_left_out_where_nothing_is_near():
    assert strict.did_you_mean("clok", ["gait_clock", "clock"]).startswith(
        "; did you mean 'clock'?"
    )
    assert strict.did_you_mean("zzz", ["b", "a"]) == ". Known: a, b"


SHIPPED = [*ROOT.glob("robots/*/robot.yaml"), *ROOT.glob("configs/*/*.yaml")]
FASTER = pytest.mark.skipif(not hasattr(yaml, "CSafeLoader"), reason="PyYAML without libyaml")


@FASTER
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_both_loaders_read_the_same(path):
    text = path.read_text()
    assert yaml.load(text, strict._loader(True)) == yaml.load(text, strict._loader(False))


@FASTER
@settings(max_examples=200)
@given(st.text("[]{},:-?#&*|>'\"%@ \n\tab01.e~<", max_size=40))
def test_both_loaders_agree_about_any_text(text):
    """Without tags, which no file of ours has: a lone `!` is null to one and "" to the other."""
    read = []
    for fast in (True, False):
        try:
            read.append(repr(yaml.load(text, strict._loader(fast))))
        except Exception:
            read.append(None)
    assert read[0] is None or read[1] is None or read[0] == read[1]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_what_is_nested_too_deeply_is_malformed_and_ends_no_process(opening):
    with pytest.raises(yaml.YAMLError):
        strict.parse_yaml(opening * 100_000)
