"""Pictures for training: a Hub id or a local folder (of images or Parquet files) to batches of float RGB."""

import contextlib
import dataclasses
import glob
import hashlib
import io
import itertools
import os
import re
import signal
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import numpy as np
import torch
from datasets import Dataset, Image, IterableDataset, Value, load_dataset
from datasets.distributed import split_dataset_by_node
from datasets.exceptions import DatasetsError
from httpx2 import HTTPError
from PIL import Image as PILImage
from PIL import ImageOps
from torch import Tensor
from torch.utils.data import DataLoader

from restore.images import in_srgb
from train.recipe import Recipe, TrainingError

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]  # (H, W, 3)
Record = Mapping[str, bytes | str | None] | None  # of an Image(decode=False) column: "bytes", or "path" of a file or URL
Item = tuple[Tensor, dict[str, str]]  # a picture, uint8 (3, H, W), and the ones skipped on the way to it, with the reasons
VALIDATION_NAMES = ("validation", "valid", "val", "test")
VALIDATION_SIDE = 512  # pixels of a validation picture, so that photographs of any size fit the memory and the log
TABLES = {".parquet", ".arrow", ".csv", ".json", ".jsonl", ".zip", ".tar", ".gz", ".tgz"}  # suffixes of data sets that are files
UNREAD = {".heic", ".heif", ".avif"}  # suffixes of pictures that `datasets` passes over in a folder
HELD_OUT = 0.05  # of a data set without a validation split, about this share
CACHE_PIXELS = 1_500_000_000  # decoded pictures kept in memory: 4.5 GB at most on a machine
FILES_EACH = 8  # of a stream from which on processes share out files; of fewer, unless they divide evenly, each reads all
SHUFFLED = 2_000  # pictures of a stream that a machine holds, undecoded, to draw from
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, ArithmeticError, struct.error, zlib.error)
# No other of Pillow's readers: the one of EPS runs a program.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "F")


class DataError(TrainingError, ValueError):
    """A data set or a picture that cannot be used; the message names it and the cause."""


class Batch(NamedTuple):
    """Pictures (B, 3, H, W) in [0, 1], and the ones skipped on the way to them: reason by picture."""

    clean: Tensor
    skipped: dict[str, str]


def open_splits(dataset: str) -> tuple[Dataset, Dataset]:
    """Training and validation split of a Hub id or local folder, each with one column of undecoded pictures named "image".

    Without a validation split of its own, about a twentieth of the training split is held out, the one that a stream holds out.
    """
    splits = _load(dataset)
    name = _validation_name(splits)
    train = _only_pictures(splits["train"], dataset)
    return _hold_out(train, dataset) if name is None else (train, _only_pictures(splits[name], dataset))


def open_streams(dataset: str, validation_pictures: int) -> tuple[IterableDataset, bool, list[dict[str, Record]]]:
    """As `open_splits`, but the training split is read as it is used, and of the validation split only the first pictures.

    The flag says that the validation pictures are held out of the training stream, which `is_held_out` then tells.
    """
    splits = _load(dataset, streaming=True)
    name = _validation_name(splits)
    train = _only_pictures(splits["train"], dataset)
    rows = _only_pictures(splits[name], dataset) if name else (row for row in train if is_held_out(row["image"]))
    return train, name is None, list(itertools.islice(rows, validation_pictures))


def _load(dataset: str, streaming: bool = False) -> Mapping[str, Any]:
    if not dataset:
        raise DataError("this recipe needs --dataset, a Hub id or a local folder")
    folder = Path(dataset).resolve() if Path(dataset).is_dir() else None
    files = _split_files(folder) if folder else None
    try:
        splits: Mapping[str, Any] = load_dataset(str(folder or dataset), data_files=files, streaming=streaming)
    except (DatasetsError, HTTPError, OSError, ValueError, RuntimeError) as error:  # the last of a data set that is a script
        raise DataError(f"cannot load {dataset}: {' '.join(str(error).split())}") from error
    if "train" not in splits:
        raise DataError(f"{dataset} has no train split, only {', '.join(splits)}")
    return splits


