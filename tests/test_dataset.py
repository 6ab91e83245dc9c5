"""A data set is restored to the same Parquet files, row for row, whoever does it and however often it was stopped."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archive import contents, save_network, save_pictures
from datasets import Dataset, Features, Image, Value, load_dataset
from hub_server import READER, WRITER, Hub, serving
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image as PILImage

from restore import dataset
from restore.__main__ import main
from restore.engine import Done
from restore.images import open_picture, reading, suffix_of
from restore.models.denoiser import Denoiser
from restore.pipeline import denoise

ROWS = 7
BROKEN = 4  # the row whose picture is none


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_network(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pictures with a label each, in two files, one of them broken."""
    folder = tmp_path_factory.mktemp("scans")
    records = [{"bytes": path.read_bytes(), "path": path.name} for path in save_pictures(folder / "pictures", ROWS)]
    records[BROKEN]["bytes"] = b"no picture"
    features = Features({"scan": Image(decode=False), "year": Value("int32")})
    rows = Dataset.from_dict({"scan": records, "year": [1900 + number for number in range(ROWS)]}, features)
    rows = rows.cast_column("scan", Image())
    for index in range(2):
        rows.shard(2, index, contiguous=True).to_parquet(folder / "archive" / f"train-{index:05d}-of-00002.parquet")
    return folder / "archive"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "PART_ROWS", 2)


def restore_share(scans: Path, out: Path, network: str, monkeypatch: pytest.MonkeyPatch, rank: int = 0, count: int = 1) -> int:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(count))
    return main(["denoise", "--dataset", str(scans), "-o", str(out), "--model", network, "--processes", "1"])


