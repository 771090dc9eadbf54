"""The script of a playback: read from YAML, played in time."""

import pytest

from robot_ppo.playback import script
from robot_ppo.playback.script import ScriptedCommands, Segment, choose, load_script
from robot_ppo_export.errors import InputError


def test_a_script_is_played_from_its_beginning_and_its_last_command_stays():
    script = ScriptedCommands((Segment(0.1, (1, 0, 0)), Segment(0.2, (0, 2, 0))))
    assert script.read(5.0)[0].tolist() == [0, 0, 0]
    script.begin(10.0)
    ticks = [script.read(10.0 + 0.02 * i)[0].tolist() for i in range(20)]
    assert ticks == [[1, 0, 0]] * 5 + [[0, 2, 0]] * 15


def test_the_default_script_lasts_as_long_as_the_default_playback():
    assert sum(s.seconds for s in script.DEFAULT_SCRIPT) == script.SECONDS


def test_a_script_is_read_from_yaml(tmp_path):
    path = tmp_path / "script.yaml"
    path.write_text("- {seconds: 2, command: [0.5, 0, 0]}\n- {seconds: 1, command: [0, 0, 0.7]}\n")
    assert load_script(path) == (Segment(2, (0.5, 0, 0)), Segment(1, (0, 0, 0.7)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {seconds: 2, comand: [0, 0, 0]}", "did you mean 'command'"),
        ("- {seconds: 2, command: [0, 0]}", r"\[0\]"),
        ("- {seconds: -2, command: [0, 0, 0]}", "above 0"),
        ("[]", "empty"),
        ("- [", "not valid YAML"),
    ],
)
def test_a_bad_script_is_said_with_file_and_place(tmp_path, text, message):
    path = tmp_path / "script.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        load_script(path)
    assert str(path) in str(error.value)


def test_what_is_played_and_for_how_long(tmp_path):
    path = tmp_path / "script.yaml"
    path.write_text("- {seconds: 2, command: [0.5, 0, 0]}\n- {seconds: 1, command: [0, 0, 0.7]}\n")
    assert choose(None, None, None) == (script.DEFAULT_SCRIPT, 12.0)
    assert choose(None, path, None)[1] == 3.0
    assert choose(None, path, 7.0) == (load_script(path), 7.0)
    assert choose("0.5,0,0.1", None, 2.0) == ((Segment(2.0, (0.5, 0.0, 0.1)),), 2.0)
    with pytest.raises(InputError, match="exclude each other"):
        choose("0,0,0", path, None)