def _split_files(folder: Path) -> dict[str, str] | None:
    """Which files of a folder of images are of which split: those in a subfolder of its name, or all of them for training.

    None where the folder says so itself, by its README.md or as it holds tables or archives. Of images `datasets` would tell by
    words anywhere in a path: a class named "bullet train" would be taken for the training split, and all else left out.
    """
    card = folder / "README.md"
    files = [Path(name) for _, _, names in os.walk(folder) for name in names]
    has_tables = any(file.suffix.lower() in TABLES for file in files if file.stem != "metadata")
    if has_tables or (card.is_file() and "configs:" in card.read_text("utf-8", errors="replace")):
        return None
    unread = [file.name for file in files if file.suffix.lower() in UNREAD]
    if unread and os.environ.get("RANK", "0") == "0":
        print(
            f"note: files of a format that is not read in training, as {unread[0]}, are left out: {len(unread)}", file=sys.stderr
        )
    base = glob.escape(str(folder))
    splits = {name: f"{base}/{name}/**" for name in ("train", *VALIDATION_NAMES) if (folder / name).is_dir()}
    return splits or {"train": f"{base}/**"}


def _validation_name(splits: Mapping[str, Any]) -> str | None:
    return next((name for name in VALIDATION_NAMES if name in splits), None)


def _only_pictures(split: Any, dataset: str) -> Any:
    """The split with its column of pictures alone, found by its type: Image, or else bytes with a path, or else bytes."""
    features = split.features or {}
    by_kind = [[name for name in features if kind(features[name])] for kind in (_is_image, _is_encoded_image, _is_binary)]
    columns = next(filter(None, by_kind), [])
    if len(columns) != 1:
        raise DataError(f"{dataset} must have one image column, not {columns or 'none'} among {list(features)}")
    split = split.select_columns(columns).cast_column(columns[0], Image(decode=False))
    return split if columns == ["image"] else split.rename_column(columns[0], "image")


def _hold_out(train: Dataset, dataset: str) -> tuple[Dataset, Dataset]:
    """The pictures of a split that are trained on, and those that are held out, at least one of each."""
    lots = [_lot(row["image"]) for row in train]
    limit = min(max(HELD_OUT, min(lots, default=0) + 2**-32), max(lots, default=0))
    held_out = [number for number, lot in enumerate(lots) if lot < limit]
    if not held_out:
        raise DataError(f"{dataset} does not hold two pictures that differ, of which one could be held out")
    return train.select([number for number, lot in enumerate(lots) if lot >= limit]), train.select(held_out)


def _is_image(feature: Any) -> bool:
    return isinstance(feature, Image)


def _is_encoded_image(feature: Any) -> bool:
    """As Parquet files hold pictures where nothing says that they are."""
    return isinstance(feature, dict) and set(feature) == {"bytes", "path"}


def _is_binary(feature: Any) -> bool:
    return isinstance(feature, Value) and feature.dtype in ("binary", "large_binary")


def is_held_out(record: Record) -> bool:
    """Whether a picture of a set without a validation split belongs to it; copies of a picture share the answer."""
    return _lot(record) < HELD_OUT


def _lot(record: Record) -> float:
    """A number in [0, 1) that a picture's contents draw.

    Of a file on the net, which would have to be fetched for that, its address draws it, whatever the commit that the address
    names, as the path does of one that cannot be read.
    """
    path = str(record["path"]) if record else "None"
    if record and (isinstance(record["bytes"], bytes) or os.path.isfile(path)):
        with contextlib.suppress(DataError):
            return zlib.crc32(_contents(record)) / 2**32
    return zlib.crc32(re.sub(r"@[0-9a-f]{40}", "", path).encode()) / 2**32


def decode(record: Record, resize: int = 0) -> Pixels:
    """Decode a record to sRGB uint8 (H, W, 3), upright as its EXIF data say.

    The short side is reduced to `resize`, if that is given and smaller. Raises DataError for a picture that is corrupt or grey.
    """
    contents = _contents(record)
    try:
        with PILImage.open(io.BytesIO(contents), formats=FORMATS) as image:
            mode, picture = image.mode, in_srgb(_upright(image)).convert("RGB")
    except (*UNREADABLE, PILImage.DecompressionBombError) as error:
        raise DataError(f"corrupt: {error}") from error
    if mode in GREY_MODES:
        raise DataError("grey")
    if 0 < resize < min(picture.size):
        scale = resize / min(picture.size)
        picture = picture.resize([round(side * scale) for side in picture.size], PILImage.Resampling.LANCZOS)
    return np.asarray(picture)


