"""Pictures without a display: the fast one beside the full one, and films by several processes."""

import mujoco
import numpy as np
import pytest

from robot_ppo import project
from robot_ppo.playback import film
from robot_ppo.playback.film import Film, Frame, Job, planes
from robot_ppo.rendering import edges, part, picture
from robot_ppo.rendering.camera import FollowCamera
from robot_ppo.sim.simulated_robot import SimulatedRobot
from robot_ppo_export.errors import InputError

SIZE = (320, 180)


@pytest.fixture(scope="module")
def robot():
    return SimulatedRobot(project.load_robot("go2"), with_visuals=True)


@pytest.fixture(scope="module")
def camera(robot):
    robot.reset("home")
    follow = FollowCamera(robot.model, robot.spec.base.body, qpos=robot.standing_qpos())
    follow.follow(robot.data)
    return follow


def drawn(robot, camera, quality, *text):
    try:
        with picture.of(robot.model, *SIZE, quality) as drawn:
            return drawn.render(robot.data, camera.camera, *text).astype(int)
    except InputError as reason:
        pytest.skip(str(reason))


def test_a_fast_picture_is_the_full_one_with_coarser_edges(robot, camera):
    fast = drawn(robot, camera, "fast")
    full = drawn(robot, camera, "high")
    difference = np.abs(fast - full).max(axis=2)
    assert (difference > 40).mean() < 0.03  # edges and the border of the shadow
    floor = difference[-20:]
    assert floor.max() <= 3  # sun and headlight together stay below what OpenGL cuts
    assert (np.abs(full - full[-1, 0]).max(axis=2) > 60).mean() > 0.05  # there is a robot


def test_a_robot_that_reaches_into_the_haze_has_no_rectangle_around_it(robot):
    """Haze is a few rows high: the camera is turned until the rectangle ends in the midst of it."""
    width, height = 1280, 720
    low = FollowCamera(robot.model, robot.spec.base.body, qpos=robot.standing_qpos())
    low.follow(robot.data)
    try:
        drawer = picture.of(robot.model, width, height)
    except InputError as reason:
        pytest.skip(str(reason))
    with drawer:
        for low.camera.elevation in np.arange(-20.0, 0.0, 0.05):
            drawer.update(robot.data, low.camera)
            rect = part.rectangle(drawer.scene, drawer._points(robot.data), width, height)
            first, last = (
                part.haze_begins(drawer.scene, covered, height) + part.MARGIN
                for covered in (robot.model.vis.map.haze, 0.0)
            )
            if first < rect.bottom + rect.height - 3 < last:
                break
        else:
            raise AssertionError("the rectangle never ends in the haze")
        fast = drawer.render(robot.data, low.camera).astype(int)
    top = height - rect.bottom - rect.height
    edge = fast[top : top + 6, rect.left : rect.left + 4]  # the robot is MARGIN away
    beside = fast[top : top + 6, rect.left - 4 : rect.left]
    assert np.abs(edge.mean(axis=1) - beside.mean(axis=1)).max() < 12


def test_a_robots_rectangle_has_no_seam(robot, camera):
    fast = drawn(robot, camera, "fast")
    with picture.of(robot.model, *SIZE) as drawer:
        drawer.update(robot.data, camera.camera, world_only=True)
        drawer.draw(drawer.rect)
        floor = drawer.read(drawer.rect)[::-1].astype(int)
        drawer.update(robot.data, camera.camera)
        rect = part.rectangle(drawer.scene, drawer._points(robot.data), *SIZE)
    rows = slice(SIZE[1] - rect.bottom - rect.height, SIZE[1] - rect.bottom)
    columns = slice(rect.left, rect.left + rect.width)
    inner = fast[rows, columns]
    outer = floor[rows, columns]
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        assert np.median(np.abs(inner[edge] - outer[edge])) <= 1
    assert np.abs(inner - outer).max() > 60  # negative control: the robot is inside
    assert rect.width * rect.height < 0.4 * SIZE[0] * SIZE[1]


