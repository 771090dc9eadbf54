"""Ranges of a task: what their numbers may be is said before anything is simulated."""

import env_helpers as helpers
import pytest

from robot_ppo import config
from robot_ppo.envs.robot.commands import COMMANDS
from robot_ppo.envs.robot.events import INTERVALS, STATES, Events
from robot_ppo.envs.robot.grounds import GROUNDS
from robot_ppo.envs.robot.randomization import WRITES
from robot_ppo_export.contract.strict import SettingError

FACTORS = ("link_mass", "motor_strength", "kp", "kd")
MAY_VANISH = ("joint_damping", "friction_loss", "armature")
DELAYS = ("actuator_delay", "group_delay", "packet_delay", "sensor_delay")
OFFSETS = ("payload", "base_com", "encoder_offset", "imu_bias", "imu_mounting")
MEANS_FACTOR = "it is a factor, and 1 leaves the model as it is"


def events_of(name, *given):
    return Events(helpers.events({name: given}), helpers.robot())


# -- randomizations -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "given", "text"),
    [
        (FACTORS, (-0.1, 0.1), f"-0.1 must be above 0: {MEANS_FACTOR}"),
        (FACTORS, (0.0, 1.1), f"0 must be above 0: {MEANS_FACTOR}"),
        (MAY_VANISH, (-0.1, 0.1), f"-0.1 must be at least 0: {MEANS_FACTOR}"),
        (("friction",), (-0.2, 0.8), "-0.2 must be at least 0: it is a coefficient of friction"),
        (("packet_loss",), (0.0, 5.0), "5 must be at most 1: it is a probability"),
        (("packet_loss",), (-0.1, 0.5), "-0.1 must be at least 0: it is a probability"),
        (DELAYS, (-5.0, 5.0), "-5 must be at least 0: it is a time in milliseconds"),
    ],
)
def test_a_randomization_beyond_its_bounds_is_refused_with_what_the_number_means(
    names, given, text
):
    for name in names:
        with pytest.raises(SettingError) as error:
            events_of(name, *given)
        assert str(error.value) == f"`task.events.reset.{name}.range`: {text}"


def test_every_randomization_says_its_bounds_and_takes_them():
    """Which bounds each has is tested above; what is added may have any sign."""
    bounded = {*FACTORS, *MAY_VANISH, *DELAYS, "friction", "packet_loss"}
    assert bounded | set(OFFSETS) == set(WRITES)
    for name in (*MAY_VANISH, *DELAYS, "friction", "packet_loss"):
        assert events_of(name, 0.0, 1.0).ranges[name] == (0.0, 1.0)
    for name in OFFSETS:
        assert events_of(name, -1.0, 1.0).ranges[name] == (-1.0, 1.0)


@pytest.mark.parametrize("moment", ["start", "reset"])
def test_a_payload_leaves_the_base_a_mass(moment):
    """It is added to what the base has, and a mass is above nothing."""
    base = float(helpers.train_model().body("base_link").mass[0])
    for least, refused in ((-base - 0.001, True), (-base + 0.001, False)):
        given = {"payload": {"range": [least, 3.0]}}
        events = Events(helpers.replace(helpers.events(), **{moment: given}), helpers.robot())
        if not refused:
            events.check_payload(base)
            continue
        task = helpers.quiet(events=helpers.replace(helpers.events(), **{moment: given}))
        with pytest.raises(SettingError, match=f"events.{moment}.payload.range`: .* above -") as e:
            helpers.environment(task, n=1)
        assert f"it is added to the base's {base:g} kg" in str(e.value)


# -- ranges and bounds of the schema --------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("task.map.delay=[0.1, 0.0]", "`task.map.delay`: [0.1, 0.0] is not [low, high]"),
        ("task.map.delay=[-0.04, 0.1]", "`task.map.delay[0]`: -0.04 must be at least 0"),
        ("task.map.freeze=[2.0, 0.5]", "`task.map.freeze`: [2.0, 0.5] is not [low, high]"),
        ("task.map.freeze=[0.0, 0.0]", "`task.map.freeze[0]`: 0.0 must be above 0"),
        ("networks.log_std_range=[1, -2]", "`networks.log_std_range`: [1.0, -2.0] is not [low, hi"),
        ("ppo.kl_target_end=0", "`ppo.kl_target_end`: 0 must be above 0"),
        ("ppo.kl_target_end=-0.01", "`ppo.kl_target_end`: -0.01 must be above 0"),
        ("save_every=-1", "`save_every`: -1 must be at least 0"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(override, text):
    with pytest.raises(SettingError) as error:
        config.load("go2_rough_scan", overrides=[override])
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("table", "name", "given", "text"),
    [
        (INTERVALS, "push", {"interval": [-1, 2], "speed": [0, 1]}, "-1 must be at least 0"),
        (COMMANDS, "joint_pos", {"resample": [-1, 2], "spread": 0.1}, "-1 must be at least 0"),
        (COMMANDS, "joint_pos", {"resample": [2, 1], "spread": 0.1}, "is not [low, high]"),
        (
            STATES,
            "fallen_pose",
            {"fraction": 1, "clearance": [-0.1, 0], "tilt": [0, 3], "joints": 1},
            "-0.1 must be at least 0",
        ),
        (GROUNDS, "blocks", {"share": 1, "width": [0, 1]}, "0 must be above 0"),
        (GROUNDS, "stepping_stones", {"share": 1, "gap": [-0.5, 1]}, "-0.5 must be at least 0"),
    ],
)
def test_times_and_lengths_of_terms_are_not_negative(table, name, given, text):
    with pytest.raises(SettingError) as error:
        table.one("task", name, given, helpers.robot().joint_names)
    assert text in str(error.value)
