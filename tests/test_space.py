"""The repository is a Space: its front matter, its requirements, and the one command that deploys it."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_server import WRITER, Hub, serving
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

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


def test_the_documented_command_deploys(tmp_path: Path) -> None:
    hub = Hub()
    words = shlex.split(command(README).replace("USER/SPACE", "tester/space"))
    words[0] = str(Path(sys.executable).parent / words[0])
    with serving(hub) as address:
        settings = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_TOKEN": WRITER, "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run(  # noqa: S603
            words, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, timeout=300, check=False
        )
    assert done.returncode == 0, done.stderr
    _, files = hub.repositories["space", "tester/space"].at("main")
    assert files.keys() >= {"README.md", "requirements.txt", "app.py", "restore/pipeline.py", "restore/weights/SHA256SUMS"}
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "web").glob("*.py")} <= files.keys()
    assert len(list((ROOT / "restore/weights").glob("*/model.safetensors"))) == len(hub.blobs)
    assert not [path for path in files if path.startswith(("runs/", "data/", ".git/")) or path.endswith(".pyc")]