def slope(rise, size=96, fine=16):
    """Light below a line that rises by `rise`: as drawn with one sample, and with many."""
    y, x = np.mgrid[: size * fine, : size * fine] / fine
    lit = (y - size / 2 > (x - size / 2) * rise) * 200.0 + 20
    stairs = lit[fine // 2 :: fine, fine // 2 :: fine]
    true = lit.reshape(size, fine, size, fine).mean(axis=(1, 3))
    return [
        np.repeat(part[:, :, None], 3, axis=2).round().astype(np.uint8) for part in (stairs, true)
    ]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("rise", [0.13, -0.4, 0.8])
def test_a_smoothed_edge_is_nearer_to_one_drawn_with_many_samples(rise, turned):
    stairs, true = (
        np.ascontiguousarray(pixels.transpose(1, 0, 2) if turned else pixels)
        for pixels in slope(rise)
    )
    smooth = stairs.copy()
    edges.smooth(smooth)
    inner = np.s_[16:-16, 16:-16]
    before, after = (
        np.abs(drawn[inner].astype(int) - true[inner]).mean() for drawn in (stairs, smooth)
    )
    assert after < 0.7 * before
    far = np.abs(stairs.astype(int) - true).max(axis=2) == 0
    assert (smooth[far] == stairs[far]).mean() > 0.99  # nothing but the edge changes


def test_what_has_no_edge_stays_and_so_does_a_picture_that_is_too_small():
    x = np.arange(96, dtype=np.uint8)
    gentle = np.repeat(np.add.outer(x, x)[:, :, None], 3, axis=2)
    tiny = np.random.default_rng(0).integers(0, 255, (12, 12, 3), np.uint8)
    for picture_ in (gentle, tiny):
        smooth = picture_.copy()
        edges.smooth(smooth)
        assert (smooth == picture_).all()


def test_text_stays_whole_where_the_robot_is_behind_it(robot, camera):
    text = ("\n".join(["policy"] * 12), "\n".join(["forward, left, turn, and more"] * 12))
    fast = drawn(robot, camera, "fast", *text)
    full = drawn(robot, camera, "high", *text)
    corner = np.abs(fast - full).max(axis=2)[:100, :120]
    assert (corner > 60).mean() < 0.02


def test_a_world_with_more_than_a_floor_is_drawn_whole():
    sun = "<light type='directional' dir='0 0 -1' castshadow='true'/>"
    floor = "<geom type='plane' size='0 0 1'/>"
    text = "<mujoco><worldbody>{}<body><geom size='.1'/></body></worldbody></mujoco>"
    for world, alone in (
        (sun + floor, True),
        (sun + floor + "<geom type='box' size='1 1 .1'/>", False),
        (sun + "<geom type='plane' size='0 0 1' pos='0 0 .1'/>", False),
        (sun + "<geom type='plane' size='0 0 1' euler='10 0 0'/>", False),
        (floor + "<light dir='0 0 -1' castshadow='true'/>", False),
    ):
        model = mujoco.MjModel.from_xml_string(text.format(world))
        assert picture.is_robot_on_floor(model) == alone, world


def test_a_rectangle_holds_what_is_seen_and_all_where_a_point_is_behind(robot, camera):
    scene = mujoco.MjvScene(robot.model, 2000)
    arguments = mujoco.MjvOption(), mujoco.MjvPerturb(), camera.camera
    mujoco.mjv_updateScene(robot.model, robot.data, *arguments, mujoco.mjtCatBit.mjCAT_ALL, scene)
    ahead = camera.camera.lookat[None]
    rect = part.rectangle(scene, ahead, *SIZE)
    assert abs(rect.left + rect.width / 2 - SIZE[0] / 2) <= 1
    assert abs(rect.bottom + rect.height / 2 - SIZE[1] / 2) <= 1
    eye = np.array(scene.camera[0].pos)
    whole = part.rectangle(scene, 2 * eye[None] - ahead, *SIZE)
    assert (whole.left, whole.bottom, whole.width, whole.height) == (0, 0, *SIZE)
    aside = ahead + 1e3 * np.cross(scene.camera[0].forward, scene.camera[0].up)
    assert part.rectangle(scene, aside, *SIZE) is None


def moving(robot, camera, count):
    recorded = Film(robot.model, camera)
    for i in range(count):
        recorded.record(robot.data, "tick", str(i))
    view = camera.camera.azimuth, camera.camera.elevation, camera.camera.distance
    return Job(robot.model, *view, recorded.frames, (64, 48), "fast")


def test_two_processes_draw_what_one_draws_in_order(robot, camera, monkeypatch):
    drawn(robot, camera, "fast")
    monkeypatch.setattr(film, "WORTH_A_PROCESS", 2)
    monkeypatch.setattr(film, "_cores", lambda: 2)
    job = moving(robot, camera, 5)
    one = list(planes(job))
    assert list(film._drawn(job)) == one
    assert len(set(one)) == 5  # each has its text


def test_a_process_that_cannot_draw_says_why(robot, camera, monkeypatch):
    monkeypatch.setattr(film, "WORTH_A_PROCESS", 2)
    monkeypatch.setattr(film, "_cores", lambda: 2)
    monkeypatch.setenv("MUJOCO_GL", "glfw")  # there is no display
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(InputError, match="needs OpenGL"):
        list(film._drawn(moving(robot, camera, 4)))


def test_a_frame_is_a_position_not_a_picture(robot, camera):
    recorded = Film(robot.model, camera)
    recorded.record(robot.data)
    robot.data.qpos[0] += 1
    assert isinstance(recorded.frames[0], Frame)
    assert recorded.frames[0].qpos[0] == robot.data.qpos[0] - 1
    robot.data.qpos[0] -= 1
