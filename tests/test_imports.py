"""Who may import whom: read from the syntax tree of every file, lazy imports included."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from contract_helpers import ROOT

SOURCES = {"robot_ppo": ROOT / "robot_ppo", "robot_ppo_export": ROOT / "export/robot_ppo_export"}
EXPORT = "robot_ppo_export"
CONTRACT = f"{EXPORT}.contract"

# One way: a module may import those before it.
CONTRACT_ORDER = ("frames", "strict", "spec", "state", "terms", "layout", "action", "contract")
# Libraries beyond the robot's four, and the module that asks for one.
EXTRAS = {"to_onnx": {"onnx"}, "node.commands.gamepad": {"evdev"}}
# A layer may import itself and those before it.
EXPORT_LAYERS = (
    ("errors", "__init__"),
    ("contract", "files"),
    ("seal", "golden"),
    ("to_onnx", "policy"),
    ("node",),
    ("cli",),
    ("bench_process",),
)


def module_name(path: Path) -> str:
    for package, folder in SOURCES.items():
        if path.is_relative_to(folder):
            parts = (package, *path.relative_to(folder).with_suffix("").parts)
            return ".".join(p for p in parts if p != "__init__")
    raise AssertionError(path)


def imports_of(source: str, module: str, is_package: bool = False) -> set[str]:
    """Every module that `source` names in an import, wherever it stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if is_package else module.split(".")[:-1]
                parents = package[: len(package) - node.level + 1]
                base = ".".join((*parents, base)).rstrip(".")
            # `from a import b` may mean the module a.b: both are named.
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


FILES = {
    module_name(path): path for folder in SOURCES.values() for path in sorted(folder.rglob("*.py"))
}
IMPORTS = {
    name: imports_of(path.read_text(), name, path.name == "__init__.py")
    for name, path in FILES.items()
}


def inside(module: str, *packages: str) -> bool:
    return any(module == p or module.startswith(p + ".") for p in packages)


def importers(*packages: str) -> set[str]:
    """Our modules that import one of `packages` or something inside."""
    return {m for m, found in IMPORTS.items() if any(inside(f, *packages) for f in found)}


def known(found: set[str]) -> set[str]:
    """Those of the imported names that are modules of ours."""
    return found & set(FILES)


# The reader of imports itself


@pytest.mark.parametrize(
    "source, expected",
    [
        ("import torch", "torch"),
        ("import a.b.c as d", "a.b.c"),
        ("from a import b", "a.b"),
        ("def f():\n    import torch", "torch"),
        ("if TYPE_CHECKING:\n    from torch import Tensor", "torch"),
        ("try:\n    import mujoco\nexcept ImportError:\n    pass", "mujoco"),
        ("from . import x", "p.q.x"),
        ("from .x import y", "p.q.x"),
        ("from ..x import y", "p.x"),
    ],
)
def test_every_kind_of_import_is_seen(source, expected):
    """Negative control: a rule below could be broken by any of these."""
    assert expected in imports_of(source, "p.q.m")


def test_a_relative_import_of_a_package_starts_at_the_package_itself():
    assert "p.q.x" in imports_of("from . import x", "p.q", is_package=True)


def test_all_files_were_found():
    assert {f"{CONTRACT}.{m}" for m in CONTRACT_ORDER} <= set(FILES)
    assert {"robot_ppo.envs.robot.robot_env", "robot_ppo.ppo.update", f"{EXPORT}.cli"} <= set(FILES)
    assert importers("torch") and importers("mujoco") and importers("onnxruntime")


# robot_ppo_export


def test_the_contract_is_imported_one_way():
    modules = {m.removeprefix(f"{CONTRACT}.") for m in FILES if inside(m, CONTRACT)} - {CONTRACT}
    assert modules == set(CONTRACT_ORDER), "give a new module its place in the order"
    for i, name in enumerate(CONTRACT_ORDER):
        allowed = {CONTRACT, EXPORT, f"{EXPORT}.errors"}
        allowed |= {f"{CONTRACT}.{earlier}" for earlier in CONTRACT_ORDER[:i]}
        assert known(IMPORTS[f"{CONTRACT}.{name}"]) <= allowed, name


def layer(module: str) -> int:
    """Which layer of robot_ppo_export a module belongs to."""
    name = module.split(".")[1] if "." in module else "__init__"
    return next(i for i, names in enumerate(EXPORT_LAYERS) if name in names)


def test_the_layers_of_the_export_package_are_imported_one_way():
    for module in (m for m in FILES if inside(m, EXPORT)):
        for imported in known(IMPORTS[module]):
            assert layer(imported) <= layer(module), f"{module} imports {imported}"


def test_writing_and_reading_a_policy_file_do_not_know_each_other():
    assert f"{EXPORT}.policy" not in IMPORTS[f"{EXPORT}.to_onnx"]
    assert f"{EXPORT}.to_onnx" not in {i for m in FILES if inside(m, EXPORT) for i in IMPORTS[m]}


