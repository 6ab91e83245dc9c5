"""Data sets of pictures: streamed in, restored, and out as Parquet files, in a folder or on the Hub.

Each file of the data set becomes files of PART_ROWS rows, `SPLIT-FILE-PART.parquet`, each of which is there whole or not at all.
They have the columns of the data set, and `failure`: why a picture could not be restored, which is then missing from its row.
What is done is told from these names, and whether a file ends there from the last part itself; so the files are the same
whichever processes made them.
"""

import contextlib
import itertools
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, Protocol, Self

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Image, IterableDataset, Value, load_dataset
from datasets.exceptions import DatasetsError
from httpx2 import HTTPError
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]  # where its documentation has it
from PIL import Image as PILImage

from restore import engine
from restore.engine import Done, Share, Tally, Task, say
from restore.files import check_writable, replacing, sweep
from restore.images import MAX_BYTES, Picture, encode_picture, open_picture, suffix_of
from restore.models.hub import reaching_the_hub

PART_ROWS = 100  # a process that dies loses at most so many
GROUP_BYTES = 32 << 20  # of pictures that are held before they are written
KEPT = (".jpg", ".jpeg", ".webp", ".tif", ".tiff")  # suffixes whose format results keep, as `suffix_of` does
ON_THE_HUB = "hf://datasets/"  # an output that begins so is a data set USER/NAME there
PASSING = (409, 412, 429, 500, 502, 503, 504)  # another process has just committed, commits come too fast, the Hub is busy
COMMIT_ATTEMPTS = 8
QUOTA_SECONDS = 600  # between attempts where the Hub takes no more commits this hour and does not say for how long
FETCH_ATTEMPTS = 3  # for a picture that lies elsewhere
LAST = b"restore.last"  # metadata of the part that its file ends with


class DataError(ValueError):
    """A data set that cannot be used; the message names it and the cause."""


Record = dict[str, bytes | str | None]  # "bytes" and "path" of an encoded picture


# Where the results go


