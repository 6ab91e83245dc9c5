"""The repository is a Space: its front matter, its requirements, and the one command that deploys it."""

import importlib
import multiprocessing
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from hub_server import WRITER, Hub, serving
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from restore import pipeline
from restore.images import ImageError
from web import gpu, later
from web.choices import NoiseSettings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}  # that the Hub knows


def requirements(text: str) -> dict[str, SpecifierSet]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return {(wish := Requirement(line)).name: wish.specifier for line in lines if line}


REQUIREMENTS = requirements((ROOT / "requirements.txt").read_text())


@pytest.fixture(scope="module")
def front() -> dict[str, Any]:
    matter: dict[str, Any] = yaml.safe_load(README.split("---\n")[1])
    return matter


def test_the_front_matter_is_complete(front: dict[str, Any]) -> None:
    assert front.keys() >= {
        "title",
        "emoji",
        "colorFrom",
        "colorTo",
        "sdk",
        "sdk_version",
        "python_version",
        "app_file",
        "license",
    }
    assert front["sdk"] == "gradio"
    assert {front["colorFrom"], front["colorTo"]} <= COLOURS
    assert front["license"] == PROJECT["license"].lower()
    assert (ROOT / front["app_file"]).is_file()
    assert 0 < len(front["short_description"]) <= 60


def test_the_versions_agree(front: dict[str, Any]) -> None:
    assert front["sdk_version"] in REQUIREMENTS["gradio"]
    assert version("gradio").rpartition(".")[0] == front["sdk_version"].rpartition(".")[0]
    assert isinstance(front["python_version"], str)
    assert f"{front['python_version']}.0" in SpecifierSet(PROJECT["requires-python"])


def test_the_requirements_stand_by_themselves() -> None:
    """A Space installs them before the repository's files are there, next to gradio's own pins."""
    assert "pydantic" not in REQUIREMENTS
    library = requirements("\n".join(PROJECT["dependencies"]))
    assert library == {name: REQUIREMENTS[name] for name in library}


def command(text: str) -> str:
    """The line that deploys."""
    [line] = [line for line in text.splitlines() if "hf upload" in line]
    return line.strip().removeprefix("run: ")


def test_the_workflow_deploys_by_the_documented_command() -> None:
    workflow = (ROOT / ".github/workflows/deploy.yml").read_text()
    assert command(workflow).replace('"$SPACE"', "USER/SPACE") == command(README)
    settings = yaml.safe_load(workflow)
    assert settings[True]["push"]["tags"] == ["v*"]  # YAML reads `on` as true
    [upload] = [step for step in settings["jobs"]["space"]["steps"] if step.get("name") == "Upload"]
    assert set(re.findall(r"\$(\w+)", upload["run"])) <= upload["env"].keys()


PARTS = ("app.py", "README.md", "requirements.txt", "restore", "web", "train", "examples", "docs")


def test_the_documented_command_deploys(tmp_path: Path) -> None:
    """Of a copy, since whatever else lies in this folder would go along."""
    hub, clone = Hub(), tmp_path / "space"
    clone.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, clone / part, **({"ignore": shutil.ignore_patterns("*.pyc")} if copy is shutil.copytree else {}))
    (clone / ".env").write_text("HF_TOKEN=secret")
    hub.add("space", "tester/space", {"old.py": b"gone by now"})
    others = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    words = shlex.split(command(README).replace("USER/SPACE", "tester/space"))
    words[0] = str(Path(sys.executable).parent / words[0])
    with serving(hub) as address:
        settings = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "cache"), "HF_TOKEN": WRITER, "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run(  # noqa: S603
            words, cwd=clone, env=others | settings, capture_output=True, text=True, timeout=300, check=False
        )
    assert done.returncode == 0, done.stderr
    _, files = hub.repositories["space", "tester/space"].at("main")
    assert files.keys() >= {"README.md", "requirements.txt", "app.py", "restore/pipeline.py", "restore/weights/SHA256SUMS"}
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "web").glob("*.py")} <= files.keys()
    assert len(list((ROOT / "restore/weights").glob("*/model.safetensors"))) == len(hub.blobs)
    assert not files.keys() & {".env", "old.py"}


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """web.gpu as on ZeroGPU, whose package runs a job in a forked process: pickled on the way there and on the way back."""

    def borrow(task: Callable[..., Any], duration: Callable[..., int]) -> Callable[..., Any]:
        def elsewhere(*arguments: Any) -> Any:
            assert 0 < duration(*arguments) <= gpu.LONGEST
            with multiprocessing.get_context("fork").Pool(1) as pool:
                return pool.apply(task, arguments)

        return elsewhere

    fake = ModuleType("spaces")
    fake.GPU = borrow  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spaces", fake)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    yield importlib.reload(gpu)
    monkeypatch.undo()
    importlib.reload(gpu)


def test_many_pictures_borrow_a_gpu_for_longer() -> None:
    assert gpu.seconds_for(later.job("batch.run_batch")) > gpu.seconds_for(later.job("work.denoise_photo")) > gpu.MARGIN


def test_a_job_runs_where_the_lent_gpu_is(lent: ModuleType) -> None:
    job = later.job("work.add_noise", str(ROOT / "examples/dish.png"), "Gaussian", NoiseSettings(25, 1, 30, 50, 1, 4, 16), 3)
    reports: list[float] = []
    result = lent.run(job, reports.append)
    assert Path(result.png).is_file()
    small = later.job("batch.run_batch", [result.png], "colorize", ".png")
    assert lent.run(small, reports.append).rows[0][0] == Path(result.png).name
    assert lent.run(process_id, print) != os.getpid()
    assert not reports  # nothing comes from there but the result


def test_a_job_that_needs_no_network_costs_nobody_s_quota(lent: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a network was loaded in the page's own process, which has no GPU")

    monkeypatch.setattr(pipeline, "load", refuse)
    jobs = {"brush.open_canvas": (str(ROOT / "examples/dish.png"),)}
    assert set(jobs) == set(gpu.WITHOUT_NETWORKS)
    for name, arguments in jobs.items():
        reports: list[float] = []
        assert lent.run(later.job(name, *arguments), reports.append)
        assert reports  # from here


def test_its_error_is_told_as_it_is_here(lent: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "words.jpg").write_text("no picture")
    job = later.job("work.restore_photo", str(tmp_path / "words.jpg"), 1.0, 1.0)
    with pytest.raises(ImageError, match="picture"):
        lent.run(job, print)


def process_id(_: Callable[[float], None]) -> int:
    return os.getpid()


def test_without_a_lent_gpu_a_job_runs_and_reports_here() -> None:
    heard: list[float] = []
    assert gpu.run(lambda report: report(0.5) or os.getpid(), heard.append) == os.getpid()
    assert heard == [0.5]
