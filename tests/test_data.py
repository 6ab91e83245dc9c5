"""Data as users have it: columns found by type, bad pictures skipped and counted, streams shared out without repeats."""

import dataclasses
import io
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from corpus import cmyk_profile, display_p3, grey_profile
from datasets import Dataset, Image
from PIL import Image as PILImage
from small_training import SIDE, picture, png, split, train, write_folder
from torch import Tensor

from restore.images import open_picture
from train.data import (
    VALIDATION_SIDE,
    Batch,
    DataError,
    KeySampler,
    Pictures,
    PictureStream,
    View,
    _load,
    decode,
    is_held_out,
    open_pictures,
    open_splits,
    open_streams,
    tally,
    to_float,
    validation_picture,
)
from train.denoise import DenoiseRecipe

datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0  # it waits five seconds after every epoch of a shuffled stream
ENCODED = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def in_format(kind: str, image: PILImage.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def flat(number: int) -> bytes:
    """A picture that says its number: red / 8 + 32 * (green / 8), in levels of 8."""
    return in_format("PNG", PILImage.new("RGB", (SIDE, SIDE), (number % 32 * 8, number // 32 * 8, 200)))


def numbers(batches: list[Batch]) -> list[int]:
    levels = torch.cat([batch.clean for batch in batches])[:, :2, 0, 0].mul(255 / 8).round().int()
    return [int(red + 32 * green) for red, green in levels]


def write_parquet(folder: Path, files: list[bytes], shards: int = 1, name: str = "train", column: str = "image") -> Path:
    folder.mkdir(exist_ok=True)
    for shard in range(shards):
        rows = [{"bytes": file, "path": None} for file in files[shard::shards]]
        table = pa.table({column: pa.array(rows, type=ENCODED), "label": list(range(len(rows)))})
        pq.write_table(table, folder / f"{name}-{shard:05d}-of-{shards:05d}.parquet")
    return folder


GREY = in_format("PNG", PILImage.new("L", (SIDE, SIDE), 90))
GREY_IN_COLOUR = in_format("PNG", PILImage.new("RGB", (SIDE, SIDE), (90, 90, 90)))
CORRUPT = png(1)[:60]
SMALL = in_format("PNG", PILImage.new("RGB", (3, 40), (1, 2, 3)))


@pytest.mark.parametrize("kind", ["declared", "encoded", "binary"])
def test_the_column_is_found_by_its_type(kind: str, tmp_path: Path) -> None:
    files = [png(seed) for seed in range(40)]
    if kind == "declared":
        Dataset.from_dict({"id": list(range(40)), "Photo": [{"bytes": f, "path": None} for f in files]}).cast_column(
            "Photo", Image()
        ).to_parquet(tmp_path / "train.parquet")
    elif kind == "encoded":
        write_parquet(tmp_path, files, column="pixels")
    else:
        pq.write_table(pa.table({"jpg": pa.array(files, pa.binary()), "label": list(range(40))}), tmp_path / "train.parquet")
    training, validation = open_splits(str(tmp_path))
    assert training.column_names == validation.column_names == ["image"]
    assert len(training) + len(validation) == 40
    assert len(validation) > 0
    shown = {decode(row["image"]).tobytes() for part in (training, validation) for row in part}
    assert shown == {np.asarray(picture(seed)).tobytes() for seed in range(40)}


@pytest.mark.parametrize(
    ("column", "splits", "validation"),
    [
        ("img", ["train", "test"], "test"),
        ("image", ["train", "validation", "test"], "validation"),
        ("image", ["train", "valid"], "valid"),
    ],
    ids=["uoft-cs/cifar10", "benjamin-paine/imagenet-1k-64x64", "zh-plus/tiny-imagenet"],
)
def test_the_named_sets_open_as_the_hub_lays_them_out(column: str, splits: list[str], validation: str, tmp_path: Path) -> None:
    for number, name in enumerate(splits):
        write_parquet(tmp_path, [flat(number)] * 3, name=name, column=column)
    files = "".join(f"  - {{split: {name}, path: {name}-*}}\n" for name in splits)
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n")
    for number, rows in zip((0, splits.index(validation)), open_splits(str(tmp_path)), strict=True):
        assert [decode(row["image"])[0, 0, 0] // 8 for row in rows] == [number] * 3


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("names", "counts"),
    [
        (["train_interior/1.png", "test pit/2.png", "dev/3.png", "val thorens.png"], {"train": 4}),
        (["train/a/1.png", "train/val thorens/2.png", "val/train_interior/3.png"], {"train": 2, "val": 1}),
        (["train/1.png", "metadata/eval.png"], {"train": 1}),
    ],
)
def test_words_in_the_names_of_pictures_make_no_splits(
    names: list[str], counts: dict[str, int], streaming: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "photos [1]"
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(flat(number))
    assert {name: len(list(split)) for name, split in _load(str(folder), streaming).items()} == counts


@pytest.mark.parametrize(("rank", "is_told"), [("0", True), ("1", False)])
def test_pictures_of_a_folder_that_training_cannot_read_are_told_of(
    rank: str, is_told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", rank)
    folder = write_folder(tmp_path / "pictures", train=3, validation=2)
    for name in ("IMG_1.HEIC", "b.avif"):
        (folder / "train" / name).write_bytes(flat(1))
    training, _ = open_splits(str(folder))
    assert len(training) == 3
    assert ("are left out: 2" in capsys.readouterr().err) == is_told


@pytest.mark.parametrize("profile", [None, display_p3(), b"broken", display_p3()[:300], grey_profile(), cmyk_profile()])
def test_a_photograph_is_as_it_looks_in_training_as_in_the_app(profile: bytes | None) -> None:
    tags = PILImage.Exif()
    tags[0x0112] = 6  # turned
    buffer = io.BytesIO()
    stored = picture(3).resize((24, 16))
    stored.save(buffer, "PNG", exif=tags, icc_profile=profile)
    pixels = decode({"bytes": buffer.getvalue(), "path": None})
    seen = open_picture(buffer.getvalue()).rgb[0].permute(1, 2, 0).mul(255).round().to(torch.uint8).numpy()
    assert np.array_equal(pixels, seen)
    assert np.array_equal(pixels, np.rot90(np.asarray(stored), -1)) == (profile != display_p3())


@pytest.mark.parametrize("streaming", [False, True])
def test_a_set_that_cannot_be_validated_on_is_refused_before_the_run(streaming: bool, tmp_path: Path) -> None:
    folder = write_parquet(tmp_path, [flat(number) for number in range(9)])
    write_parquet(folder, [GREY, CORRUPT], name="validation")
    with pytest.raises(DataError, match=r"no validation picture of .* can be used: skipped 2 pictures: 1 corrupt, 1 grey"):
        open_pictures(DenoiseRecipe(dataset=str(folder), streaming=streaming))


def test_whole_pictures_of_one_size_keep_it() -> None:
    view = View(turns=True)
    wide = np.zeros((12, 16, 3), np.uint8)
    assert {tuple(view.draw(wide, key).shape) for key in range(20)} == {(3, 12, 16)}


def test_without_one_column_of_pictures_the_error_names_the_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b"], "label": [1, 2]}), tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"one image column.*text.*label"):
        open_splits(str(tmp_path))


def test_bad_pictures_are_skipped_and_counted() -> None:
    files = [png(0), GREY, CORRUPT, SMALL, png(1), b"", GREY_IN_COLOUR]
    pictures = Pictures(split(files), View(patch=8, colour=True))
    batches = list(pictures.batches(range(6), batch_size=7))
    assert len(batches) == 6
    skipped = {name: reason for batch in batches for name, reason in batch.skipped.items()}
    assert tally(skipped) == "skipped 5 pictures: 2 corrupt, 2 grey, 1 smaller than 8 pixels"


def test_bad_pictures_in_a_parquet_row_without_a_picture(tmp_path: Path) -> None:
    rows = [row for seed in range(30) for row in ({"bytes": png(seed), "path": None}, None)]
    pq.write_table(pa.table({"image": pa.array(rows, type=ENCODED)}), tmp_path / "train.parquet")
    training, _ = open_splits(str(tmp_path))
    batches = list(Pictures(training, View()).batches(range(3), batch_size=len(training)))
    assert {reason for batch in batches for reason in batch.skipped.values()} == {"missing"}


def test_nothing_but_bad_pictures_is_an_error() -> None:
    with pytest.raises(DataError, match="2 grey"):
        next(Pictures(split([GREY, GREY]), View()).batches(range(1), 1))


def test_skipped_pictures_do_not_stop_a_run_and_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_folder(tmp_path / "data", train=8, validation=3)
    (data / "train/9998.png").write_bytes(GREY)
    (data / "train/9999.png").write_bytes(CORRUPT)
    (data / "validation/9999.png").write_bytes(CORRUPT)
    recipe = DenoiseRecipe(dataset=str(data))
    pictures, validation = open_pictures(recipe)
    train(tmp_path / "run", data=(pictures, validation), batch_size=10)
    assert "skipped 3 pictures: 2 corrupt, 1 grey" in capsys.readouterr().out


def test_an_epoch_shows_each_picture_once_and_the_next_in_another_order() -> None:
    pictures = Pictures(split([flat(number) for number in range(30)]), View())
    first, second = (numbers(list(pictures.batches(range(start, start + 10), batch_size=3))) for start in (0, 10))
    assert sorted(first) == sorted(second) == list(range(30))
    assert first != second


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_batches_of_one(processes: int) -> None:
    whole = list(KeySampler(50, 4, range(30), seed=3))
    shares = [list(KeySampler(50, 4, range(rank, 30, processes), seed=3)) for rank in range(processes)]
    assert [shares[batch % processes][batch // processes] for batch in range(30)] == whole


def test_workers_do_not_change_what_is_seen() -> None:
    def seen(workers: int) -> Tensor:
        pictures = Pictures(split([png(seed, 24) for seed in range(10)]), View(patch=8, turns=True))
        return torch.cat([batch.clean for batch in pictures.batches(range(6), 5, workers)])

    assert torch.equal(seen(0), seen(2))


def test_loaders_outlive_the_signal_to_stop_so_that_the_run_can_end_its_step() -> None:
    pictures = Pictures(split([flat(number) for number in range(30)]), View())
    batches = pictures.batches(range(10), 3, workers=2)
    first = [next(batches), next(batches)]  # one of each, so that both have started
    loaders = multiprocessing.active_children()
    assert len(loaders) == 2
    for loader in loaders:
        loader.terminate()  # by SIGTERM
    assert len(set(numbers([*first, *batches]))) == 30


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 numbered pictures, two of them grey, in four files, and a validation split."""
    files = [flat(number) for number in range(1, 121)]
    files[17:17] = [GREY]
    files[88:88] = [CORRUPT]
    folder = write_parquet(tmp_path_factory.mktemp("stream"), files, shards=4)
    return write_parquet(folder, [flat(number) for number in range(200, 210)], name="validation")


def stream(folder: Path) -> PictureStream:
    training, has_held_out, _ = open_streams(str(folder), 4)
    return PictureStream(training, View(seed=5), has_held_out)


@pytest.mark.parametrize(("processes", "workers"), [(1, 0), (2, 0), (3, 0), (8, 0), (2, 2)])
def test_a_stream_is_shared_out_without_repeats(processes: int, workers: int, shards: Path) -> None:
    size = 6 // processes or 1
    seen: list[int] = []
    for rank in range(processes):
        batches = list(stream(shards).batches(range(rank, 72 // size, processes), size, workers))
        seen += numbers(batches)
    assert len(seen) == 72
    counts = Counter(seen)
    assert sum(count > 1 for count in counts.values()) <= 2  # a picture that stands in for a skipped one
    assert max(counts.values()) <= 2


@pytest.mark.parametrize(("files", "read"), [(5, {5}), (17, {8, 9})])
def test_processes_share_out_the_files_of_a_stream_that_has_many(files: int, read: set[int], tmp_path: Path) -> None:
    """Else each of them would fetch all of a large data set from the Hub, as with few files each has to."""
    folder = write_parquet(tmp_path, [flat(number) for number in range(170)], shards=files)
    write_parquet(folder, [flat(170)], name="validation")
    for rank in range(2):
        seen = numbers(list(stream(folder).batches(range(rank, 40, 2), 4)))  # 80 pictures, less than an epoch of either
        assert len({number % files for number in seen}) in read


def test_a_stream_shows_every_picture_and_counts_the_skipped(shards: Path) -> None:
    batches = list(stream(shards).batches(range(61), 4))  # two epochs of 122
    assert set(numbers(batches)) == set(range(1, 121))
    skipped = {name: reason for batch in batches for name, reason in batch.skipped.items()}
    assert Counter(reason.partition(":")[0] for reason in skipped.values()) == {"grey": 1, "corrupt": 1}


@pytest.mark.parametrize("workers", [0, 3])
def test_a_stream_resumes_where_it_was(workers: int, shards: Path) -> None:
    whole = [batch.clean for batch in stream(shards).batches(range(1, 90, 2), 3, workers)]
    for done in (4, 23):
        rest = [batch.clean for batch in stream(shards).batches(range(1 + 2 * done, 90, 2), 3, workers)]
        assert torch.equal(torch.cat(rest), torch.cat(whole[done:]))


def test_a_slow_worker_does_not_change_what_is_seen(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seen() -> Tensor:
        return torch.cat([batch.clean for batch in stream(shards).batches(range(8), 40, workers=2)])  # over two epochs

    before, read = seen(), datasets.IterableDataset.__iter__

    def read_late(split: datasets.IterableDataset) -> Iterator[dict[str, Any]]:
        worker = torch.utils.data.get_worker_info()
        time.sleep(0.4 * (worker.id if worker else 0))
        return read(split)

    monkeypatch.setattr(datasets.IterableDataset, "__iter__", read_late)
    assert torch.equal(seen(), before)


def test_a_stream_of_bad_pictures_ends_with_an_error(tmp_path: Path) -> None:
    folder = write_parquet(tmp_path / "grey", [GREY] * 5)
    write_parquet(folder, [GREY], name="validation")
    with pytest.raises(DataError, match="no picture can be used"):
        next(stream(folder).batches(range(1), 2))


def test_a_stream_without_a_validation_split_holds_pictures_out(tmp_path: Path) -> None:
    folder = write_parquet(tmp_path / "one", [flat(number) for number in range(1, 201)], shards=2)
    training, has_held_out, records = open_streams(str(folder), 100)
    held_out = {tuple(decode(record["image"])[0, 0, :2] // 8) for record in records}
    assert 2 <= len(held_out) <= 30
    seen = numbers(list(PictureStream(training, View(), has_held_out).batches(range(100), 4)))
    assert not {(number % 32, number // 32) for number in seen} & held_out
    assert len(set(seen)) == 200 - len(held_out)


def test_the_same_pictures_are_held_out_whether_streamed_or_not_and_their_copies_too(tmp_path: Path) -> None:
    folder = write_parquet(tmp_path, [flat(number) for number in range(200)] * 2, shards=2)
    training, held_out = ([decode(row["image"]).tobytes() for row in split] for split in open_splits(str(folder)))
    streamed = {decode(record["image"]).tobytes() for record in open_streams(str(folder), 400)[2]}
    assert set(held_out) == streamed
    assert set(training).isdisjoint(held_out)
    assert 2 * 2 <= len(held_out) <= 2 * 30
    assert len(training) + len(held_out) == 400


@pytest.mark.parametrize("count", [2, 3, 5])
def test_of_the_smallest_set_something_is_held_out_and_something_is_not(count: int, tmp_path: Path) -> None:
    for start in range(0, 50, count):
        folder = write_parquet(tmp_path / str(start), [flat(number) for number in range(start, start + count)])
        assert min(map(len, open_splits(str(folder)))) >= 1
    with pytest.raises(DataError, match="two pictures that differ"):
        open_splits(str(write_parquet(tmp_path / "copies", [flat(1)] * count)))


def test_another_commit_of_a_data_set_holds_out_the_same_files() -> None:
    def held_out(commit: str) -> list[bool]:
        paths = [f"hf://datasets/someone/photos@{commit * 40}/train/{number}.jpg" for number in range(2000)]
        return [is_held_out({"bytes": None, "path": path}) for path in paths]

    assert held_out("a") == held_out("b")
    assert 60 < sum(held_out("a")) < 140


def test_what_a_stream_holds_out_does_not_depend_on_where_it_lies(tmp_path: Path) -> None:
    for number in range(60):
        for place in ("here", "there"):
            (tmp_path / place).mkdir(exist_ok=True)
            (tmp_path / place / f"{number}.png").write_bytes(flat(number))
    held = [
        {bytes(decode(record["image"])[0, 0]) for record in open_streams(str(tmp_path / place), 60)[2]}
        for place in ("here", "there")
    ]
    assert held[0] == held[1]
    assert held[0]


def test_a_folder_of_pictures_streams(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pictures", train=9, validation=3)
    pictures, validation = open_pictures(DenoiseRecipe(dataset=str(folder), streaming=True, validation_pictures=2))
    batches = list(pictures.batches(range(3), 3))
    assert len({batch.clean[index].numpy().tobytes() for batch in batches for index in range(3)}) == 9
    assert [decode(record["image"]).tobytes() for record in validation] == [
        np.asarray(picture(seed)).tobytes() for seed in (1000, 1001)
    ]


def test_validation_takes_the_same_pictures_from_all_over_the_split(tmp_path: Path) -> None:
    folder = write_parquet(tmp_path, [flat(0)])
    write_parquet(folder, [flat(number) for number in range(100)], name="validation")
    recipe = DenoiseRecipe(dataset=str(folder), validation_pictures=20)
    first, again = ([record["image"]["bytes"] for record in open_pictures(recipe)[1]] for _ in range(2))
    assert first == again
    assert len(set(first)) == 20
    in_the_first_half = set(first) & {flat(number) for number in range(50)}
    assert 4 <= len(in_the_first_half) <= 16


def test_of_a_large_validation_picture_the_middle_is_taken() -> None:
    large = np.random.default_rng(0).integers(0, 256, (VALIDATION_SIDE + 101, 30, 3), dtype=np.uint8)
    records = split([in_format("PNG", PILImage.fromarray(large))])
    middle = validation_picture(records, 0, View(patch=8))
    assert torch.equal(middle, to_float([torch.from_numpy(large[50 : 50 + VALIDATION_SIDE]).permute(2, 0, 1)]))


def test_a_run_can_keep_to_the_first_pictures(tmp_path: Path) -> None:
    folder = write_parquet(tmp_path, [flat(number) for number in range(9)])
    write_parquet(folder, [flat(9)], name="validation")
    recipe = DenoiseRecipe(dataset=str(folder), training_pictures=4)
    pictures, _ = open_pictures(recipe)
    assert set(numbers(list(pictures.batches(range(6), 4)))) == {0, 1, 2, 3}
    with pytest.raises(DataError, match="training_pictures"):
        open_pictures(dataclasses.replace(recipe, streaming=True))
