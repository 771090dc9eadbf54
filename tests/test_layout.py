"""The observation vector: where each term stands, what happens to it, and its history."""

import copy

import numpy as np
import pytest
from contract_helpers import JOINTS, TERMS, random_inputs, rows_of, same_bits
from hypothesis import given
from hypothesis import strategies as st

from robot_ppo_export.contract import terms
from robot_ppo_export.contract.command import TWIST
from robot_ppo_export.contract.layout import Layout, Observer, TermSpec
from robot_ppo_export.contract.state import BASIC
from robot_ppo_export.errors import InputError


@pytest.fixture
def random():
    return np.random.default_rng(0)


def layout_of(**term) -> Layout:
    return Layout((TermSpec(**term),), JOINTS)


def observe_ticks(layout, ticks, batch=()):
    """Each tick's observation by one observer, from a reset on."""
    observer = Observer(layout, batch)
    return [observer.observe(inputs) for inputs in ticks]


def commands(*values, lead=()):
    """Inputs whose command is (value, value, value)."""
    random = np.random.default_rng(0)
    made = []
    for value in values:
        inputs = random_inputs(random, lead)
        inputs.command = np.full((*lead, 3), value, np.float32)
        made.append(inputs)
    return made


# Where each term stands

MEASURED = sorted(terms.TERMS.functions)
some_terms = st.lists(st.sampled_from(MEASURED), unique=True, min_size=1).flatmap(
    lambda names: st.tuples(
        *(st.builds(TermSpec, name=st.just(n), history=st.integers(1, 4)) for n in names)
    )
)


@given(some_terms, st.integers(1, 20))
def test_terms_stand_in_order_without_gap_or_overlap(specs, joints):
    layout = Layout(specs, joints)
    assert list(layout.slices) == [s.name for s in specs]
    end = 0
    for spec in specs:
        place = layout.slices[spec.name]
        numbers = terms.NUMBERS[spec.name]
        width = {"joints": joints, "actions": joints, "command": 3}.get(numbers.size)
        width = width or len(numbers.named(terms.TERMS.defaults(spec.name)))
        assert (place.start, place.stop) == (end, end + width * spec.history)
        end = place.stop
    assert layout.size == end


@given(some_terms)
def test_the_description_says_the_same_as_the_slices(specs):
    layout = Layout(specs, JOINTS)
    rows = layout.describe()
    for spec, row in zip(specs, rows, strict=True):
        place = layout.slices[spec.name]
        assert (row["name"], row["offset"], row["size"]) == (
            spec.name,
            place.start,
            place.stop - place.start,
        )
        assert (row["scale"], row["clip"], row["history"]) == (spec.scale, spec.clip, spec.history)
        entry = TWIST if spec.name == "command" else terms.NUMBERS[spec.name]
        assert (row["unit"], row["frame"]) == (entry.unit, entry.frame)


def test_each_slice_holds_its_own_term(random):
    plain = tuple(TermSpec(name=name) for name in terms.TERMS.functions)
    for specs in (plain, plain[::-1]):
        layout = Layout(specs, JOINTS)
        inputs = random_inputs(random, (5,))
        (observation,) = observe_ticks(layout, [inputs], (5,))
        for name, place in layout.slices.items():
            assert same_bits(observation[:, place], terms.TERMS.functions[name](inputs))


def test_the_signals_are_those_that_its_terms_read():
    specs = tuple(TermSpec(name=n) for n in ("command", "joint_vel", "projected_gravity"))
    assert Layout(specs, JOINTS).signals == ("base_quat", "joint_vel")
    assert layout_of(name="command").signals == ()


# What happens to a value


@pytest.mark.parametrize("value, expected", [(10.0, 1.0), (-10.0, -1.0), (1.0, 0.5), (0.0, 0.0)])
def test_a_value_is_clipped_in_its_unit_and_then_scaled(value, expected):
    """Scaled first, 10 would come out as 2."""
    layout = layout_of(name="command", scale=0.5, clip=2.0)
    (observation,) = observe_ticks(layout, commands(value))
    assert np.array_equal(observation, np.full(3, expected, np.float32))


def test_without_scale_and_clip_the_bits_of_a_term_pass_through(random):
    inputs = random_inputs(random, (9,))
    (observation,) = observe_ticks(layout_of(name="joint_vel"), [inputs], (9,))
    assert same_bits(observation, inputs.state.joint_vel)


def test_observing_changes_no_input(random):
    layout = Layout(TERMS, JOINTS)
    inputs = random_inputs(random, (4,))
    before = copy.deepcopy(inputs)
    observation = Observer(layout, (4,)).observe(inputs)
    observation[:] = 7  # nor does writing into the observation
    assert same_bits(inputs.command, before.command)
    assert same_bits(inputs.last_action, before.last_action)
    for name in BASIC:
        assert same_bits(getattr(inputs.state, name), getattr(before.state, name))


# History


def test_a_history_is_full_of_the_first_value_after_a_reset_and_then_oldest_first():
    layout = layout_of(name="command", history=3)
    seen = [o.reshape(3, 3)[:, 0].tolist() for o in observe_ticks(layout, commands(1, 2, 3, 4))]
    assert seen == [[1, 1, 1], [1, 1, 2], [1, 2, 3], [2, 3, 4]]


def test_a_reset_forgets():
    layout = layout_of(name="command", history=3)
    observer = Observer(layout, ())
    first, second, third = commands(1, 2, 3)
    observer.observe(first)
    observer.observe(second)
    observer.reset()
    assert observer.observe(third).reshape(3, 3)[:, 0].tolist() == [3, 3, 3]


