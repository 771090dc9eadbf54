"""The robot in a browser, without one: who may connect, one drives, ticks wait for nobody."""

import asyncio
import functools
import json
import platform
import threading
import time
from types import SimpleNamespace

import msgspec
import node_helpers as helpers
import numpy as np
import pytest
from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from robot_ppo import cli, project
from robot_ppo.playback.web import figures, gate, link, slices
from robot_ppo.playback.web.drive import Drive
from robot_ppo.playback.web.figures import TermRanges
from robot_ppo.playback.web.gate import Gate, RefusedRequest
from robot_ppo.playback.web.ground import LEVEL, Ground
from robot_ppo.playback.web.knobs import KNOBS
from robot_ppo.playback.web.library import Library
from robot_ppo.playback.web.link import Link
from robot_ppo.playback.web.panel import IN_FLIGHT, Panel
from robot_ppo.playback.web.steering import PageCommands, Switchable
from robot_ppo.playback.web.watch import Watch, watched
from robot_ppo.sim.server import Place, serve
from robot_ppo.sim.simulated_robot import SimulatedRobot
from robot_ppo_export.contract.contract import distribution
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy

# --- the gate


def head(path="/", host="localhost:8800", **headers):
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return gate.parse("\r\n".join(lines).encode())


def allowed(request, token="", host="127.0.0.1"):
    try:
        gate.check(request, host, 8800, token)
    except RefusedRequest as refused:
        return str(refused)
    return True


def test_this_page_may_connect_and_no_other():
    assert allowed(head()) is True
    assert allowed(head(host="127.0.0.1:8800")) is True
    assert allowed(head(Origin="http://localhost:8800", Upgrade="websocket")) is True
    for origin in ("http://evil.example", "http://localhost:8801", "null", "http://localhost"):
        assert "another origin" in str(allowed(head(Origin=origin, Upgrade="websocket"))), origin
    assert "without an origin" in str(allowed(head(Upgrade="websocket")))


def test_another_name_for_this_computer_is_refused():
    """A page elsewhere may let its own name lead here, and its origin is then that name."""
    request = head(host="evil.example:8800", Origin="http://evil.example:8800")
    assert "not this page's" in str(allowed(request))
    assert "not this page's" in str(allowed(head(host="localhost:9")))


def test_a_token_is_shown_in_the_address_or_in_the_cookie():
    def at(path="/", **headers):
        return allowed(head(path, host="robot:8800", **headers), token="secret", host="0.0.0.0")

    assert at("/?token=secret") is True
    assert at(Cookie="a=b; robot_ppo_token=secret") is True
    for wrong in (at(), at("/?token=Secret"), at("/?token="), at(Cookie="robot_ppo_token=x")):
        assert "token is missing or wrong" in str(wrong)
    assert "another origin" in str(at("/?token=secret", Origin="http://evil.example"))


def test_what_is_no_request_is_refused():
    for raw in (b"hello", b"GET http://x/ HTTP/1.1", b"GET / HTTP/2", b"\xff / HTTP/1.1"):
        with pytest.raises(RefusedRequest):
            gate.parse(raw)
    with pytest.raises(RefusedRequest, match="two headers"):
        gate.parse(b"GET / HTTP/1.1\r\nHost: a\r\nhost: b")


def test_an_answer_is_isolated_once_and_for_this_page_alone():
    raw = (
        b"HTTP/1.1 200 OK\r\nCross-Origin-Embedder-Policy: require-corp\r\n"
        b"Access-Control-Allow-Origin: *\r\nCross-Origin-Embedder-Policy: require-corp\r\n\r\n"
    )
    kept = b"HTTP/1.1 200 OK\r\nCross-Origin-Embedder-Policy: require-corp\r\n\r\n"
    assert gate.outer(raw) == kept


async def asked(port, text):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.format(port=port).replace("\n", "\r\n").encode())
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer.decode()