def test_rows_keep_their_order_and_their_other_columns(
    scans: Path, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert restore_share(scans, tmp_path, network, monkeypatch) == 1  # one picture is broken
    rows = load_dataset(str(tmp_path), split="train").cast_column("scan", Image(decode=False))
    before = load_dataset(str(scans), split="train").cast_column("scan", Image(decode=False))
    assert rows["year"] == before["year"]
    assert [bool(cause) for cause in rows["failure"]] == [number == BROKEN for number in range(ROWS)]
    assert rows[BROKEN]["scan"] is None
    model = Denoiser.from_pretrained(network)
    for index in (0, ROWS - 1):
        expected = open_picture(denoise(before[index]["scan"]["bytes"], model)).rgb
        assert open_picture(rows[index]["scan"]["bytes"]).rgb.equal(expected)


@pytest.mark.parametrize("count", [2, 3])
def test_shares_make_the_same_files(
    scans: Path, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    restore_share(scans, tmp_path / "alone", network, monkeypatch)
    for rank in range(count):
        restore_share(scans, tmp_path / "shared", network, monkeypatch, rank, count)
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


def test_what_is_missing_is_done_and_nothing_else(
    scans: Path, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_share(scans, tmp_path, network, monkeypatch)
    whole = contents(tmp_path)
    kept, lost, *_ = sorted(tmp_path.glob("*.parquet"))
    lost.unlink()
    os.utime(kept, (0, 0))
    assert restore_share(scans, tmp_path, network, monkeypatch, 0, 1) in (0, 1)
    assert contents(tmp_path) == whole
    assert kept.stat().st_mtime == 0


def test_a_file_that_is_done_is_not_read_again(
    scans: Path, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one whose rows fill its parts: of four and three rows, parts of two."""
    restore_share(scans, tmp_path, network, monkeypatch)
    monkeypatch.setattr(dataset.Source, "read", lambda *_: pytest.fail("read again"))
    capsys.readouterr()
    assert restore_share(scans, tmp_path, network, monkeypatch) == 0
    assert capsys.readouterr().err == "note: 7 rows are there already\n0 done, 7 skipped, 0 failed\n"


def test_what_a_stop_leaves_out_is_told(
    scans: Path, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop_after_three(rows: Any, _: Any, settle: Any, *__: Any) -> None:
        for row, _ in zip(rows, range(3), strict=False):
            settle(row, lambda: Done({"bytes": b"", "path": None}, ()))
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset.engine, "run", stop_after_three)
    assert restore_share(scans, tmp_path, network, monkeypatch) == 130
    assert len(list(tmp_path.glob("*.parquet"))) == 1
    assert "note: rows left out with unfinished files, to be done again: 1\n" in capsys.readouterr().err


def test_no_part_is_longer_than_what_a_dying_process_may_lose(
    scans: Path, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_share(scans, tmp_path, network, monkeypatch)
    lengths = [pq.read_metadata(path).num_rows for path in sorted(tmp_path.glob("*.parquet"))]
    assert max(lengths) == dataset.PART_ROWS
    assert sum(lengths) == ROWS


def test_a_picture_that_cannot_be_fetched_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class TimeoutOnTheWayError(Exception):
        """No OSError, as those of HTTP clients."""

    def fetch(*_: Any) -> None:
        raise TimeoutOnTheWayError

    waits: list[float] = []
    monkeypatch.setattr(dataset.fsspec, "open", fetch)
    monkeypatch.setattr(dataset.time, "sleep", waits.append)
    task = dataset.RowTask(work=denoise, max_pixels=100, keep_gps=False)
    with pytest.raises(dataset.DataError, match=r"cannot read https://h/a\.png: TimeoutOnTheWayError"):
        task.read(dataset.Row(file=0, number=0, content=None, path="https://h/a.png"))
    assert waits == [1, 2]  # a server may only have been busy
    with pytest.raises(dataset.DataError, match=r"cannot read /disk/a\.png"):
        task.read(dataset.Row(file=0, number=0, content=None, path="/disk/a.png"))
    assert waits == [1, 2]


@pytest.mark.parametrize(
    ("path", "cause"), [("/dev/zero", "cannot read /dev/zero: it is no file"), ("memory://endless", "bytes; the limit")]
)
def test_what_never_ends_is_not_read_to_the_end(path: str, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            assert size >= 0
            return bytes(size)

    for module in (dataset, reading):
        monkeypatch.setattr(module, "MAX_BYTES", 1000)
    monkeypatch.setattr(dataset.fsspec, "open", lambda *_: Endless())
    task = dataset.RowTask(work=denoise, max_pixels=100, keep_gps=False)
    with pytest.raises(ValueError, match=cause):
        task.read(dataset.Row(file=0, number=0, content=None, path=path))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"RateLimit": '"api";r=0;t=120'}, 120), ({"Retry-After": "90"}, 90), ({}, dataset.QUOTA_SECONDS)],
)
def test_a_hub_that_takes_no_more_commits_is_waited_for(
    headers: dict[str, str], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    response = httpx2.Response(429, headers=headers, request=httpx2.Request("POST", "https://h"))
    answers = iter([HfHubHTTPError("128 commits an hour", response=response), None])
    assert committed(answers, monkeypatch) == [seconds]


@pytest.mark.parametrize(
    ("path", "result"),
    [("a/b.JPG", "b.JPG"), ("b.bmp", "b.png"), ("zip://c.webp::/photos/train.zip", "c.webp"), ("https://h/d.heic", "d.png")],
)
def test_a_picture_that_comes_by_its_path_keeps_name_and_format(path: str, result: str) -> None:
    task = dataset.RowTask(work=denoise, max_pixels=100, keep_gps=False)
    record = task.write(PILImage.new("RGB", (4, 3)), dataset.Row(file=0, number=0, content=None, path=path))
    assert record["path"] == result
    assert isinstance(record["bytes"], bytes)
    assert Path(result).suffix.lower() == suffix_of(record["bytes"])


def test_the_order_in_which_pictures_are_done_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "GROUP_BYTES", 100)
    schema = Features({"image": Image(), "failure": Value("string")}).arrow_schema
    files = []
    for order in (range(6), reversed(range(6))):
        store = dataset.Folder(tmp_path / str(len(files)))
        part = dataset.Part(store.writing("part.parquet"), schema, "image", 0)
        part.originals = {number: pa.table({"image": pa.array([None], schema.field(0).type)}) for number in range(6)}
        for number in order:
            part.add(number, {"bytes": bytes([number]) * 60, "path": None}, "")
        part.close()
        files.append(store.path / "part.parquet")
    assert files[0].read_bytes() == files[1].read_bytes()
    assert pq.read_metadata(files[0]).num_row_groups > 1


def test_another_place_on_the_hub_is_refused() -> None:
    with pytest.raises(dataset.DataError, match="hf://datasets/USER/NAME"):
        dataset.open_store("hf://USER/RESTORED")


@pytest.mark.parametrize("name", ["", "restored"])
def test_results_within_the_data_set_are_refused(scans: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = sorted(scans.rglob("*"))
    assert main(["denoise", "--dataset", str(scans), "-o", str(scans / name)]) == 2
    assert "lies in the data set" in capfd.readouterr().err
    assert sorted(scans.rglob("*")) == before
    assert main(["denoise", "--dataset", "tester/scans", "-o", "hf://datasets/tester/scans"]) == 2
    assert "lies in the data set tester/scans" in capfd.readouterr().err


def test_a_data_set_without_pictures_is_refused(tmp_path: Path, network: str, capfd: pytest.CaptureFixture[str]) -> None:
    Dataset.from_dict({"year": [1900]}).to_parquet(tmp_path / "years" / "train.parquet")
    assert main(["denoise", "--dataset", str(tmp_path / "years"), "-o", str(tmp_path / "out"), "--model", network]) == 2
    assert "must have one column of type Image" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_from_the_hub_to_the_hub_and_on_where_it_ended(
    scans: Path, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "PART_ROWS", 100)  # the other process has it so
    restore_share(scans, tmp_path / "here", network, monkeypatch)
    expected = {f"data/{name}": content for name, content in contents(tmp_path / "here").items()}
    hub = Hub()
    hub.add("dataset", "tester/scans", {f"data/{path.name}": path.read_bytes() for path in scans.glob("*.parquet")})
    with serving(hub) as address:
        told = restore_on_the_hub(address, network, tmp_path)
        assert "file 1 row 0: this is not a picture" in told
        restored = hub.repositories["dataset", "tester/restored"]
        assert restored.private
        assert parquet_of(hub) == expected
        commits = len(restored.commits)
        _, there = restored.at("main")
        restored.commit({name: file for name, file in there.items() if name != min(expected)})
        hub.conflicts = 2
        assert "4 done, 3 skipped" in restore_on_the_hub(address, network, tmp_path)
    assert parquet_of(hub) == expected
    assert len(restored.commits) == commits + 2  # what took the file away, and what brought it back
    assert hub.conflicts == 0


def restore_on_the_hub(address: str, network: str, folder: Path, token: str = WRITER, codes: tuple[int, ...] = (0, 1)) -> str:
    """Restore tester/scans to tester/restored in a process of its own, and return what it says."""
    arguments = ["denoise", "--dataset", "tester/scans", "-o", "hf://datasets/tester/restored", "--model", network]
    settings = {"HF_ENDPOINT": address, "HF_HOME": str(folder / "cache"), "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "restore", *arguments, "--processes", "1"],
        env=environment | settings,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in codes, done.stderr  # 1 where the broken picture is met
    return done.stderr


def test_a_token_that_may_not_write_is_told_before_the_first_picture(scans: Path, network: str, tmp_path: Path) -> None:
    hub = Hub()
    hub.add("dataset", "tester/scans", {f"data/{path.name}": path.read_bytes() for path in scans.glob("*.parquet")})
    hub.add("dataset", "tester/restored", {})
    with serving(hub) as address:
        said = restore_on_the_hub(address, network, tmp_path, READER, (2,))
    assert "error: " in said
    assert "no write permission" in said
    assert not hub.repositories["dataset", "tester/restored"].at("main")[1]


def parquet_of(hub: Hub) -> dict[str, bytes]:
    """The Parquet files of the restored data set."""
    _, files = hub.repositories["dataset", "tester/restored"].at("main")
    return {name: hub.blobs[file.sha256] for name, file in files.items() if name.endswith(".parquet")}


def test_a_hub_that_cannot_be_reached_is_told(
    scans: Path, network: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise httpx2.ConnectError("no route to host")

    monkeypatch.setattr(dataset.HfApi, "create_repo", fail)
    output = "hf://datasets/tester/restored"
    assert main(["denoise", "--dataset", str(scans), "-o", output, "--model", network, "--processes", "1"]) == 2
    assert "error: no connection to the Hub: no route to host" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [httpx2.ConnectError, RuntimeError])  # the latter of the Xet client
def test_a_connection_that_comes_back_is_waited_for(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    assert committed(iter([kind("no route to host"), None]), monkeypatch) == [1]


def committed(answers: Iterator[Exception | None], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Commit a file to a Hub that gives these answers, all of them; returns the seconds waited for between them."""
    waits: list[float] = []

    def upload(*_: Any, **__: Any) -> None:
        if (error := next(answers)) is not None:
            raise error

    monkeypatch.setattr(dataset.HfApi, "upload_file", upload)
    monkeypatch.setattr(dataset.time, "sleep", waits.append)
    with dataset.HubDataset("tester/restored").writing("part.parquet") as file:
        file.write(b"rows")
    assert next(answers, "sent") == "sent"
    return waits
