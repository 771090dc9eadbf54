"""Playback: script, summary, video and plot."""

import contextlib
import threading
import time

import av
import msgspec
import node_helpers as helpers
import numpy as np
import pytest

from robot_ppo.playback import film, session, video
from robot_ppo.playback.play import play
from robot_ppo.rendering import picture
from robot_ppo.rendering.camera import FollowCamera
from robot_ppo_export import to_onnx
from robot_ppo_export.errors import InputError

pytestmark = pytest.mark.real_time


def silent(line):
    pass


@pytest.mark.parametrize(
    "options",
    [
        {"command": "1,2"},
        {"command": "0,0,0", "script": "x.yaml"},
        {"seconds": 0.0},
        {"video": "walk.avi"},
        {"plot": "walk.jpg"},
    ],
)
def test_bad_options_are_refused_before_anything_runs(tmp_path, options):
    options = {"plot": tmp_path / "p.png"} | options
    for name in ("video", "plot", "script"):
        if name in options:
            options[name] = tmp_path / options[name]
    with pytest.raises(InputError):
        play(helpers.policy_file(), say=silent, **options)
    assert list(tmp_path.iterdir()) == []


def test_without_a_display_the_sentence_names_the_way_out(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="--video"):
        play(helpers.policy_file(), say=silent)


def test_a_plot_and_a_summary(tmp_path):
    said = []
    plot = tmp_path / "walk.png"
    summary = play(
        helpers.policy_file(), plot=plot, seconds=1.0, command=(0.3, 0, 0), say=said.append
    )
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert summary.seconds == pytest.approx(1.0)
    assert summary.falls == 0
    assert summary.fault is None
    # It stands rather than walks, so what is missing is about what was asked for.
    assert summary.velocity_error == pytest.approx(0.3, abs=0.15)
    assert "0 falls" in said[0]


def test_a_robot_that_leaves_physics_has_fallen_and_what_was_seen_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a MUJOCO_LOG.TXT where it stands
    record = session.Session._record
    said = []

    def breaking(session):
        record(session)
        if len(session.track.time) == 25:
            session.robot.data.qvel[8] = np.nan

    monkeypatch.setattr(session.Session, "_record", breaking)
    plot = tmp_path / "walk.png"
    summary = play(helpers.policy_file(), plot=plot, seconds=1.0, say=said.append)
    assert summary.falls == 1 and summary.seconds == pytest.approx(0.5)
    assert "Ended early: the simulated robot diverged after" in said[0]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_two_playbacks_are_the_same(tmp_path):
    plots = [tmp_path / "a.png", tmp_path / "b.png"]
    one, two = (play(helpers.policy_file(), plot=p, seconds=0.5, say=silent) for p in plots)
    assert one == two
    assert plots[0].read_bytes() == plots[1].read_bytes()


@pytest.fixture
def small(monkeypatch):
    """Little pictures: what is tested does not depend on their size."""
    monkeypatch.setattr(film, "SIZE", (160, 96))


def quick_to_stand(path, seconds):
    """A policy file whose robot stands up in so many seconds: every frame costs 0.1 s here."""
    contract = helpers.contract()
    stand = msgspec.structs.replace(contract.robot.stand, duration=seconds)
    robot = msgspec.structs.replace(contract.robot, stand=stand)
    network = helpers.actor(contract.resolve().size, len(robot.joints))
    changed = msgspec.structs.replace(contract, robot=robot)
    data = to_onnx.build(network.blocks(), changed, helpers.traces(changed, network))
    path.write_bytes(data)
    return path


def skip_without_gl():
    import mujoco

    try:
        picture.Picture(mujoco.MjModel.from_xml_string("<mujoco/>"), 16, 16).close()
    except InputError as reason:
        pytest.skip(str(reason))


def test_a_video_has_a_frame_for_every_other_tick_and_shows_motion(tmp_path, small):
    skip_without_gl()
    policy = quick_to_stand(tmp_path / "policy.onnx", 0.3)
    folder = tmp_path / "videos"
    path = folder / "walk.mp4"
    play(policy, video=path, seconds=0.2, say=silent)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert stream.average_rate == 25
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height, stream.pix_fmt) == (160, 96, "yuv420p")
        frames = [frame.to_ndarray(format="gray") for frame in file.decode(video=0)]
    assert len(frames) == (15 + 1 + 10) // 2  # standing up, ready for one tick, running the policy
    change = np.abs(frames[0].astype(int) - frames[-1])
    assert (change > 40).sum() > 50  # it lay, and now it stands
    assert [p.name for p in folder.iterdir()] == ["walk.mp4"]


def test_a_video_that_breaks_off_leaves_the_old_one(tmp_path):
    path = tmp_path / "walk.mp4"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), video.Video(path, 50, 160, 96) as file:
        file.add(np.zeros((96, 160, 3), np.uint8))
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["walk.mp4"]


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        video.Video(tmp_path / "file" / "walk.mp4", 50, 160, 96)


def test_without_opengl_the_sentence_says_what_to_install(monkeypatch):
    def broken(width, height):
        raise ImportError("Cannot initialize a EGL device display")

    monkeypatch.setattr(picture, "_gl_context", broken)
    import mujoco

    with pytest.raises(InputError, match="libegl1"):
        picture.Picture(mujoco.MjModel.from_xml_string("<mujoco/>"), 16, 16)


def test_the_camera_glides_after_the_robot():
    import mujoco

    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body name='b'><geom size='.1'/></body></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    camera = FollowCamera(model, "b", time_constant=0.5)
    camera.follow(data)
    data.xpos[1, 0], data.time = 1.0, 0.5
    camera.follow(data)
    assert camera.camera.lookat[0] == pytest.approx(1 - np.exp(-1))


def test_a_window_is_shown_in_real_time_and_closing_it_ends_the_playback(monkeypatch):
    import mujoco.viewer

    syncs = []
    closed = threading.Event()

    class Window:
        cam = mujoco.MjvCamera()
        opt = mujoco.MjvOption()
        thread = threading.Thread(target=lambda: closed.wait(10) and time.sleep(0.1), daemon=True)

        def __enter__(self):
            self.thread.start()
            return self

        def __exit__(self, *_):
            closed.set()

        def lock(self):
            return contextlib.nullcontext()

        def sync(self):
            syncs.append(time.monotonic())

        def is_running(self):
            return len(syncs) < 15

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(mujoco.viewer, "launch_passive", lambda *a, **k: Window())
    play(helpers.policy_file(), say=silent)
    assert len(syncs) == 16  # the tick after the window was closed is the last
    assert closed.is_set() and not Window.thread.is_alive()  # else the process would be aborted
    assert syncs[14] - syncs[0] > 13 * 0.02  # a busy computer is slower, never faster