def test_a_connection_carries_one_request(tmp_path):
    """A second one on the same connection would pass without being asked who it is."""
    served = []

    async def viewer(reader, writer):
        served.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()

    async def story():
        server = await asyncio.start_unix_server(viewer, str(tmp_path / "viewer"))
        door = Gate("127.0.0.1", 0, "", tmp_path / "viewer", tmp_path / "panel")
        await door.open()
        get = "GET {} HTTP/1.1\nHost: localhost:{{port}}\nCookie: robot_ppo_token=x\n\n"
        answers = [
            await asked(door.port, get.format(path))
            for path in ("/", "/page.js", "/view/a.js?b=1", "/model", "/secret", "/panel")
        ]
        answers.append(await asked(door.port, get.format("/").replace("GET", "PUT")))
        door.close()
        server.close()
        return answers

    page, script, view, model, nothing, gone, put = asyncio.run(story())
    assert page.startswith("HTTP/1.1 200") and "<iframe" in page and "Connection: close" in page
    assert "javascript" in script and view.endswith("hi") and model.endswith("hi")
    assert [line.split("\r\n")[0] for line in served] == [
        "GET /a.js?b=1 HTTP/1.1",
        "GET /model HTTP/1.1",
    ]
    assert all("connection: close" in s and "cookie" not in s for s in served)
    assert "404" in nothing and "503" in gone and "405" in put


def test_a_token_leaves_the_address_for_a_cookie(tmp_path):
    async def story():
        door = Gate("127.0.0.1", 0, "secret", tmp_path / "viewer", tmp_path / "panel")
        await door.open()
        right = await asked(door.port, "GET /?token=secret HTTP/1.1\nHost: me\n\n")
        wrong = await asked(door.port, "GET /?token=guess HTTP/1.1\nHost: me\n\n")
        door.close()
        return right, wrong

    right, wrong = asyncio.run(story())
    assert "303" in right and "Location: /\r\n" in right and "HttpOnly; SameSite=Strict" in right
    assert wrong.startswith("HTTP/1.1 401") and "secret" not in wrong


# --- the panel


def panelled(tmp_path, story):
    """Run a story of browsers; return what was asked of the robot."""
    heard = []

    async def run():
        panel = Panel({"robot": "go2"}, heard.append)
        path = tmp_path / "panel"
        await panel.open(path)
        try:
            await asyncio.wait_for(
                story(panel, lambda: unix_connect(str(path), "ws://localhost/panel")), 10
            )
        finally:
            await panel.close()

    asyncio.run(run())
    return heard


async def role(browser):
    while True:
        said = json.loads(await browser.recv())
        if "you" in said:
            return said


def test_one_drives_and_several_look(tmp_path):
    async def story(panel, browser):
        async with browser() as first, browser() as second:
            assert (await role(first))["you"] == "drive"
            assert (await role(second))["you"] == "look"
            await second.send('{"ask": "stop"}')
            await second.send("take")
            await first.send('{"ask": "command", "values": [1]}')
            await role(first), await role(second)
            await first.send("give")
            said = await role(second)
            while said["you"] != "drive":
                said = await role(second)
            assert said["about"] == {"robot": "go2"} and said["browsers"] == 2
            await first.send('{"ask": "damp"}')
            await second.send('{"ask": "pause"}')
            await asyncio.sleep(0.1)

    heard = panelled(tmp_path, story)
    assert heard == [b'{"ask": "command", "values": [1]}', b'{"ask": "pause"}']


def test_who_leaves_makes_room_for_who_looks(tmp_path):
    async def story(panel, browser):
        first = await browser()
        second = await browser()
        await role(second)
        await first.close()
        said = await role(second)
        while said["you"] != "drive":
            said = await role(second)
        await second.close()

    panelled(tmp_path, story)


def test_figures_that_a_slow_browser_cannot_take_are_dropped_not_kept(tmp_path):
    async def story(panel, browser):
        async with browser() as slow:
            await role(slow)
            for i in range(50):
                panel.publish(b'{"n": %d}' % i)
                await asyncio.sleep(0.002)
            got = [json.loads(await slow.recv())["n"] for _ in range(IN_FLIGHT)]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(slow.recv(), 0.1)
            await slow.send("ok")
            newest = json.loads(await slow.recv())["n"]
            assert got[0] < 5 and newest == 49

    panelled(tmp_path, story)


def test_a_request_of_any_size_is_not_taken(tmp_path):
    async def story(panel, browser):
        async with browser() as greedy:
            await greedy.send("x" * 100_000)
            with pytest.raises(ConnectionClosed):
                while True:
                    await greedy.recv()

    assert panelled(tmp_path, story) == []


# --- the link


def test_nobody_waits_for_a_link_that_is_full_or_gone():
    ours, theirs = (Link(end) for end in link.pair())
    begin = time.monotonic()
    for _ in range(2000):
        ours.send(b"x" * 2000)
    assert time.monotonic() - begin < 1.0
    assert ours.dropped > 0
    assert len(theirs.receive()) == 2000 - ours.dropped
    theirs.close()
    ours.send(b"x")
    assert not ours.open or ours.receive() == []
    assert not ours.open
    ours.close()