class Store(Protocol):
    """A place of Parquet files."""

    def names(self) -> set[str]:
        """The files that are there."""

    def metadata(self, name: str) -> pq.FileMetaData:
        """What a file says of itself."""

    def writing(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Write a file, which is there whole when the block ends, and not at all if it raises."""


@dataclass(frozen=True)
class Folder:
    """A store on this machine, or on a disk that all machines share."""

    path: Path

    def names(self) -> set[str]:
        check_writable(self.path)  # now, not after the first part
        return {file.name for file in self.path.glob("*.parquet")}

    def metadata(self, name: str) -> pq.FileMetaData:
        return pq.read_metadata(self.path / name)

    def writing(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        self.path.mkdir(parents=True, exist_ok=True)
        sweep([self.path / name])
        return replacing(self.path / name)


@dataclass(frozen=True)
class HubDataset:
    """A store that is a data set on the Hub, made private if it is new; each file is one commit."""

    name: str

    def names(self) -> set[str]:
        with reaching_the_hub():
            HfApi().create_repo(self.name, repo_type="dataset", private=True, exist_ok=True)
            HfApi().auth_check(self.name, repo_type="dataset", write=True)  # now, not after the first part
            files = HfApi().list_repo_files(self.name, repo_type="dataset")
        return {file.removeprefix("data/") for file in files if file.startswith("data/")}

    def metadata(self, name: str) -> pq.FileMetaData:
        with reaching_the_hub(), HfFileSystem().open(f"datasets/{self.name}/data/{name}", "rb") as file:
            return pq.read_metadata(file)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / name
            with part.open("wb") as file:
                yield file
            for attempt in range(1, COMMIT_ATTEMPTS + 1):
                try:
                    with reaching_the_hub():
                        HfApi().upload_file(
                            path_or_fileobj=part,
                            path_in_repo=f"data/{name}",
                            repo_id=self.name,
                            repo_type="dataset",
                            commit_message=f"Add {name}",
                        )
                    return
                except (HfHubHTTPError, ConnectionError) as error:
                    if not _may_pass(error) or attempt == COMMIT_ATTEMPTS:
                        raise
                    time.sleep(_seconds_to_wait(error, attempt))


def _may_pass(error: HfHubHTTPError | ConnectionError) -> bool:
    return isinstance(error, ConnectionError) or error.response.status_code in PASSING


def _seconds_to_wait(error: HfHubHTTPError | ConnectionError, attempt: int) -> float:
    """What the Hub asks for, or long where it takes no more commits this hour; else a little longer at each attempt."""
    if isinstance(error, ConnectionError):
        return float(attempt)
    headers = error.response.headers
    limits, asked = parse_ratelimit_headers(headers), headers.get("Retry-After", "")
    if limits is not None and limits.remaining == 0:
        return float(limits.reset_in_seconds)
    if asked.isdecimal():
        return float(asked)
    return float(QUOTA_SECONDS if error.response.status_code == HTTPStatus.TOO_MANY_REQUESTS else attempt)


def open_store(output: str) -> Store:
    """The store that an output names: a folder, or hf://datasets/USER/NAME. Raises DataError for another place on the Hub."""
    if output.startswith(ON_THE_HUB):
        return HubDataset(output.removeprefix(ON_THE_HUB))
    if output.startswith("hf://"):
        raise DataError(f"{output}: a data set on the Hub is {ON_THE_HUB}USER/NAME")
    return Folder(Path(output))


def check_apart(dataset: str, output: str) -> None:
    """Raise DataError where the results would lie in the data set, which the next run would read with them."""
    if output.startswith(ON_THE_HUB):
        within = output.removeprefix(ON_THE_HUB) == dataset
    else:
        within = Path(dataset).is_dir() and Path(os.path.realpath(output)).is_relative_to(os.path.realpath(dataset))
    if within:
        raise DataError(f"{output} lies in the data set {dataset}, which would be read with the results: choose another place")


# What comes in


@dataclass(frozen=True)
class Source:
    """A split of a data set, its pictures undecoded."""

    name: str
    split: str
    rows: IterableDataset
    features: Features
    column: str  # of the pictures

    @classmethod
    def open(cls, name: str, split: str) -> "Source":
        """Open a split of a Hub id or of a local folder.

        Raises:
            DataError: It cannot be loaded, or does not have one column of pictures.
        """
        try:
            location = str(Path(name).resolve()) if Path(name).is_dir() else name
            rows = load_dataset(location, split=split, streaming=True)
        except (DatasetsError, HTTPError, OSError, ValueError, RuntimeError) as error:  # the last of a data set that is a script
            raise DataError(f"cannot load the split {split} of {name}: {' '.join(str(error).split())}") from error
        features = rows.features or Features()
        columns = [column for column, feature in features.items() if isinstance(feature, Image)]
        if len(columns) != 1:
            raise DataError(f"{name} must have one column of type Image, not {columns or 'none'} among {list(features)}")
        if "failure" in features:
            raise DataError(f"{name} has a column named failure, which the result needs for itself")
        return cls(name, split, rows.with_format("arrow"), features, columns[0])

    @property
    def schema(self) -> pa.Schema:
        """Of the result."""
        return Features({**self.features, "failure": Value("string")}).arrow_schema

    def read(self, file: int, start: int) -> Iterator[pa.Table]:
        """The rows of a file from one on, as tables of one row each."""
        rows = self.rows.shard(num_shards=self.rows.num_shards, index=file)
        yield from (rows.skip(start) if start else rows).iter(batch_size=1)


@dataclass(frozen=True)
class Row:
    """A picture of a data set, encoded: its content, or else where it is."""

    file: int
    number: int  # within the file
    content: bytes | None
    path: str | None

    @property
    def part(self) -> int:
        return self.number // PART_ROWS


@dataclass(frozen=True)
class RowTask(Task[Row, Record]):
    """From encoded to encoded."""

    def read(self, item: Row) -> Picture:
        content = item.content if item.content is not None or item.path is None else _fetch(item.path)
        if content is None:
            raise DataError("there is no picture")
        return open_picture(content, max_pixels=self.max_pixels)

    def write(self, image: PILImage.Image, item: Row) -> Record:
        path = Path((item.path or "").partition("::")[0])  # zip://a.jpg::photos.zip is a.jpg
        suffix = suffix_of(item.content) if item.content else path.suffix if path.suffix.lower() in KEPT else ".png"
        content = encode_picture(image, suffix, keep_gps=self.keep_gps)
        return {"bytes": content, "path": path.stem + suffix if path.name else None}


def _fetch(path: str) -> bytes:
    """The content of a path or an address, asked for again where a server may only have been busy, and not read without end."""
    is_elsewhere = "://" in path
    if not is_elsewhere and not os.path.isfile(path):
        raise DataError(f"cannot read {path}: it is no file")
    attempts = FETCH_ATTEMPTS if is_elsewhere else 1
    while True:
        try:
            with fsspec.open(path, "rb") as file:
                content: bytes = file.read(MAX_BYTES + 1)  # more than open_picture takes
            return content
        except Exception as error:  # each of fsspec's file systems has exceptions of its own
            attempts -= 1
            if not attempts:
                causes = (str(each or "") for each in (error, error.__cause__))  # the second may tell the status
                cause = " ".join(": ".join(filter(None, causes)).split()) or type(error).__name__
                raise DataError(f"cannot read {path}: {cause}") from error
            time.sleep(FETCH_ATTEMPTS - attempts)


# What goes out


class Part:
    """A file in the making: its rows are restored in any order, and written in their own."""

    def __init__(self, writing: contextlib.AbstractContextManager[IO[bytes]], schema: pa.Schema, column: str, first: int):
        self.stack = contextlib.ExitStack()
        self.writer = self.stack.enter_context(pq.ParquetWriter(self.stack.enter_context(writing), schema))
        self.schema, self.column, self.next = schema, column, first
        self.originals: dict[int, pa.Table] = {}  # of the rows that are being restored
        self.restored: dict[int, pa.Table] = {}  # that wait for those before them
        self.group: list[pa.Table] = []  # next to be written
        self.has_all = False
        self.is_last = False  # of its file

    def add(self, number: int, record: Record | None, failure: str) -> None:
        """Put a picture in the place of the original, or nothing and why."""
        row = self.originals.pop(number)
        place = self.schema.get_field_index(self.column)
        picture = pa.array([record], self.schema.field(place).type)
        cause = pa.array([failure or None], pa.string())
        row = row.set_column(place, self.column, picture).append_column("failure", cause)
        self.restored[number] = row.cast(self.schema)
        while self.next in self.restored:
            self.group.append(self.restored.pop(self.next))
            self.next += 1
            if sum(table.nbytes for table in self.group) >= GROUP_BYTES:  # by row, so that the order of arrival leaves no trace
                self._write_group()

    def close(self) -> None:
        """Put the file into its place."""
        self._write_group()
        if self.is_last:
            self.writer.add_key_value_metadata({LAST: b"yes"})
        self.stack.close()

    def _write_group(self) -> None:
        if self.group:
            self.writer.write_table(pa.concat_tables(self.group))
            self.group = []


class Restoration:
    """A share of a data set: gives the rows that are still to be restored, and takes what has become of them."""

    def __init__(self, source: Source, store: Store, share: Share):
        self.source, self.store, self.share = source, store, share
        self.files = source.rows.num_shards
        self.done: dict[int, set[int]] = {file: set() for file in range(self.files)}  # parts, by file
        pattern = re.compile(rf"{re.escape(source.split)}-(\d{{5}})-(\d{{5}})\.parquet")
        for match in filter(None, map(pattern.fullmatch, store.names())):
            self.done.setdefault(int(match[1]), set()).add(int(match[2]))
        mine = [file for file in range(self.files) if any(self._is_mine(file, part) for part in range(share.count))]
        known = {file: store.metadata(self._name(file, max(self.done[file]))) for file in mine if self.done[file]}
        self.lengths = {file: int(metadata.num_rows) for file, metadata in known.items()}  # of the last parts
        self.ended = {file for file, metadata in known.items() if _is_last(metadata)}
        self.starts = {file: start for file in mine if (start := self._start(file)) is not None}
        self.parts: dict[tuple[int, int], Part] = {}  # in the making

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        """Leave nothing of what is in the making; all of it is done unless there is an error."""
        for part in self.parts.values():
            part.stack.__exit__(*error)

    @property
    def rows_in_the_making(self) -> int:
        """How many rows wait for others of their file, and are lost with it."""
        return sum(part.next - number * PART_ROWS + len(part.restored) for (_, number), part in self.parts.items())

    @property
    def rows_done(self) -> int:
        """How many rows of this share were restored before."""
        parts = [(file, part) for file in self.lengths for part in self.done[file] if self._is_mine(file, part)]
        return sum(self.lengths[file] if part == max(self.done[file]) else PART_ROWS for file, part in parts)

    def rows(self) -> Iterator[Row]:
        """The rows that are still to be restored, as the data set streams in."""
        for file, start in self.starts.items():
            numbered = enumerate(_with_last(self.source.read(file, start * PART_ROWS)), start * PART_ROWS)
            for number, rows in itertools.groupby(numbered, key=lambda row: row[0] // PART_ROWS):
                if number in self.done[file] or not self._is_mine(file, number):
                    continue
                writing = self.store.writing(self._name(file, number))
                part = self.parts[file, number] = Part(writing, self.source.schema, self.source.column, number * PART_ROWS)
                for index, (row, is_last) in rows:
                    part.originals[index], part.is_last = row, is_last
                    picture = row.column(self.source.column)[0].as_py() or {}
                    yield Row(file, index, picture.get("bytes"), picture.get("path"))
                part.has_all = True
                self._close_if_whole(file, number)

    def put(self, row: Row, record: Record | None, failure: str) -> None:
        """Take a restored picture, or None and why it could not be."""
        self.parts[row.file, row.part].add(row.number, record, failure)
        self._close_if_whole(row.file, row.part)

    def _close_if_whole(self, file: int, number: int) -> None:
        part = self.parts[file, number]
        if part.has_all and not part.originals:
            part.close()
            del self.parts[file, number]

    def _name(self, file: int, part: int) -> str:
        return f"{self.source.split}-{file:05d}-{part:05d}.parquet"

    def _is_mine(self, file: int, part: int) -> bool:
        """Files are shared out; where they are fewer than the processes their parts are, though each process reads them all."""
        return (file if self.files >= self.share.count else file + part) % self.share.count == self.share.index

    def _start(self, file: int) -> int | None:
        """The first part of a file that this share has to do; None if it has none."""
        last = max(self.done[file], default=-1)
        parts = range(last + 1 if file in self.ended else last + 1 + self.share.count)
        return next((part for part in parts if self._is_mine(file, part) and part not in self.done[file]), None)


def _is_last(metadata: pq.FileMetaData) -> bool:
    """Whether a file of the data set ends with this part: it says so, or it is shorter than others."""
    return LAST in (metadata.metadata or {}) or metadata.num_rows < PART_ROWS


def _with_last(rows: Iterable[pa.Table]) -> Iterator[tuple[pa.Table, bool]]:
    """Each row, and whether it is the last."""
    for row, following in itertools.pairwise(itertools.chain(rows, [None])):
        yield row, following is None


def restore_dataset(source: Source, store: Store, task: RowTask, *, share: Share, processes: int) -> int:
    """Restore a share of a data set as far as it is not done, and give the exit code.

    Raises:
        OSError: The data set or its place cannot be reached any more. What is there stays, and the next run goes on from it.
    """
    restoration = Restoration(source, store, share)
    split = (source.rows.info.splits or {}).get(source.split)
    done = restoration.rows_done
    total = max(0, split.num_examples // share.count - done) if split and split.num_examples else None
    tally = Tally(total, skipped=done, quiet=share.index > 0)
    if done:
        say(f"note: {done} rows are there already")

    def settle(row: Row, outcome: Callable[[], Done[Record]]) -> None:
        restoration.put(row, *tally.settle(f"{source.split} file {row.file} row {row.number}", outcome))

    try:
        with restoration:
            engine.run(restoration.rows(), task, settle, tally.advance, processes)
    except KeyboardInterrupt:
        if lost := restoration.rows_in_the_making:
            say(f"note: rows left out with unfinished files, to be done again: {lost}")
        return tally.close(stopped=True)
    return tally.close()
