"""The page in a real browser: Chromium without a window, driven by its DevTools protocol.

`ARTIFACTS=folder` keeps the screenshots.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from benchmarks.browser import MISSING, Browser, chromium

pytestmark = [pytest.mark.slow, pytest.mark.real_time]

GOLDEN = Path(__file__).parent / "golden" / "go2_walk.onnx"
TEXT = "document.getElementById('{}').textContent"
PATIENCE = 60.0


@pytest.fixture(scope="module")
def browser():
    if not chromium():
        pytest.skip(MISSING)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(Path(folder))
        yield browser
        browser.close()


@pytest.fixture
def run():
    """A function that runs a command which serves a page, and returns the page's address."""
    processes = []

    def start(*words):
        process = subprocess.Popen(
            [sys.executable, "-m", "robot_ppo.cli", *words], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        line = process.stdout.readline()
        assert line.startswith("Open http://"), line
        return line.split()[1]

    yield start
    for process in processes:
        process.terminate()
        process.wait(20)
        process.stdout.close()


@pytest.fixture
def serve(run):
    """A function that serves the shipped policy and returns its address."""
    return lambda *more: run("play", str(GOLDEN), "--web", "0", "--seconds", "300", *more)


@pytest.fixture
def keep():
    folder = Path(os.environ["ARTIFACTS"]) if "ARTIFACTS" in os.environ else None

    def keep(page, name):
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            page.screenshot(folder / f"{name}.png")

    return keep


def click(page, id):
    page.eval(f"document.getElementById('{id}').click()")


def walk(page):
    """Approve twice; return once the policy runs."""
    for what in ("stand up", "run the policy"):
        page.until(f"{TEXT.format('approve')} === 'approve: {what}'", PATIENCE)
        click(page, "approve")
    page.until(f"{TEXT.format('state')} === 'policy'", PATIENCE)


def test_a_robot_is_driven_from_the_page_and_another_browser_only_looks(browser, serve, keep):
    address = serve()
    page = browser.page(address)
    page.until(f"{TEXT.format('role')} === 'you drive'", PATIENCE)
    walk(page)
    page.eval("sliders[0].input.value = 0.6; sliders[0].input.oninput()")
    page.until("past.at(-1).command[0] > 0.55", PATIENCE)
    begin = page.eval("past.at(-1).qpos[0]")
    page.until(f"past.at(-1).qpos[0] > {begin} + 0.5", PATIENCE)
    keep(page, "walking")
    looks = browser.page(address)
    looks.until(f"{TEXT.format('role')} === 'you look, 2 browsers'", PATIENCE)
    assert looks.eval("document.getElementById('stop').disabled")
    looks.eval("socket.send(JSON.stringify({ask: 'damp'}))")  # whatever its buttons say
    click(page, "zero")
    page.until("past.at(-1).command.every((x) => x === 0)", PATIENCE)
    page.until("Math.abs(past.at(-1).measured[0]) < 0.2", PATIENCE)
    assert page.eval(TEXT.format("state")) == "policy"
    looks.until("past.length > 5 && past.at(-1).state === 'policy'", PATIENCE)
    page.close()
    looks.until(f"{TEXT.format('role')} === 'you drive'", PATIENCE)
    click(looks, "stop")
    looks.until("['sit', 'damp', 'passive'].includes(past.at(-1).state)", PATIENCE)
    keep(looks, "stopped")
    assert page.errors == [] and looks.errors == []
    looks.close()


def test_the_robot_is_drawn_and_moves(browser, serve):
    """What mujoco's viewer draws changes, and is more than one colour."""
    page = browser.page(serve())
    page.until(f"{TEXT.format('role')} === 'you drive'", PATIENCE)
    drawn = "document.getElementById('view').contentDocument.querySelector('canvas').width > 100"
    page.until(drawn, PATIENCE)
    with tempfile.TemporaryDirectory() as folder:
        shots = [Path(folder) / name for name in ("lying.png", "standing.png")]
        page.until("past.length > 50", PATIENCE)
        page.screenshot(shots[0])
        walk(page)
        page.screenshot(shots[1])
        sizes = [shot.stat().st_size for shot in shots]
        assert shots[0].read_bytes() != shots[1].read_bytes()
        assert min(sizes) > 40_000  # a grey rectangle beside the panel is 30 kB
    assert page.errors == []
    page.close()


def test_a_robot_that_a_node_elsewhere_drives_is_seen_and_pushed(browser, run, keep):
    address = run("sim", "go2", "--port", "0", "--web", "0")
    page = browser.page(address)
    page.until(f"{TEXT.format('state')} === 'nobody drives it'", PATIENCE)
    assert page.eval("document.getElementById('approve').offsetParent === null")  # not its business
    page.until("past.length > 20", PATIENCE)
    page.eval("document.querySelector('[data-push]').click()")
    page.until("past.some((one) => one.measured[0] > 0.3)", PATIENCE)
    keep(page, "sim")
    assert page.errors == []
    page.close()


def test_on_a_phone_nothing_is_cut_off(browser, serve, keep):
    page = browser.page(serve())
    page.size(390, 800, mobile=True)
    page.until(f"{TEXT.format('role')} === 'you drive'", PATIENCE)
    walk(page)
    wide = "[...document.querySelectorAll('aside *')].filter((e) => e.offsetParent && "
    wide += "e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.id || e.tagName)"
    assert page.eval(wide) == []
    page.eval("document.querySelector('aside').scrollTop = 1e6")
    stop = "document.getElementById('damp').getBoundingClientRect()"
    assert page.eval(f"{stop}.top > innerHeight * 0.3 && {stop}.bottom < innerHeight")
    keep(page, "phone")
    assert page.errors == []
    page.close()


def test_another_policy_takes_over_while_the_robot_walks(browser, run, keep, tmp_path):
    for name in ("first.onnx", "second.onnx"):
        shutil.copy(GOLDEN, tmp_path / name)
    page = browser.page(run("play", str(tmp_path / "first.onnx"), "--web", "0"))
    page.until(f"{TEXT.format('role')} === 'you drive'", PATIENCE)
    walk(page)
    page.eval("sliders[0].input.value = 0.5; sliders[0].input.oninput()")
    page.eval("$('policies').value = 'second.onnx'; $('policies').onchange()")
    page.until("past.at(-1).policy === 'second.onnx'", PATIENCE)
    page.until(f"{TEXT.format('news')}.includes('goes on with second.onnx')", PATIENCE)
    page.until("past.at(-1).measured[0] > 0.3", PATIENCE)
    assert page.eval("past.at(-1).state") == "policy"
    keep(page, "switched")
    page.close()


def test_the_robot_is_put_on_stairs_and_the_page_comes_back(browser, serve, keep):
    page = browser.page(serve())
    page.until(f"{TEXT.format('role')} === 'you drive'", PATIENCE)
    page.eval("$('ground').value = 'stairs_up'; $('level').value = 0.6; $('lay').click()")
    page.until("about.ground.kind === 'stairs_up' && past.length > 5", PATIENCE)
    page.until(f"{TEXT.format('role')} === 'you drive'", PATIENCE)
    walk(page)
    page.eval("sliders[0].input.value = 0.5; sliders[0].input.oninput()")
    page.until("past.at(-1).qpos[0] > 0.3", PATIENCE)
    keep(page, "stairs")
    page.close()


def test_beyond_this_computer_a_token_is_asked_for(browser, serve):
    address = serve("--host", "0.0.0.0")
    bare, _, token = address.partition("?token=")
    assert len(token) > 16
    for wrong in (bare, bare + "?token=guess", bare + "view/", bare + "model"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(wrong, timeout=10)
    page = browser.page(address)
    page.until(f"{TEXT.format('role')} === 'you drive'", PATIENCE)
    assert token not in page.eval("location.href")
    page.close()


def test_a_port_that_is_taken_is_a_sentence(serve):
    port = serve().rstrip("/").rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-m", "robot_ppo.cli", "play", str(GOLDEN), "--web", port],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert f"127.0.0.1:{port} cannot be listened on" in done.stderr
    assert "Traceback" not in done.stderr