# --- the drive


class Page:
    """The other end of a drive's link: what a browser would ask, and what it would see."""

    def __init__(self, policy, library=None):
        ours, theirs = link.pair()
        self.link = Link(theirs)
        self.drive = Drive(policy, Link(ours), library or Shelf())
        self.now = {}
        self.news = []
        self.thread = threading.Thread(target=self.drive.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.link.close()
        self.thread.join(10)
        self.drive._link.close()
        assert not self.thread.is_alive()

    def ask(self, what, **more):
        self.link.send(msgspec.json.encode({"ask": what, **more}))

    def see(self):
        for message in self.link.receive():
            self.now = json.loads(message)
            self.news += self.now["news"]
        return self.now

    def until(self, condition, seconds=20, command=None):
        ends = time.monotonic() + seconds
        while not (self.see() and condition(self.now)):
            assert time.monotonic() < ends, self.now
            if command is not None:
                self.ask("command", values=command)
            time.sleep(0.02)
        return self.now


class Shelf:
    """A library of one policy."""

    current = "one.onnx"

    def names(self):
        return [self.current]

    def ready(self):
        return None


@pytest.mark.real_time
def test_a_page_approves_drives_pushes_pauses_and_stops():
    with Page(Policy(helpers.policy_file())) as page:
        page.until(lambda now: now["waits"] == "stand up")
        page.ask("approve")
        page.until(lambda now: now["waits"] == "run the policy")
        page.ask("approve")
        page.until(lambda now: now["state"] == "policy")
        page.until(lambda now: now["command"] == [0.5, 0, 0], command=[0.5, 0, 0])
        page.until(lambda now: now["command"] == [0, 0, 0])  # the page was silent for half a second
        page.ask("pause")
        page.until(lambda now: now["paused"])
        time.sleep(0.1)
        still = page.see()["time"]
        page.ask("tick")
        page.until(lambda now: now["time"] > still)
        assert page.now["time"] == pytest.approx(still + 0.02)
        page.ask("pause")
        page.until(lambda now: not now["paused"])
        page.ask("push", values=[0.5, 0])
        page.ask("stop")
        page.until(lambda now: now["state"] in ("sit", "damp"))
        page.ask("reset")
        page.until(lambda now: now["time"] < 1 and now["state"] == "preflight")
        assert page.now["late"][2] > 100


@pytest.mark.real_time
def test_knobs_change_the_robot_within_their_range():
    with Page(Policy(helpers.policy_file())) as page:
        page.until(lambda now: now)
        before = float(page.drive.robot.model.body_subtreemass[1])
        for name, value in (("friction", 0.3), ("payload", 3.0), ("delay", 20.0), ("strength", 9)):
            page.ask("set", name=name, values=[value])
        top = KNOBS["strength"][1]
        wanted = {"friction": 0.3, "payload": 3.0, "delay": 20.0, "strength": top}
        page.until(lambda now: now["knobs"] == wanted)
        robot = page.drive.robot
        assert robot.model.body_subtreemass[1] == pytest.approx(before + 3)
        assert robot.motors.strength[0, 0] == top
        for bad in ({"ask": "fly"}, {"ask": "set", "name": "friction", "values": []}, {"x": 1}):
            page.link.send(msgspec.json.encode(bad))
        page.link.send(b"\xff")
        page.until(lambda now: sum("not understood" in line for line in page.news) == 4)


@pytest.mark.real_time
def test_the_robot_is_put_on_other_ground_and_stays_as_it_was_changed():
    with Page(Policy(helpers.policy_file())) as page:
        page.until(lambda now: now)
        page.ask("set", name="friction", values=[0.3])
        page.until(lambda now: now["knobs"]["friction"] == 0.3)
        page.ask("ground", name="moon", values=[0.5])
        page.until(lambda _: "not understood: 'moon'" in page.news)
        page.ask("ground", name="stairs_up", values=[0.5])
        page.thread.join(20)
        assert not page.thread.is_alive()
        other = page.drive.on_other_ground(page.drive._link)
        assert other.ground == Ground("stairs_up", 0.5)
        height = other.robot.ground.height
        assert float(height(4.0, 0.0) - height(0.0, 0.0)) > 0.2
        assert other.robot.time == 0 and other.figures()
        assert other._knobs.values()["friction"] == 0.3
        about = other.ground.about()["ground"]
        assert about["kinds"][0] == LEVEL and "stairs_up" in about["kinds"]


def test_a_push_is_along_the_heading():
    robot = SimulatedRobot(project.load_robot("go2"))
    robot.data.qpos[3:7] = np.cos(np.pi / 4), 0, 0, np.sin(np.pi / 4)  # it faces world y
    robot.data.qvel[:] = 0
    robot.push(np.array([1.0, 0.0]))
    assert robot.data.qvel[:3] == pytest.approx([0, 1, 0])


def test_a_command_of_another_size_or_of_no_number_is_none():
    commands = PageCommands(3)
    commands.hear([0.5, 0, 0])
    for wrong in ([1.0], [float("nan"), 0, 0]):
        commands.hear(wrong)
    assert commands.read(0.0)[0].tolist() == [0.5, 0, 0]


# --- a robot that a node elsewhere drives


def test_a_watched_robot_is_shown_pushed_and_changed_but_not_commanded():
    robot = SimulatedRobot(project.load_robot("go2"), with_visuals=True)
    ours, theirs = link.pair()
    page = Link(theirs)
    watch = Watch(robot, Link(ours))

    def step():
        robot.advance(0.02)
        watch.show(0.003, driven=True)
        return json.loads(page.receive()[-1])

    now = step()
    assert (now["state"], now["time"], now["late"][1:]) == ("driven", 0.02, [1, 1])
    assert now["qpos"] == pytest.approx(robot.data.qpos, abs=1e-5)
    assert len(now["torque"]) == len(now["target"]) == 12
    before = robot.velocity_b()[0]
    for request in (
        {"ask": "push", "values": [1.0, 0]},
        {"ask": "set", "name": "friction", "values": [0.2]},
        {"ask": "approve"},
    ):
        page.send(msgspec.json.encode(request))
    now = step()
    assert now["knobs"]["friction"] == 0.2
    assert now["news"] == ["not understood: 'approve'"]
    assert robot.velocity_b()[0] > before + 0.9  # pushed after the step, before the figures
    robot.advance(0.002)
    watch.show(0.0, driven=True)
    assert page.receive() == []  # every 20 ms is enough to see
    page.close()
    watch._link.close()


@pytest.mark.real_time
def test_a_simulated_robot_has_a_page(tmp_path):
    """Whoever serves it, the gate and the panel are the same."""
    said = []
    stop = threading.Event()
    watch = functools.partial(watched, host="127.0.0.1", port=0, say=said.append)
    server = threading.Thread(
        target=serve,
        args=("go2", Place(port=0), 60.0),
        kwargs={"say": said.append, "stop": stop, "watch": watch},
    )
    server.start()
    try:
        ends = time.monotonic() + 60
        while len(said) < 2 and time.monotonic() < ends:
            time.sleep(0.05)
        address = said[0].split()[1].rstrip("/")
        with connect(address.replace("http", "ws") + "/panel", origin=address) as panel:
            role = json.loads(panel.recv(20))
            assert (role["you"], role["about"]["kind"]) == ("drive", "watch")
            now = json.loads(panel.recv(20))
            while "qpos" not in now:
                now = json.loads(panel.recv(20))
        assert now["state"] == "nobody drives it"
    finally:
        stop.set()
        server.join(20)
    assert said[-1].startswith("Simulated ")


# --- the observation beside its training


def test_an_entry_is_placed_between_its_training_quantiles():
    policy = Policy(helpers.policy_file())
    ranges = TermRanges(policy.contract)
    assert ranges.quantiles == (policy.contract.distribution is not None)
    assert ranges.of(policy) == {}  # it has not run
    size = len(policy.contract.normalizer.mean)
    low, high = np.full(size, -2.0), np.full(size, 4.0)
    seen = np.stack([low, high, *np.linspace(low, high, 2000)])
    given = msgspec.structs.replace(policy.contract, distribution=distribution(seen))
    shown = SimpleNamespace(ticks=1, observation=np.full(size, 1.0, np.float32))
    places = TermRanges(given).of(shown)
    assert list(places) == [e["name"] for e in policy.contract.layout]
    assert np.concatenate(list(places.values())) == pytest.approx(np.zeros(size), abs=0.01)
    for value, place in ((4.0, 1.0), (-2.0, -1.0), (7.0, 2.0), (1e9, figures.FAR)):
        shown.observation[:] = value
        assert TermRanges(given).of(shown)["command"][0] == pytest.approx(place, abs=0.02)


# --- policies to switch to


def test_a_policy_beside_the_first_is_taken_up_and_a_broken_one_is_told(tmp_path):
    data = helpers.policy_file().read_bytes()
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "c.onnx").write_bytes(b"nothing")
    library = Library(tmp_path / "a.onnx")
    first = Switchable(library.first())
    assert library.names() == ["a.onnx", "b.onnx", "c.onnx"]
    for name, kind in (("b.onnx", Policy), ("c.onnx", Exception)):
        library.want(name)
        library._thread.join(20)
        loaded = library.ready()
        assert isinstance(loaded, kind)
        assert library.current == "b.onnx"
    assert library.ready() is None
    library.want("../a.onnx")  # nothing that is not on the list
    assert library.ready() is None
    assert first.fits(Policy(tmp_path / "b.onnx"))
    assert first.sha256 == first.now.sha256
    library.close()


