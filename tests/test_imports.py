"""Who may import whom: read from the syntax tree of every file.

What counts as an import: every `import` statement wherever it stands, in a function (late) or under
`TYPE_CHECKING` too. `from a import b` is an import of the module `a.b` where there is one, and of
`a` otherwise. That Python runs the `__init__` of every parent package first does not count: those
files are held small by `test_importing_*` below.

A rule is a function from imports to violations, so that each can be shown to fail on a made-up one.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from contract_helpers import ROOT

EXPORT = "robot_ppo_export"
NODE = "robot_ppo_node"
TRAINING = "robot_ppo"
SOURCES = {
    TRAINING: ROOT / TRAINING,
    EXPORT: ROOT / "export" / EXPORT,
    NODE: ROOT / "export" / NODE,
}
CONTRACT = f"{EXPORT}.contract"
DRIVERS = f"{NODE}.drivers"

# A room is a file or folder directly inside a package. A room may import itself and the rooms of
# earlier layers; rooms of one layer do not know each other.
CONTRACT_LAYERS = (
    ("frames", "strict", "scan"),
    ("spec", "command", "tables"),
    ("state",),
    ("terms", "mounting"),
    ("layout", "action"),
    ("contract",),
)
EXPORT_LAYERS = (
    ("__init__", "errors"),
    ("contract", "files", "onnx_summary"),
    ("checksum", "golden"),
    ("to_onnx", "policy"),
)
NODE_LAYERS = (
    ("__init__", "clock"),
    ("host",),
    ("drivers",),
    ("commands", "robot_side"),
    ("safety",),
    ("startup",),
    ("control",),
    ("log",),
    ("node",),
    ("app",),
)
TRAINING_LAYERS = (
    ("project", "arguments", "lock", "mirror", "installed_terms"),
    ("config",),
    ("robot_model", "rendering"),
    ("derived", "sim"),
    ("envs", "ppo"),
    ("training",),
    ("export",),
    ("evaluation", "playback", "diagnostics", "interop", "logs"),
    ("report", "snapshot"),
    ("tuning",),
    ("commands",),
    ("cli", "__init__"),
    ("__main__",),
)
LAYERS = {
    CONTRACT: CONTRACT_LAYERS,
    EXPORT: EXPORT_LAYERS,
    NODE: NODE_LAYERS,
    TRAINING: TRAINING_LAYERS,
}
# Libraries beyond the robot's four, and the module that asks for one.
EXTRAS = {f"{EXPORT}.to_onnx": {"onnx"}, f"{NODE}.commands.gamepad": {"evdev"}}
DDS = {
    f"{DRIVERS}.{name}"
    for name in (
        *("dds.participant", "dds.dds_config", "dds.dds_watch", "dds.qos_words"),
        *("dds.endpoints", "dds.type_descriptions", "unitree.unitree_idl", "ros2.ros2_idl"),
    )
}
"""Where the extras `unitree` and `ros2` are imported."""

Imports = Mapping[str, set[str]]
"""Module -> the names that it imports."""


def module_name(path: Path) -> str:
    for package, folder in SOURCES.items():
        if path.is_relative_to(folder):
            parts = (package, *path.relative_to(folder).with_suffix("").parts)
            return ".".join(p for p in parts if p != "__init__")
    raise AssertionError(path)


def imports_of(source: str, module: str, is_package: bool = False) -> set[str]:
    """Every name that `source` imports, with the module in front: "a.b" of `from a import b`."""
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
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


FILES = {
    module_name(path): path for folder in SOURCES.values() for path in sorted(folder.rglob("*.py"))
}


class OurImports(Mapping[str, set[str]]):
    """Those of our modules. A file is read when it is first asked for, not at collection."""

    def __init__(self) -> None:
        self._read: dict[str, set[str]] = {}

    def __getitem__(self, name: str) -> set[str]:
        if name not in self._read:
            path = FILES[name]
            self._read[name] = imports_of(path.read_text(), name, path.name == "__init__.py")
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(FILES)

    def __len__(self) -> int:
        return len(FILES)


IMPORTS = OurImports()


def inside(module: str, *packages: str) -> bool:
    return any(module == p or module.startswith(p + ".") for p in packages)


def importers(*packages: str, imports: Imports = IMPORTS) -> set[str]:
    """Our modules that import one of `packages` or something inside."""
    return {m for m, found in imports.items() if any(inside(f, *packages) for f in found)}


def modules(found: set[str], known) -> set[str]:
    """The modules among `known` that these names stand for: the longest that a name begins with."""
    resolved = set()
    for name in found:
        while name and name not in known:
            name = name.rpartition(".")[0]
        resolved |= {name} - {""}
    return resolved


def graph(imports: Imports) -> Imports:
    """Module -> the other modules of `imports` that it imports."""
    return {m: modules(found, imports) - {m} for m, found in imports.items()}


# -- the rules ----------------------------------------------------------------------------------


def against_the_layers(package: str, imports: Imports = IMPORTS) -> set[tuple[str, str]]:
    """Imports inside `package` of a later layer, or of another room of the same one."""
    depth = package.count(".") + 1

    def room(module: str) -> str:
        return module.split(".")[depth] if module != package else "__init__"

    level = {name: i for i, names in enumerate(LAYERS[package]) for name in names}
    if package == CONTRACT:
        level["__init__"] = -1  # empty
    edges = {
        (a, b)
        for a, found in graph({m: x for m, x in imports.items() if inside(m, package)}).items()
        for b in found
        if room(a) != room(b)
    }
    unknown = {room(m) for edge in edges for m in edge} - set(level)
    assert not unknown, f"give {unknown} a layer of {package} in this test"
    return {(a, b) for a, b in edges if level[room(a)] <= level[room(b)]}


def against_the_packages(imports: Imports = IMPORTS) -> set[tuple[str, str]]:
    """Imports of the training under export/, and of the node in what leaves the lab."""
    forbidden = {EXPORT: (TRAINING, NODE), NODE: (TRAINING,)}
    return {
        (module, name)
        for module, found in imports.items()
        for name in found
        if inside(name, *forbidden.get(module.split(".")[0], ()))
    }


def cycles(imports: Imports) -> list[set[str]]:
    """Groups of modules of which each imports all others, by whatever way."""
    reached: dict[str, set[str]] = {}
    for module, direct in (edges := graph(imports)).items():
        seen = set()
        todo = list(direct)
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += edges[name]
        reached[module] = seen
    groups = {frozenset(b for b in reached[a] if a in reached[b]) for a in reached}
    return [set(group) for group in groups if group]


def part(package: str, imports: Imports = IMPORTS) -> Imports:
    return {m: found for m, found in imports.items() if inside(m, package)}


def with_import(module: str, *names: str) -> Imports:
    """The imports as they are, and made-up ones more."""
    return {**IMPORTS, module: IMPORTS.get(module, set()) | set(names)}


# -- the reader of imports itself ---------------------------------------------------------------


@pytest.mark.parametrize(
    "source, expected",
    [
        ("import torch", "torch"),
        ("import a.b.c as d", "a.b.c"),
        ("from a import b", "a.b"),
        ("def f():\n    import torch", "torch"),
        ("if TYPE_CHECKING:\n    from torch import Tensor", "torch.Tensor"),
        ("try:\n    import mujoco\nexcept ImportError:\n    pass", "mujoco"),
        ("from . import x", "p.q.x"),
        ("from .x import y", "p.q.x.y"),
        ("from ..x import y", "p.x.y"),
    ],
)
def test_every_kind_of_import_is_seen(source, expected):
    """Negative control: a rule below could be broken by any of these."""
    assert expected in imports_of(source, "p.q.m")


def test_a_relative_import_of_a_package_starts_at_the_package_itself():
    assert "p.q.x" in imports_of("from . import x", "p.q", is_package=True)


def test_a_name_is_that_of_a_module_or_of_something_inside():
    assert modules({"a.b.c.d", "a.x", "numpy.random"}, {"a", "a.b", "a.b.c"}) == {"a.b.c", "a"}


def test_all_files_were_found():
    expected = {f"{CONTRACT}.contract", f"{EXPORT}.policy", f"{NODE}.node", f"{NODE}.app.cli"}
    expected |= {"robot_ppo.envs.robot.robot_env", "robot_ppo.ppo.update", "robot_ppo.cli"}
    assert expected <= set(FILES)
    assert importers("torch") and importers("mujoco") and importers("onnxruntime")


# -- packages, layers, cycles -------------------------------------------------------------------


def test_what_leaves_the_lab_does_not_know_the_training_nor_the_file_the_node():
    assert not against_the_packages()


@pytest.mark.parametrize(
    "module, name",
    [
        (f"{EXPORT}.policy", "robot_ppo.config"),
        (f"{EXPORT}.policy", f"{NODE}.clock"),
        (f"{NODE}.app.cli", "robot_ppo.cli.main"),
    ],
)
def test_an_import_against_the_packages_is_noticed(module, name):
    assert against_the_packages(with_import(module, name)) == {(module, name)}


@pytest.mark.parametrize("package", LAYERS)
def test_the_rooms_of_a_package_are_imported_one_way(package):
    assert not against_the_layers(package)


@pytest.mark.parametrize(
    "package, module, name",
    [
        (CONTRACT, f"{CONTRACT}.state", f"{CONTRACT}.terms"),
        (EXPORT, f"{EXPORT}.errors", f"{EXPORT}.files.write_atomically"),
        (EXPORT, f"{EXPORT}.policy", f"{EXPORT}.to_onnx"),
        (NODE, f"{NODE}.safety.guards", f"{NODE}.node.Node"),
        (NODE, f"{NODE}.drivers.base", f"{NODE}.log.recorder"),
        (NODE, f"{NODE}.drivers.udp.udp_driver", f"{NODE}.robot_side.udp_robot.UdpRobot"),
        (TRAINING, "robot_ppo.config.schema", "robot_ppo.envs.gymnasium.gym_tasks.TASKS"),
        (TRAINING, "robot_ppo.sim.robot_engine", "robot_ppo.envs.make"),
        (TRAINING, "robot_ppo.envs.robot.rewards", "robot_ppo.ppo.update"),
        (TRAINING, "robot_ppo.ppo.update", "robot_ppo.envs.make"),
        (TRAINING, "robot_ppo.training.train", "robot_ppo.evaluation.scorecard"),
        (TRAINING, "robot_ppo.sim.robot_engine", "robot_ppo.__version__"),
    ],
)
def test_an_import_against_the_layers_is_noticed(package, module, name):
    (imported,) = modules({name}, IMPORTS)
    seen = against_the_layers(package, with_import(module, name))
    assert (module, imported) in seen


def test_a_room_without_a_layer_is_noticed():
    with pytest.raises(AssertionError, match="attic"):
        against_the_layers(TRAINING, with_import("robot_ppo.attic", "robot_ppo.config"))


def test_no_module_imports_itself_through_others():
    assert not cycles(IMPORTS)


@pytest.mark.parametrize(
    "module, name",
    [
        ("robot_ppo.config.schema", "robot_ppo.config.check"),
        ("robot_ppo.ppo.networks", "robot_ppo.ppo.update.update"),
        ("robot_ppo.project", "robot_ppo.cli"),
        (f"{NODE}.clock", f"{NODE}.drivers.udp.udp_driver"),
        (f"{EXPORT}.contract.strict", f"{EXPORT}.policy.Policy"),
    ],
)
def test_a_cycle_is_noticed(module, name):
    found = cycles(with_import(module, name))
    assert any({module, *modules({name}, IMPORTS)} <= group for group in found)


# -- robot_ppo_export and robot_ppo_node --------------------------------------------------------


def test_writing_and_reading_a_policy_file_do_not_know_each_other():
    assert f"{EXPORT}.policy" not in graph(IMPORTS)[f"{EXPORT}.to_onnx"]
    assert not {m for m in importers(f"{EXPORT}.to_onnx") if inside(m, EXPORT, NODE)}


def drivers_that_know_too_much(imports: Imports = IMPORTS) -> set[str]:
    """Drivers that know the policy, the envelope, the recorder or the loop."""
    forbidden = (f"{EXPORT}.policy", f"{NODE}.log.recorder", f"{NODE}.node", f"{NODE}.control")
    forbidden += tuple(f"{NODE}.safety.{m}" for m in ("envelope", "guards", "limits", "monitor"))
    return {m for m in importers(*forbidden, imports=imports) if inside(m, DRIVERS)}


def test_a_driver_knows_nothing_of_envelope_or_policy():
    assert not drivers_that_know_too_much()
    udp = f"{DRIVERS}.udp.udp_driver"
    assert drivers_that_know_too_much(with_import(udp, f"{EXPORT}.policy.Policy")) == {udp}


PROTOCOLS = {
    "safety": {"base", "handover"},
    "startup": {"base", "joint_map"},
    "control": {"base", "sends"},
    "log": {"base"},
}
"""Room of the node -> what it may know of the drivers: what every robot has in common."""


def rooms_that_know_drivers(imports: Imports = IMPORTS) -> set[str]:
    """Modules that judge, decide or record, and know more of drivers than the protocols."""
    ours = part(NODE, imports)
    return {
        module
        for module, found in graph(ours).items()
        for room, allowed in PROTOCOLS.items()
        if inside(module, f"{NODE}.{room}")
        for name in found
        if inside(name, DRIVERS) and not inside(name, *(f"{DRIVERS}.{m}" for m in allowed))
    }


def test_what_judges_and_decides_knows_of_drivers_the_protocols_alone():
    assert not rooms_that_know_drivers()
    for name in ("joint_map", "udp.udp_driver.UdpDriver", "sends.Unsent"):
        broken = with_import(f"{NODE}.safety.bounds", f"{DRIVERS}.{name}")
        assert rooms_that_know_drivers(broken) == {f"{NODE}.safety.bounds"}


def foreign(module: str, imports: Imports = IMPORTS) -> set[str]:
    """Libraries that a module under export/ imports and must not."""
    allowed = {*sys.stdlib_module_names, "numpy", "onnxruntime", "yaml", "msgspec", EXPORT, NODE}
    allowed |= EXTRAS.get(module, set()) | ({"cyclonedds"} if module in DDS else set())
    return {name.split(".")[0] for name in imports[module]} - allowed


def test_the_robot_needs_four_packages_and_no_more():
    for module in (m for m in FILES if inside(m, EXPORT, NODE)):
        assert not foreign(module), module
    assert foreign(f"{NODE}.node", with_import(f"{NODE}.node", "torch")) == {"torch"}


def test_dds_is_imported_only_where_it_is_spoken():
    assert importers("cyclonedds") == DDS


def test_one_module_imports_onnx_and_one_onnxruntime():
    assert importers("onnx") == {f"{EXPORT}.to_onnx"}
    assert {m for m in importers("onnxruntime") if inside(m, EXPORT, NODE)} == {f"{EXPORT}.policy"}


# -- robot_ppo ----------------------------------------------------------------------------------


def known_by_the_algorithm(imports: Imports = IMPORTS) -> set[str]:
    """Rooms of robot_ppo that `ppo` imports."""
    ours = part(TRAINING, imports)
    found = {b for a, names in graph(ours).items() if inside(a, "robot_ppo.ppo") for b in names}
    return {m.split(".")[1] for m in found} - {"ppo"}


def test_the_algorithm_knows_its_settings_and_nothing_of_worlds():
    assert known_by_the_algorithm() <= {"config", "mirror"}
    broken = with_import("robot_ppo.ppo.rollout", "robot_ppo.sim.engine.Engine")
    assert "sim" in known_by_the_algorithm(broken)


def test_the_training_brings_environments_and_algorithm_together():
    """Negative control: the names of the rules above are those of real modules."""
    assert "robot_ppo.training.train" in importers("robot_ppo.envs") & importers("robot_ppo.ppo")


def torch_elsewhere(imports: Imports = IMPORTS) -> set[str]:
    """Modules that import torch and have nothing to do with learning."""
    allowed = ("robot_ppo.ppo", "robot_ppo.training", "robot_ppo.export", "robot_ppo.interop")
    allowed += ("robot_ppo.evaluation",)
    on_a_device = ("sim.warp_engine", "sim.warp_robot", "envs.robot.warp_env")
    allowed += tuple(f"{TRAINING}.{name}" for name in on_a_device)
    return {m for m in importers("torch", imports=imports) if not inside(m, *allowed)}


def test_torch_stays_where_learning_is():
    assert not torch_elsewhere()
    broken = with_import("robot_ppo.envs.robot.rewards", "torch")
    assert torch_elsewhere(broken) == {"robot_ppo.envs.robot.rewards"}


def mujoco_elsewhere(imports: Imports = IMPORTS) -> set[str]:
    """Modules that import mujoco and simulate or draw nothing."""
    allowed = ("robot_ppo.robot_model", "robot_ppo.sim", "robot_ppo.envs")
    allowed += ("robot_ppo.rendering",)
    allowed += tuple(
        f"robot_ppo.playback.{name}" for name in ("film", "portrait", "web.scene", "window")
    )
    return {m for m in importers("mujoco", imports=imports) if not inside(m, *allowed)}


def test_mujoco_stays_where_simulation_is():
    assert not mujoco_elsewhere()
    broken = with_import("robot_ppo.training.train", "mujoco")
    assert mujoco_elsewhere(broken) == {"robot_ppo.training.train"}


STEPS = {"mj_step", "mj_step1", "mj_step2", "mj_RungeKutta"}


def steps_physics(source: str) -> bool:
    """Whether a module advances MuJoCo, by a batch or by one of its functions."""
    names = imports_of(source, "m")
    used = {n.attr for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Attribute)}
    return bool(used & STEPS) or any(inside(n, "mujoco.batch", "mujoco.rollout") for n in names)


def test_physics_is_stepped_in_sim_alone():
    stepping = {m for m, path in FILES.items() if steps_physics(path.read_text())}
    assert stepping and all(inside(m, "robot_ppo.sim") for m in stepping), stepping
    assert steps_physics("from mujoco.batch import Batch")
    assert steps_physics("import mujoco\nmujoco.mj_step(model, data)")
    assert not steps_physics("import mujoco\nmujoco.mj_forward(model, data)")


def heavy_settings(imports: Imports = IMPORTS) -> set[str]:
    """Libraries that reading the configuration imports and must not."""
    allowed = {*sys.stdlib_module_names, "msgspec", "yaml", TRAINING, EXPORT}
    light = {m for m in imports if inside(m, "robot_ppo.config", "robot_ppo.project")}
    return {name.split(".")[0] for m in light for name in imports[m]} - allowed


def test_configuration_and_project_are_light():
    assert not heavy_settings()
    assert heavy_settings(with_import("robot_ppo.config.check", "numpy")) == {"numpy"}


# -- what an import really loads ----------------------------------------------------------------


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


def test_what_is_heavy_is_seen_when_it_is_loaded():
    """Negative control."""
    pytest.importorskip("mujoco")
    assert "mujoco" in loaded_by("import robot_ppo.robot_model.variants")


def test_importing_the_export_package_loads_nothing_but_itself():
    assert loaded_by("import robot_ppo_export") - loaded_by("") == {EXPORT}


def test_importing_the_training_package_loads_nothing_heavy():
    assert not loaded_by("import robot_ppo") & HEAVY


def test_importing_the_node_loads_numpy_and_onnxruntime_at_the_most():
    loaded = loaded_by("import robot_ppo_node.node, robot_ppo_node.app.cli")
    assert not loaded & (HEAVY - {"onnxruntime"} | {"gymnasium", TRAINING})


@pytest.mark.parametrize("module", [f"{NODE}.app.cli", "robot_ppo.cli"])
def test_a_command_line_asks_for_help_at_no_cost(module):
    assert not loaded_by(f"import {module}") & HEAVY
