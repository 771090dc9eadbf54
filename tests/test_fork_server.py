"""A command that is forked from its imports is what `python -m` and `python -c` would be."""

import os
import signal
import subprocess
import sys

import pytest
from fork_server import ForkServer, node, workstation

TELL = """
import os, sys
print(__name__, sys.argv[1:], os.getcwd(), os.environ.get("WORD"), "json.tool" in sys.modules)
print(sys.stdin.read(), file=sys.stderr)
sys.exit(len(sys.argv))
"""
server = ForkServer("json.tool")


@pytest.fixture(params=["forked", "plain"])
def begin(request, tmp_path):
    """Starts a command with pipes, by either way."""

    def start(*words, **more):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        if request.param == "forked":
            return server.start(*words, cwd=tmp_path, **pipes | more)
        return subprocess.Popen([sys.executable, *words], cwd=tmp_path, text=True, **pipes | more)

    start.forked = request.param == "forked"
    return start


def test_words_folder_environment_files_and_end_are_its_own(begin, tmp_path):
    process = begin("-c", TELL, "a", "b", env=os.environ | {"WORD": "w"})
    process.stdin.write("heard")
    process.stdin.close()
    process.stdin = None
    said, complained = process.communicate(timeout=60)
    assert said == f"__main__ ['a', 'b'] {tmp_path} w {begin.forked}\n"
    assert complained == "heard\n"
    assert process.returncode == 3


def test_a_module_is_run_by_name_from_its_folder(begin, tmp_path):
    (tmp_path / "mine.py").write_text("import sys; print(__name__, sys.argv)")
    process = begin("-m", "mine", "x")
    assert process.communicate(timeout=60)[0].startswith("__main__ ['")
    assert process.returncode == 0
    (tmp_path / "mine.py").write_text("raise ValueError('a mistake')")
    process = begin("-m", "mine")
    assert process.communicate(timeout=60)[1].endswith("ValueError: a mistake\n")
    assert process.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it_as_it_ends_a_python(begin, number):
    process = begin("-c", "print('there', flush=True); import time; time.sleep(60)")
    assert process.stdout.readline() == "there\n" and process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(number)
    assert process.wait(60) == -number
    process.kill()  # of one that has ended: nothing


def test_two_run_side_by_side_and_hold_nothing_of_each_other():
    ends = [os.pipe() for _ in range(2)]
    wait = "import sys; sys.stdin.read()"
    processes = [server.start("-c", wait, stdin=out) for out, _ in ends]
    for out, _ in ends:
        os.close(out)
    for process, (_, into) in zip(processes, ends, strict=True):
        assert process.poll() is None
        os.close(into)
        assert process.wait(60) == 0


@pytest.mark.parametrize(("one", "needs"), [(node, "numpy"), (workstation, "torch")])
def test_a_server_has_one_thread(one, needs):
    pytest.importorskip(needs)
    parent = "import os; print(len(os.listdir(f'/proc/{os.getppid()}/task')))"
    assert one.run("-c", parent).stdout == "1\n"


def test_the_node_has_what_a_robot_has_and_no_more():
    heavy = "import sys; print({'numpy', 'torch', 'mujoco'} & set(sys.modules))"
    assert node.run("-c", heavy).stdout == "{'numpy'}\n"