def test_following_a_run_is_to_take_each_checkpoint_once(tmp_path, monkeypatch):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "000000000100.pt").touch()
    policy = Policy(helpers.policy_file())
    loads = []
    monkeypatch.setattr(Library, "_load", lambda _, name, **__: loads.append(name) or policy)
    monkeypatch.setattr("robot_ppo.playback.web.library.LOOK", 0.0)
    for follow, wanted in ((True, ["100", "300"]), (False, ["100"])):
        library = Library(tmp_path / "run", follow)
        library.first()
        library.names()
        assert library.ready() is None
        (folder / "000000000300.pt").touch()
        for _ in range(3):
            assert library.names() == ["000000000100.pt", "000000000300.pt"]
            if library._thread:
                library._thread.join(20)
            library.ready()
        assert loads == [f"000000000{steps}.pt" for steps in wanted]
        assert library.current == loads[-1]
        library.close()
        loads.clear()
        (folder / "000000000300.pt").unlink()


def test_a_training_that_is_followed_rests_after_each_export(tmp_path, monkeypatch):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "000000000100.pt").touch()
    clock = [0.0]
    loads = []

    def load(_, name, urgent=False):
        loads.append((name, urgent))
        clock[0] += 5.0
        return Policy(helpers.policy_file())

    monkeypatch.setattr(Library, "_load", load)
    monkeypatch.setattr("robot_ppo.playback.web.library.time.monotonic", lambda: clock[0])
    library = Library(tmp_path / "run", follow=True)
    library.first()
    at = []
    for second in range(10, 80):
        clock[0] = max(clock[0], float(second))
        (folder / f"{100 + second:012}.pt").touch()
        before = len(loads)
        library.names()
        if library._thread:
            library._thread.join(20)
        library.ready()
        if len(loads) > before:
            at.append(second)
    library.close()
    assert not any(urgent for _, urgent in loads)  # the training goes first
    assert at == [10, 35, 60]  # five seconds of work, twenty of rest
    alone = Library(tmp_path / "run")
    alone.first()
    alone.close()
    assert loads[-1][1]  # somebody waits for it, and nothing else does


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.onnx", "--web", "0"], "no such run folder or policy file"),
        (["nowhere.onnx", "--web", "0", "--follow"], "--follow"),
        (["nowhere.onnx", "--web", "0", "--video", "a.mp4"], "exclude each other"),
    ],
)
def test_bad_input_is_a_sentence(words, said, capsys):
    assert cli.main(["play", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_run_without_a_checkpoint_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="no checkpoint yet"):
        Library(tmp_path).first()


# --- beside a browser that draws


def test_a_thread_gets_the_slice_that_it_asks_for_where_linux_has_them():
    told = {}

    def ask():
        told["had"] = slices.current()
        told["has"] = slices.shorten()
        told["now"] = slices.current()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    version = tuple(int(part) for part in platform.release().split(".")[:2])
    if platform.machine() in slices.CALLS and version >= (6, 12):
        assert told["has"] and told["now"] == slices.SLICE_NS < told["had"]
    assert slices.current() == told["had"] or not told["has"]  # of that thread alone


def test_a_computer_without_the_call_changes_nothing(monkeypatch):
    monkeypatch.setattr(slices.platform, "machine", lambda: "riscv64")
    assert not slices.shorten() and slices.current() == 0
