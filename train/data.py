"""Pictures for training: a Hub id or a local folder (of images or Parquet files) to batches of float RGB."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, DatasetDict, Image, load_dataset
from PIL import Image as PILImage
from torch import Tensor
from torch.utils.data import DataLoader

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]  # (H, W, 3)
VALIDATION_NAMES = ("validation", "valid", "val", "test")
HELD_OUT = 0.05  # share of a data set without a validation split
CACHE_PIXELS = 1_500_000_000  # decoded pictures kept in memory: 4.5 GB at most


class DataError(ValueError):
    """A data set that cannot be used; the message names it and the cause."""


def open_splits(dataset: str) -> tuple[Dataset, Dataset]:
    """Training and validation split of a Hub id or local folder, each with one column of undecoded pictures named "image".

    Without a validation split of its own, a fixed twentieth of the training split is held out.
    """
    splits = load_dataset(str(Path(dataset).resolve()) if Path(dataset).is_dir() else dataset)
    if not isinstance(splits, DatasetDict) or "train" not in splits:
        raise DataError(f"{dataset} has no train split, only {', '.join(splits)}")
    name = next((name for name in VALIDATION_NAMES if name in splits), None)
    if name is None:
        splits, name = splits["train"].train_test_split(HELD_OUT, seed=0), "test"
    return _only_pictures(splits["train"], dataset), _only_pictures(splits[name], dataset)


def _only_pictures(split: Dataset, dataset: str) -> Dataset:
    columns = [name for name, feature in split.features.items() if isinstance(feature, Image)]
    if len(columns) != 1:
        raise DataError(f"{dataset} must have one image column, not {columns or 'none'} among {list(split.features)}")
    if columns != ["image"]:
        split = split.rename_column(columns[0], "image")
    return split.select_columns("image").cast_column("image", Image(decode=False))


class Pictures(torch.utils.data.Dataset[Tensor]):
    """Random crops of the pictures of a split, uint8 (3, H, W).

    An item is asked for by a key, epoch * len(split) + index, and is the same whenever and wherever it is asked for: crop and
    flips are drawn from (seed, key). A picture that is corrupt, grey or too small gives way to the next one.

    Args:
        patch: side of the crop; 0 takes pictures whole, which then must have one size.
        resize: short side that larger pictures are reduced to first; 0 keeps them.
        turns: flips and quarter turns in all eight ways; otherwise only left to right.
    """

    def __init__(self, split: Dataset, patch: int = 0, resize: int = 0, turns: bool = False, seed: int = 0):
        self.split, self.patch, self.resize, self.turns, self.seed = split, patch, resize, turns, seed
        self.cache: dict[int, Pixels] = {}
        self.cached_pixels = 0
        self.skipped: dict[int, str] = {}

    def __getitem__(self, key: int) -> Tensor:
        index = key % len(self.split)
        for _ in range(len(self.split)):
            if (picture := self._picture(index)) is not None:
                return self._augment(picture, np.random.default_rng((self.seed, key)))
            index = (index + 1) % len(self.split)
        raise DataError(f"no picture can be used: {self.skipped}")

    def _picture(self, index: int) -> Pixels | None:
        """Decoded RGB (H, W, 3), or None for a picture that is skipped."""
        if index in self.skipped or index in self.cache:
            return self.cache.get(index)
        try:
            picture = decode(self.split[index]["image"], self.resize)
            if min(picture.shape[:2]) < self.patch:
                raise DataError(f"smaller than {self.patch} pixels")
        except DataError as error:
            self.skipped[index] = str(error)
            return None
        if self.cached_pixels < CACHE_PIXELS:
            self.cache[index] = picture
            self.cached_pixels += picture.size // 3
        return picture

    def _augment(self, picture: Pixels, draw: np.random.Generator) -> Tensor:
        if self.patch:
            top, left = (int(draw.integers(side - self.patch + 1)) for side in picture.shape[:2])
            picture = picture[top : top + self.patch, left : left + self.patch]
        if draw.random() < 0.5:
            picture = picture[:, ::-1]
        if self.turns:
            picture = np.rot90(picture, int(draw.integers(4)))
        return torch.from_numpy(picture.copy()).permute(2, 0, 1)


def decode(record: dict[str, bytes | str | None], resize: int = 0) -> Pixels:
    """Decode a record of an Image(decode=False) column to RGB uint8 (H, W, 3).

    The short side is reduced to `resize`, if that is given and smaller. Raises DataError for a picture that is corrupt or grey.
    """
    source = record["bytes"]
    try:
        with PILImage.open(io.BytesIO(source) if isinstance(source, bytes) else str(record["path"])) as image:
            if image.mode in ("1", "L", "LA", "I", "I;16", "F"):
                raise DataError("grey")
            picture = image.convert("RGB")
    except (OSError, SyntaxError, PILImage.DecompressionBombError) as error:
        raise DataError(f"corrupt: {error}") from error
    if 0 < resize < min(picture.size):
        scale = resize / min(picture.size)
        picture = picture.resize([round(side * scale) for side in picture.size], PILImage.Resampling.LANCZOS)
    return np.asarray(picture)


class KeySampler(torch.utils.data.Sampler[list[int]]):
    """Batches of keys for steps `start` to `steps`; every epoch is a permutation drawn from (seed, epoch)."""

    def __init__(self, pictures: int, batch_size: int, steps: int, start: int = 0, seed: int = 0):
        self.pictures, self.batch_size, self.steps, self.start, self.seed = pictures, batch_size, steps, start, seed

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[int]]:
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for step in range(self.start, self.steps):
            keys = []
            for position in range(step * self.batch_size, (step + 1) * self.batch_size):
                if position // self.pictures != epoch:
                    epoch = position // self.pictures
                    order = np.random.default_rng((self.seed, epoch)).permutation(self.pictures)
                keys.append(epoch * self.pictures + int(order[position % self.pictures]))
            yield keys


def validation_picture(split: Dataset, index: int, resize: int = 0) -> Tensor:
    """A whole picture of a split, (1, 3, H, W) in [0, 1]."""
    return to_float([torch.tensor(decode(split[index]["image"], resize)).permute(2, 0, 1)])


def train_loader(pictures: Pictures, batch_size: int, steps: int, start: int = 0, workers: int = 0) -> DataLoader[Tensor]:
    """Batches (B, 3, H, W) in [0, 1] for steps `start` to `steps`."""
    sampler = KeySampler(len(pictures.split), batch_size, steps, start, pictures.seed)
    return DataLoader(
        pictures, batch_sampler=sampler, num_workers=workers, collate_fn=to_float, pin_memory=torch.cuda.is_available()
    )


def to_float(pictures: list[Tensor]) -> Tensor:
    """Stack uint8 pictures (3, H, W) to (B, 3, H, W) in [0, 1]."""
    sizes = {tuple(picture.shape) for picture in pictures}
    if len(sizes) > 1:
        raise DataError(f"pictures of several sizes need --patch: {sorted(sizes)[:3]}")
    return torch.stack(pictures).float().div_(255)