def test_the_parts_of_the_node_do_not_know_the_loop():
    node = f"{EXPORT}.node"
    parts = ("safety", "recorder", "log_file", "log_writer", "monitor", "drivers", "clock")
    for part in (*parts, "commands"):
        for module in (m for m in FILES if inside(m, f"{node}.{part}")):
            loop = {f"{node}.node", f"{node}.operate", f"{node}.replay"}
            assert not known(IMPORTS[module]) & loop, module


def test_a_driver_knows_nothing_of_envelope_or_policy():
    drivers = f"{EXPORT}.node.drivers"
    for module in (m for m in FILES if inside(m, drivers)):
        forbidden = (f"{EXPORT}.policy", f"{EXPORT}.node.safety", f"{EXPORT}.node.recorder")
        assert not any(inside(i, *forbidden) for i in IMPORTS[module]), module


DDS = {
    f"{EXPORT}.node.drivers.{name}"
    for name in ("dds", "dds_config", "dds_watch", "unitree_idl", "ros2_idl")
}
"""Where the extras `unitree` and `ros2` are imported."""


def test_the_robot_needs_four_packages_and_no_more():
    allowed = {*sys.stdlib_module_names, "numpy", "onnxruntime", "yaml", "msgspec", EXPORT}
    for module in (m for m in FILES if inside(m, EXPORT)):
        extra = EXTRAS.get(module.removeprefix(f"{EXPORT}."), set())
        extra = extra | ({"cyclonedds"} if module in DDS else set())
        foreign = {i.split(".")[0] for i in IMPORTS[module]} - allowed - extra
        assert not foreign, f"{module} imports {foreign}"


def test_dds_is_imported_only_where_it_is_spoken():
    assert importers("cyclonedds") == DDS


def test_one_module_imports_onnx_and_one_onnxruntime():
    assert importers("onnx") == {f"{EXPORT}.to_onnx"}
    assert {m for m in importers("onnxruntime") if inside(m, EXPORT)} == {f"{EXPORT}.policy"}


# robot_ppo


def test_environments_and_the_algorithm_do_not_know_each_other():
    envs, ppo, training = "robot_ppo.envs", "robot_ppo.ppo", "robot_ppo.training"
    assert not {m for m in importers(ppo, training) if inside(m, envs)}
    assert not {m for m in importers(envs, training) if inside(m, ppo)}
    assert "robot_ppo.training.train" in importers(envs) & importers(ppo)  # it brings them together


def test_torch_stays_where_learning_is():
    allowed = ("robot_ppo.ppo", "robot_ppo.training", "robot_ppo.export", "robot_ppo.bench")
    allowed += ("robot_ppo.interop",)
    assert not {m for m in importers("torch") if not inside(m, *allowed)}


def test_mujoco_stays_where_simulation_is():
    allowed = (
        *(
            "robot_ppo.envs",
            "robot_ppo.sim.simulated_robot",
            "robot_ppo.playback.video",
            "robot_ppo.playback.window",
        ),
        *("robot_ppo.evaluation.evaluate", "robot_ppo.bench"),
    )
    assert not {m for m in importers("mujoco") if not inside(m, *allowed)}


def test_configuration_and_assets_are_light():
    for module in ("robot_ppo.config", "robot_ppo.project"):
        allowed = {*sys.stdlib_module_names, "msgspec", "yaml", "robot_ppo", EXPORT}
        assert {i.split(".")[0] for i in IMPORTS[module]} <= allowed


# What an import really loads


def loaded_by(code: str) -> set[str]:
    """The top-level modules in a fresh Python after `code`."""
    script = f"{code}\nimport sys\nprint(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "export"), str(ROOT)))},
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


HEAVY = {
    "torch",
    "mujoco",
    "cyclonedds",
    "onnx",
    "onnxruntime",
    "matplotlib",
    "av",
    "rich",
    "tensorboard",
}


def test_importing_the_export_package_loads_nothing_but_itself():
    assert loaded_by("import robot_ppo_export") - loaded_by("") == {EXPORT}


def test_importing_the_training_package_loads_nothing_heavy():
    assert not loaded_by("import robot_ppo") & HEAVY


def test_importing_the_node_loads_numpy_and_onnxruntime_at_the_most():
    loaded = loaded_by("import robot_ppo_node.node, robot_ppo_node.app.cli")
    assert not loaded & (HEAVY - {"onnxruntime"} | {"gymnasium", "robot_ppo"})


@pytest.mark.parametrize("module", [f"{EXPORT}.cli", "robot_ppo.cli"])
def test_a_command_line_asks_for_help_at_no_cost(module):
    assert not loaded_by(f"import {module}") & HEAVY
