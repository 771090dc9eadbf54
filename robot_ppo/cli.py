"""`robot-ppo`: train, score, export, play back and simulate.

Heavy libraries are imported by the command that needs them, so `--help` and errors are instant.
"""

import argparse
import io
import logging
import sys
from collections.abc import Callable, Collection, Sequence
from importlib.util import find_spec
from typing import Any

from robot_ppo.commands import playing, results, robots, training
from robot_ppo_export.contract.strict import did_you_mean
from robot_ppo_export.errors import InputError, RefusedError

EPILOG = """\
a first walk, in a few minutes on two cores:
  robot-ppo train go2_walk --out runs/go2          # or, for any robot: train walk --robot R
  robot-ppo eval runs/go2
  robot-ppo export runs/go2 -o go2_walk.onnx
  robot-ppo play go2_walk.onnx --video go2_walk.mp4

exit codes: 0 done; 2 wrong input; 3 a policy file refused, a check that failed, or a fall in `play`
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Errors of input are one sentence, no traceback."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a pipe gets each line when it is said
        sys.stdout.reconfigure(line_buffering=True)
    return exit_code("robot-ppo", lambda: _run(sys.argv[1:] if argv is None else argv))


def exit_code(program: str, run: Callable[[], Any]) -> int:
    """Call `run`; return its exit code (0 if it returns no number), printing errors as a sentence.

    Args:
        program: name that stands before the sentence.
        run: raises `InputError` or `RefusedError` where the user can do something about it.
    """
    try:
        code = run()
        return code if isinstance(code, int) else 0
    except (InputError, RefusedError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `robot-ppo list | head`: the reader is gone
        sys.stderr.close()
        return 128 + 13
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"{program}: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"{program}: not enough memory ({error}); lower num_envs", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _run(argv: Sequence[str]) -> int | None:
    top, names = _parsers()
    if argv and not argv[0].startswith("-") and argv[0] not in names:
        raise InputError(f"unknown command {argv[0]!r}{did_you_mean(argv[0], names)}")
    args = top.parse_args(argv)
    if args.needs:
        require_extra(args.needs)
    return args.run(args)


def require_extra(modules: Sequence[str]) -> None:
    """Raise `InputError` that says what to install where a library is missing."""
    missing = [m for m in modules if find_spec(m) is None]
    if missing:
        raise InputError(f"this command needs {', '.join(missing)}: pip install 'robot-ppo[train]'")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    return _parsers()[0]


def _parsers() -> tuple[argparse.ArgumentParser, Collection[str]]:
    """Return the parser of all commands, and their names."""
    top = argparse.ArgumentParser(
        prog="robot-ppo",
        description="From a robot model to a running controller.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=_version())
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (
        robots.add_list,
        robots.add_import,
        robots.add_check,
        training.add_train,
        training.add_tune,
        training.add_doctor,
        results.add_eval,
        results.add_export,
        playing.add_play,
        results.add_report,
        playing.add_sim,
        playing.add_log,
    ):
        add(commands)
    return top, commands.choices


def _version() -> str:
    from robot_ppo_export import __version__

    return f"robot-ppo {__version__}"


if __name__ == "__main__":
    sys.exit(main())