def _upright(image: PILImage.Image) -> PILImage.Image:
    """As the photographer held it; as it is stored where the EXIF data are broken."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except UNREADABLE:
        return image


def _contents(record: Record) -> bytes:
    """The bytes of the file, wherever it is. Raises DataError where there are none to be had."""
    if record is None:
        raise DataError("missing")
    if isinstance(record["bytes"], bytes):
        return record["bytes"]
    try:
        with fsspec.open(record["path"], "rb") as file:
            contents: bytes = file.read()
    except Exception as error:  # each of fsspec's file systems has exceptions of its own
        raise DataError(f"cannot be read: {error}") from error
    return contents


@dataclasses.dataclass(frozen=True)
class View:
    """How a record becomes a training picture.

    Args:
        patch: side of the crop; 0 takes pictures whole, which then must have one size.
        resize: short side that larger pictures are reduced to first; 0 keeps them.
        turns: flips and quarter turns in all eight ways, half turns where whole pictures are not square; otherwise only left
            to right.
        colour: skip pictures that are grey in all but their format.
        seed: crops and flips are drawn from it and the picture's key.
    """

    patch: int = 0
    resize: int = 0
    turns: bool = False
    colour: bool = False
    seed: int = 0

    def open(self, record: Record) -> Pixels:
        """Decode to RGB (H, W, 3). Raises DataError for a picture that is corrupt, grey or too small."""
        picture = decode(record, self.resize)
        if min(picture.shape[:2]) < self.patch:
            raise DataError(f"smaller than {self.patch} pixels")
        if self.colour and (picture == picture[..., :1]).all():
            raise DataError("grey")
        return picture

    def draw(self, picture: Pixels, *key: int) -> Tensor:
        """A random crop, flipped and turned, uint8 (3, H, W); the same for the same key."""
        random = np.random.default_rng((self.seed, *key))
        if self.patch:
            top, left = (int(random.integers(side - self.patch + 1)) for side in picture.shape[:2])
            picture = picture[top : top + self.patch, left : left + self.patch]
        if random.random() < 0.5:
            picture = picture[:, ::-1]
        if self.turns:
            quarters = int(random.integers(4))
            is_square = picture.shape[0] == picture.shape[1]
            picture = np.rot90(picture, quarters if is_square else quarters // 2 * 2)  # a batch has one size
        return torch.from_numpy(picture.copy()).permute(2, 0, 1)


class Pictures(torch.utils.data.Dataset[Item]):
    """The pictures of a split, in a new order every epoch.

    An item is asked for by a key, epoch * len(split) + index, and is the same whenever and wherever it is asked for. A picture
    that cannot be used gives way to the next one.
    """

    def __init__(self, split: Dataset, view: View):
        self.split, self.view, self.count = split, view, len(split)
        self.cache: dict[int, Pixels] = {}
        self.cache_room = CACHE_PIXELS
        self.skipped: dict[int, str] = {}

    def __getitem__(self, key: int) -> Item:
        first, skipped = key % self.count, dict[str, str]()
        for index in itertools.chain(range(first, self.count), range(first)):
            if (picture := self._picture(index)) is not None:
                return self.view.draw(picture, key), skipped
            skipped[str(index)] = self.skipped[index]
        raise DataError(f"no picture can be used: {tally(skipped)}")

    def _picture(self, index: int) -> Pixels | None:
        """Decoded RGB (H, W, 3), or None for a picture that is skipped."""
        if index in self.skipped or index in self.cache:
            return self.cache.get(index)
        try:
            picture = self.view.open(self.split[index]["image"])
        except DataError as error:
            self.skipped[index] = str(error)
            return None
        if self.cache_room > 0:
            self.cache[index] = picture
            self.cache_room -= picture.size // 3
        return picture

    def batches(self, wanted: range, batch_size: int, workers: int = 0) -> Iterator[Batch]:
        """Some of the batches that are numbered through all epochs and processes."""
        self.cache_room = CACHE_PIXELS // _readers(workers)  # each keeps its own
        sampler = KeySampler(self.count, batch_size, wanted, self.view.seed)
        return iter(_loader(self, workers, batch_sampler=sampler))


class KeySampler(torch.utils.data.Sampler[list[int]]):
    """The keys of the `wanted` batches.

    Every epoch is a permutation drawn from (seed, epoch), and batches run on across epochs.
    """

    def __init__(self, pictures: int, batch_size: int, wanted: range, seed: int = 0):
        self.pictures, self.batch_size, self.wanted, self.seed = pictures, batch_size, wanted, seed

    def __len__(self) -> int:
        return len(self.wanted)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for batch in self.wanted:
            keys = []
            for position in range(batch * self.batch_size, (batch + 1) * self.batch_size):
                if position // self.pictures != epoch:
                    epoch = position // self.pictures
                    order = np.random.default_rng((self.seed, epoch)).permutation(self.pictures)
                keys.append(epoch * self.pictures + int(order[position % self.pictures]))
            yield keys


class PictureStream(torch.utils.data.IterableDataset[Item]):
    """The pictures of a split that is read as it is used, shuffled within a window, in a new order every epoch.

    Processes share the split out, and so do the workers of each, so that none reads another's pictures. A picture that cannot
    be used gives way to the next one; thus the n-th item depends on n alone, and a resumed run reads past n items undecoded.

    Args:
        has_held_out: the validation pictures are among these, and are left out.
    """

    def __init__(self, split: IterableDataset, view: View, has_held_out: bool = False):
        self.split, self.view, self.has_held_out = split, view, has_held_out
        self.rank, self.first, self.window = 0, 0, SHUFFLED
        split_info = (split.info.splits or {}).get("train")
        self.count: int | None = split_info.num_examples if split_info else None

    def __iter__(self) -> Iterator[Item]:
        worker = torch.utils.data.get_worker_info()
        number = worker.id if worker else 0
        useful_epoch, waiting = 0, 0
        skipped: dict[str, str] = {}
        for position, (epoch, record) in enumerate(self._records()):
            if position < self.first:
                useful_epoch = epoch
                continue
            waiting += 1
            try:
                picture = self.view.open(record)
            except DataError as error:
                skipped[_fingerprint(record)] = str(error)
                if epoch > useful_epoch + 1:  # a whole one has passed
                    raise DataError(f"no picture can be used: {tally(skipped)}") from error
                continue
            for place in range(position - waiting + 1, position + 1):
                yield self.view.draw(picture, self.rank, number, place), skipped
            useful_epoch, waiting, skipped = epoch, 0, {}

    def _records(self) -> Iterator[tuple[int, Record]]:
        """The records of every epoch, on and on."""
        for epoch in itertools.count():
            order = np.random.default_rng((self.view.seed, epoch))  # not set_epoch, which workers share and would race for
            is_empty = True
            for row in self.split.shuffle(generator=order, buffer_size=self.window):
                if not (self.has_held_out and is_held_out(row["image"])):
                    is_empty = False
                    yield epoch, row["image"]
            if is_empty:
                raise DataError("the stream has too few pictures for so many processes and workers")

    def batches(self, wanted: range, batch_size: int, workers: int = 0) -> Iterator[Batch]:
        """Some of the batches that are numbered through all processes: one process's, so each is `wanted.step` from the next."""
        world, self.rank, done = wanted.step, wanted.start % wanted.step, wanted.start // wanted.step
        are_many = self.split.num_shards >= FILES_EACH * world
        self.split = split_dataset_by_node(self.split, self.rank, world, "shards" if are_many else "auto")
        workers = min(workers, self.split.num_shards)  # a worker without a shard would have nothing to read
        rounds, ahead = divmod(done, max(1, workers))  # workers take turns, one batch each
        self.first = rounds * batch_size
        self.window = max(1, SHUFFLED // _readers(workers))
        return itertools.islice(_loader(self, workers, batch_size=batch_size), ahead, ahead + len(wanted))


def open_pictures(recipe: Recipe, turns: bool = False, colour: bool = False) -> tuple[Pictures | PictureStream, Any]:
    """What a recipe trains on, and the records that it validates on."""
    view = View(recipe.patch, recipe.resize, turns, colour, recipe.seed)
    if recipe.streaming:
        if recipe.training_pictures:
            raise DataError("a stream has no first pictures, it is shuffled: --training_pictures goes without --streaming")
        stream, has_held_out, records = open_streams(recipe.dataset, recipe.validation_pictures)
        check_validation(records, view, recipe.dataset)
        return PictureStream(stream, view, has_held_out), records
    split, validation = open_splits(recipe.dataset)
    if recipe.training_pictures:
        split = split.select(range(min(recipe.training_pictures, len(split))))
    chosen = validation.shuffle(seed=0, keep_in_memory=True)  # in the order of names the first ones may all be of one class
    records = chosen.select(range(min(recipe.validation_pictures, len(chosen))))
    check_validation(records, view, recipe.dataset)
    return Pictures(split, view), records


def check_validation(records: Any, view: View, dataset: str) -> None:
    """Raise DataError where none of the pictures can be used, which a run would learn only when it validates."""
    skipped: dict[str, str] = {}
    if next(validation_pictures(records, range(len(records)), view, skipped), None) is None:
        raise DataError(f"no validation picture of {dataset} can be used: {tally(skipped) if skipped else 'there is none'}")


def validation_pictures(
    records: Any, indices: Iterable[int], view: View, skipped: dict[str, str]
) -> Iterator[tuple[int, Tensor]]:
    """Those of `records` that can be used, (1, 3, H, W) in [0, 1] with their index; the reasons of others go into `skipped`."""
    for index in indices:
        try:
            yield index, validation_picture(records, index, view)
        except DataError as error:
            skipped[f"validation {index}"] = str(error)


def validation_picture(records: Any, index: int, view: View) -> Tensor:
    """A picture of `records`, of a large one the middle, (1, 3, H, W) in [0, 1]. Raises DataError for one that cannot be used."""
    picture = dataclasses.replace(view, patch=0).open(records[index]["image"])
    for axis in (0, 1):
        spare = max(0, picture.shape[axis] - VALIDATION_SIDE)
        picture = picture.take(range(spare // 2, picture.shape[axis] - spare + spare // 2), axis)
    return to_float([torch.tensor(picture).permute(2, 0, 1)])


def to_float(pictures: list[Tensor]) -> Tensor:
    """Stack uint8 pictures (3, H, W) to (B, 3, H, W) in [0, 1]."""
    sizes = {tuple(picture.shape) for picture in pictures}
    if len(sizes) > 1:
        raise DataError(f"pictures of several sizes need --patch: {sorted(sizes)[:3]}")
    return torch.stack(pictures).float().div_(255)


def tally(skipped: Mapping[str, str]) -> str:
    """How many pictures were skipped for what reason, in a line."""
    reasons = Counter(reason.partition(":")[0] for reason in sorted(skipped.values()))
    return f"skipped {len(skipped)} pictures: " + ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())


def _fingerprint(record: Record) -> str:
    return hashlib.blake2b(repr(record).encode(), digest_size=8).hexdigest()


def _readers(workers: int) -> int:
    """How many of a machine's processes read pictures, where each process of the run has so many workers."""
    return max(1, workers) * int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _loader(pictures: Pictures | PictureStream, workers: int, **how: Any) -> DataLoader[Item]:
    return DataLoader(
        pictures,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_outlive_sigterm,
        pin_memory=torch.cuda.is_available(),
        **how,
    )


def _outlive_sigterm(worker: int) -> None:  # noqa: ARG001  # a DataLoader's
    """A cluster sends it to every process of a run, which still has to come to a step's end and be saved."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _collate(items: list[Item]) -> Batch:
    pictures, skipped = zip(*items, strict=True)
    return Batch(to_float(list(pictures)), {picture: reason for part in skipped for picture, reason in part.items()})