def test_a_reset_of_some_leaves_the_history_of_the_others():
    layout = layout_of(name="command", history=2)
    observer = Observer(layout, (3,))
    one, two, three = commands(1, 2, 3, lead=(3,))
    observer.observe(one)
    observer.observe(two)
    observer.reset(np.array([1]))
    assert observer.observe(three)[:, ::3].tolist() == [[2, 3], [3, 3], [2, 3]]


def test_a_history_holds_clipped_and_scaled_values():
    layout = layout_of(name="command", history=2, clip=1.0, scale=3.0)
    assert observe_ticks(layout, commands(5, 0.5))[-1][::3].tolist() == [3.0, 1.5]


def test_the_past_is_seen_with_a_history_and_only_then():
    """Negative control: with history 1 two different pasts give the same bits."""
    pasts = commands(1, 9), commands(2, 9)
    for history, differ in ((1, False), (2, True)):
        layout = layout_of(name="command", history=history)
        a, b = (observe_ticks(layout, past)[-1] for past in pasts)
        assert same_bits(a, b) != differ


def test_an_observer_goes_on_from_the_arrays_of_another_bit_for_bit(random):
    layout = Layout(TERMS, JOINTS)
    observer = Observer(layout, (5,))
    other = Observer(layout, (5,))
    ticks = [random_inputs(random, (5,)) for _ in range(6)]
    for inputs in ticks[:3]:
        observer.observe(inputs)
    observer.reset(np.array([2]))
    saved = {name: array.copy() for name, array in observer.arrays().items()}
    expected = [observer.observe(inputs) for inputs in ticks[3:]]
    for name, array in other.arrays().items():
        array[...] = saved[name]
    got = [other.observe(inputs) for inputs in ticks[3:]]
    assert all(same_bits(a, b) for a, b in zip(got, expected, strict=True))
    assert not same_bits(Observer(layout, (5,)).observe(ticks[3]), expected[0])  # it does hold


# One robot and n simulations


@pytest.mark.numeric
@pytest.mark.parametrize("n", [1, 7, 4096])
def test_one_robot_and_n_simulations_give_equal_bits(n, random):
    layout = Layout(TERMS, JOINTS)
    ticks = [random_inputs(random, (n,)) for _ in range(4)]
    many = observe_ticks(layout, ticks, (n,))
    for i in range(0, n, max(1, n // 64)):
        one = observe_ticks(layout, [rows_of(inputs, i) for inputs in ticks])
        assert all(same_bits(a, b[i]) for a, b in zip(one, many, strict=True))


@pytest.mark.numeric
def test_all_of_4096_first_observations_equal_those_of_one_robot(random):
    layout = Layout(TERMS, JOINTS)
    inputs = random_inputs(random, (4096,))
    many = Observer(layout, (4096,)).observe(inputs)
    alone = Observer(layout, ())
    for i in range(4096):
        alone.reset()
        assert same_bits(alone.observe(rows_of(inputs, i)), many[i])


def test_a_subset_is_observed_as_if_all_had_been(random):
    layout = Layout(TERMS, JOINTS)
    n = 8
    chosen = np.array([6, 1, 3])
    whole = Observer(layout, (n,))
    part = Observer(layout, (n,))
    first, second, third = (random_inputs(random, (n,)) for _ in range(3))
    for observer in (whole, part):
        observer.observe(first)
        observer.reset(np.array([3]))
    expected = whole.observe(second)
    assert same_bits(part.observe(rows_of(second, chosen), chosen), expected[chosen])
    # The histories of those that were left out did not move.
    others = np.setdiff1d(np.arange(n), chosen)
    skipped = Observer(layout, (n,))
    skipped.observe(first)
    assert same_bits(part.observe(third)[others], skipped.observe(third)[others])
    assert not same_bits(whole.observe(third)[others], skipped.observe(third)[others])


def test_those_that_were_never_observed_start_with_their_own_first_value():
    observer = Observer(layout_of(name="command", history=2), (3,))
    (one,), (two,) = commands(1, lead=(1,)), commands(2, lead=(3,))
    observer.observe(one, np.array([1]))
    assert observer.observe(two)[:, ::3].tolist() == [[2, 2], [1, 2], [2, 2]]


def test_the_observation_of_one_robot_is_a_vector(random):
    layout = Layout(TERMS, JOINTS)
    (observation,) = observe_ticks(layout, [random_inputs(random)])
    assert observation.shape == (layout.size,)
    assert observation.dtype == np.float32


# What is refused


def test_an_unknown_term_is_named_with_the_nearest_and_all():
    with pytest.raises(InputError) as error:
        layout_of(name="projected_gravitation")
    text = str(error.value)
    assert "unknown term 'projected_gravitation'; did you mean 'projected_gravity'?" in text
    assert all(name in text for name in terms.TERMS.functions)


def test_a_word_that_resembles_nothing_still_gets_the_list():
    with pytest.raises(InputError, match=r"unknown term 'zzz'\. Known: base_ang_vel, command"):
        layout_of(name="zzz")


def test_a_term_listed_twice_is_refused():
    with pytest.raises(InputError, match="term 'command' is listed twice"):
        Layout((TermSpec(name="command"), TermSpec(name="command", history=2)), JOINTS)


@pytest.mark.parametrize("history", [0, -1])
def test_a_history_below_one_is_refused(history):
    with pytest.raises(InputError, match=r"command\.history`: -?\d must be at least 1"):
        layout_of(name="command", history=history)


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan")])
def test_a_clip_that_leaves_nothing_is_refused(clip):
    with pytest.raises(InputError, match=r"command\.clip`: .* must be above 0|nan is not"):
        layout_of(name="command", clip=clip)
