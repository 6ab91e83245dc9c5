"""The circle closes: Hub data in, Hub weights out, and back, by the real clients against a Hub on this machine."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import READER, WRITER, Hub, serving
from small_training import png

ROOT = Path(__file__).parents[1]
CIFAR10_CARD = b"""---
configs:
- config_name: plain_text
  default: true
  data_files:
  - {split: train, path: plain_text/train-*}
  - {split: test, path: plain_text/test-*}
---
"""


def parquet(seeds: range) -> bytes:
    """A file as uoft-cs/cifar10 has it: columns img and label."""
    pictures = pa.array(
        [{"bytes": png(seed), "path": None} for seed in seeds], pa.struct({"bytes": pa.binary(), "path": pa.string()})
    )
    buffer = io.BytesIO()
    pq.write_table(pa.table({"img": pictures, "label": [seed % 10 for seed in seeds]}), buffer)
    return buffer.getvalue()


def client(task: str, folder: Path, address: str, **environment: str) -> dict[str, Any]:
    """Do a task of hub_client.py in a process of its own, and return what it tells."""
    settings = {
        "HF_ENDPOINT": address,
        "HF_HOME": str(folder / "cache"),
        "HF_TOKEN": WRITER,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(  # noqa: S603
        [sys.executable, str(ROOT / "tests/hub_client.py"), task, str(folder)],
        env={name: value for name, value in os.environ.items() if not name.startswith("HF_")} | settings | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def filled(hub: Hub) -> Hub:
    files = {f"plain_text/{name}-00000-of-00001.parquet": parquet(seeds) for name, seeds in SPLITS.items()}
    hub.add("dataset", "uoft-cs/cifar10", {"README.md": CIFAR10_CARD, **files})
    hub.add("model", "tester/empty", {"README.md": b"# Nothing yet\n"})
    return hub


SPLITS = {"train": range(20), "test": range(1000, 1006)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("user")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Hub:
    return filled(Hub(xet=tmp_path_factory.mktemp("xet")))


@pytest.fixture(scope="module")
def address(hub: Hub) -> Iterator[str]:
    with serving(hub) as address:
        yield address


@pytest.fixture(scope="module")
def by_xet(folder: Path, address: str) -> dict[str, Any]:
    return client("round_trip", folder, address)


@pytest.fixture(scope="module")
def by_lfs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    hub = filled(Hub())
    with serving(hub) as address:
        told = client("round_trip", tmp_path_factory.mktemp("lfs"), address, HF_HUB_DISABLE_XET="1")
    assert len(hub.blobs) == 3  # the weights of v1, of main, and the mixin's
    return told


@pytest.fixture(params=["by_xet", "by_lfs"])
def told(request: pytest.FixtureRequest) -> dict[str, Any]:
    result: dict[str, Any] = request.getfixturevalue(request.param)
    return result


def test_weights_come_back_to_the_bit(told: dict[str, Any]) -> None:
    assert told["said"] == ""
    assert told["main"] == told["trained"]
    assert told["v1"] != told["main"]
    assert told["by mixin"] == told["pushed by mixin"] != told["main"]


def test_each_way_of_storage_was_taken(by_xet: dict[str, Any], hub: Hub) -> None:
    weights = hub.repositories["model", "tester/small"].at("main")[1]["model.safetensors"]
    assert by_xet["main"]
    assert weights.xet
    assert not hub.blobs


def test_the_data_set_streams(told: dict[str, Any]) -> None:
    assert told["streamed"] == len(SPLITS["test"])


def test_the_card_says_how_to_load_and_what_was_measured(told: dict[str, Any]) -> None:
    assert 'Denoiser.from_pretrained("tester/small")' in told["card"]
    assert "accelerate launch train/denoise.py" in told["card"]
    assert "- uoft-cs/cifar10" in told["card"]
    assert [0 < psnr < 60 for psnr in told["metrics"]] == [True]


def test_what_is_not_there_has_its_type(told: dict[str, Any]) -> None:
    assert told["no repository"] == "RepositoryNotFoundError"
    assert told["no revision"] == "RevisionNotFoundError"
    assert told["no file"] == "RemoteEntryNotFoundError"
    assert told["no weights"] == "WeightsError"


def test_only_what_belongs_there_is_published(by_xet: dict[str, Any], hub: Hub) -> None:
    assert by_xet
    _, files = hub.repositories["model", "tester/small"].at("main")
    assert sorted(files) == ["README.md", "config.json", "model.safetensors", "training.json"]


def test_bundled_weights_go_to_a_private_repository(address: str, folder: Path, hub: Hub) -> None:
    told = client("private", folder, address)
    assert hub.repositories["model", "tester/hidden"].private
    assert told["same"]
    assert 'Denoiser.from_pretrained("tester/hidden")' in told["card"]
    assert told["again"] == ""
    assert told["without a token"] == "RepositoryNotFoundError"
    assert "is public" in told["public already"]
    assert "may not write" in told["not mine"]
    assert "there is no folder" in told["no such weights"]
    assert "has no training.json" in told["without a record"]
    assert ("model", "tester/unmade") not in hub.repositories
    assert not [line for line in told.values() if isinstance(line, str) and line.startswith("error") and "\n" in line]


def test_a_push_that_fails_after_training_leaves_the_weights_on_the_disk(address: str, folder: Path, hub: Hub) -> None:
    hub.conflicts = 1
    told = client("torn", folder, address)
    assert "cannot publish tester/torn" in told["said"]
    assert "are safe in" in told["said"]
    assert "\n" not in told["said"]
    assert told["sent again"] == ""
    assert told["main"] == told["trained"]


@pytest.mark.parametrize(("token", "cause"), [(READER, "may not write"), ("hf_unknown", "does not know this token")])
def test_a_token_that_may_not_write_is_told_before_the_first_step(
    token: str, cause: str, address: str, folder: Path, hub: Hub
) -> None:
    told = client("refused", folder, address, HF_TOKEN=token)
    for line in told.values():
        assert cause in line
        assert "\n" not in line
    assert not (folder / "refused").exists()
    assert ("model", "tester/new") not in hub.repositories
    assert list(hub.repositories["model", "tester/empty"].at("main")[1]) == ["README.md"]


def test_what_is_cached_works_with_the_server_gone(by_xet: dict[str, Any], folder: Path) -> None:
    with serving(Hub()) as address:
        pass
    told = client("alone", folder, address)
    assert (told["v1"], told["main"]) == (by_xet["v1"], by_xet["main"])
    assert "are safe in" in told["published"]
    assert "\n" not in told["published"]
    assert told["pictures"] == ""
