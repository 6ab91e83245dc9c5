"""The house holds: every room is in the table, imports only what the table allows, one way, and loads nothing that runs code."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = (
    "restore.files restore.images restore.color restore.guided restore.noise restore.metrics restore.memory restore.precision "
    "restore.tiling restore.models"
)
TRAINING = "restore train.augment train.data train.grow train.losses train.loop train.recipe"
HOUSE = {  # room: what of ours it may import besides itself
    "app": "restore web",
    "web": "restore",
    "benchmarks": "restore train web app",
    "restore": f"{LIBRARY} restore.pipeline",
    "restore.files": "",
    "restore.images": "restore.files",
    "restore.color": "restore.tiling",
    "restore.guided": "",
    "restore.noise": "",
    "restore.metrics": "restore.color",
    "restore.memory": "",
    "restore.precision": "",
    "restore.tiling": "",
    "restore.models": "restore.color restore.files restore.tiling",
    "restore.pipeline": LIBRARY,
    "restore.engine": "restore.images restore.pipeline",
    "restore.folder": "restore.engine restore.files restore.images",
    "restore.dataset": "restore.engine restore.files restore.images restore.models.hub",
    "restore.__main__": "restore.pipeline restore.images restore.models restore.engine restore.folder restore.dataset",
    "train": "",
    "train.augment": "restore",
    "train.data": "restore.images train.recipe",
    "train.grow": "restore.models train.loop train.recipe",
    "train.losses": "restore",
    "train.recipe": "restore.models.hub",
    "train.checkpoint": "restore.files train.recipe",
    "train.optimizers": "",
    "train.precision": "",
    "train.results": "restore.files",
    "train.loop": "restore train.data train.recipe train.checkpoint train.optimizers train.precision train.card train.publish",
    "train.denoise": TRAINING,
    "train.colorize": TRAINING,
    "train.evaluate": "restore train.data train.results",
    "train.card": "restore train.recipe train.results",
    "train.publish": "restore train.card train.recipe",
    "train.bundle": "restore train.checkpoint train.card train.denoise train.colorize",
}
NOT_FOR_THE_LIBRARY = {"train", "app", "web", "benchmarks", "gradio", "datasets", "accelerate", "tensorboard"}
ONLY_FOR = {"restore.dataset": {"datasets"}}
RUN_CODE_ON_LOAD = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


PATHS = [ROOT / "app.py", *(path for top in ("restore", "train", "web", "benchmarks") for path in (ROOT / top).rglob("*.py"))]
MODULES = {dotted(path): ast.parse(path.read_text(encoding="utf-8")) for path in PATHS if path.exists()}


def imports(module: str) -> Iterator[str]:
    """Every module that `module` imports, at its top or within a function."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports by a relative path"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from names & MODULES.keys() or {str(node.module)}


def room_of(module: str) -> str:
    return max((room for room in HOUSE if is_within(module, room)), key=len)


def is_within(module: str, room: str) -> bool:
    return f"{module}.".startswith(f"{room}.")


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_only_what_the_table_allows(module: str) -> None:
    room = room_of(module)
    assert module in HOUSE or room not in ("restore", "train"), "a room that the table does not know"
    ours = [name for name in imports(module) if name.split(".")[0] in ("app", "restore", "train", "web", "benchmarks")]
    allowed = [room, *HOUSE[room].split()] if room not in ("restore", "train") else HOUSE[room].split()
    assert not [name for name in ours if not any(is_within(name, other) for other in allowed)]


def test_every_room_exists() -> None:
    assert not [room for room in HOUSE if room not in MODULES]


def test_imports_point_one_way() -> None:
    TopologicalSorter({module: set(imports(module)) & MODULES.keys() for module in MODULES}).prepare()  # CycleError otherwise


@pytest.mark.parametrize("module", [module for module in MODULES if is_within(module, "restore")])
def test_the_library_needs_neither_training_nor_app(module: str) -> None:
    assert not {name.split(".")[0] for name in imports(module)} & NOT_FOR_THE_LIBRARY - ONLY_FOR.get(module, set())


def test_the_command_line_loads_no_data_set_library_before_it_needs_it() -> None:
    code = "import sys, restore.__main__; sys.exit('datasets' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)  # noqa: S603


@pytest.mark.parametrize("module", MODULES)
def test_nothing_runs_code_on_load(module: str) -> None:
    assert not {name.split(".")[0] for name in imports(module)} & RUN_CODE_ON_LOAD
    calls = {ast.unparse(node.func) for node in ast.walk(MODULES[module]) if isinstance(node, ast.Call)}
    assert not calls & {"torch.load", "torch.save", "np.load", "numpy.load", "eval", "exec"}


def test_there_is_no_room_for_everything() -> None:
    assert not [module for module in MODULES if module.split(".")[-1] in ("util", "utils", "helpers", "misc", "common")]
