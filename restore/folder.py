"""Folders of pictures: which goes where, what is done already, and what could not be done.

Nothing but the results tells what is done, so that a run goes on after any end, with any number of processes.
"""

import csv
import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from restore import engine
from restore.engine import Done, Share, Tally, Task
from restore.files import replacing, sweep
from restore.images import WRITERS, ImageError, Picture, open_picture, save_picture

READ_ONLY_SUFFIXES = {".gif", ".jfif", ".jpe", ".hif"}
SUFFIXES = READ_ONLY_SUFFIXES | set(WRITERS)  # of what counts as a picture in a folder
REPORT = "failures.csv"  # of share 0; of the others failures-1.csv and so on
HEADER = ("picture", "cause")


class UsageError(ValueError):
    """A command that makes no sense; the message names what is wrong with it."""


@dataclass(frozen=True)
class Job:
    """One picture to be read, and where its result goes; or a folder that cannot be read, and why."""

    source: Path
    target: Path
    cause: str = ""


@dataclass(frozen=True)
class FileTask(Task[Job, None]):
    """From file to file."""

    def read(self, item: Job) -> Picture:
        if item.cause:
            raise ImageError(item.cause)
        return open_picture(item.source, max_pixels=self.max_pixels)

    def write(self, image: Image.Image, item: Job) -> None:
        item.target.parent.mkdir(parents=True, exist_ok=True)
        save_picture(image, item.target, keep_gps=self.keep_gps)


def plan(inputs: Sequence[Path], output: Path, share: int = 0) -> list[Job]:
    """Pair every picture with its result.

    One file may go to a file, which has a suffix. All else goes into the folder `output`: a single folder with its tree, several
    inputs each under its own name. What is already below `output` is not read again, and a suffix that cannot be written is
    followed by .png.

    Raises:
        UsageError: An input holds no picture, two results have one name, or something would take the place of a file that is not
            ours: a result that of an input, or the list of failures, which `share` names, that of another's.
    """
    if len(inputs) == 1 and not inputs[0].is_dir() and not output.is_dir() and (output.suffix or output.is_file()):
        jobs = [Job(inputs[0], output)]
        if output.suffix.lower() not in WRITERS:
            raise UsageError(f"{output}: the suffix must be one of {', '.join(WRITERS)}")
    else:
        jobs = [job for path in inputs for job in _jobs(path, output, alone=len(inputs) == 1)]
    report = _report(output, share)
    if _is_foreign(report):
        raise UsageError(f"{report}: this file is not a list of failures, and one would take its place")
    sources = {os.path.realpath(job.source) for job in jobs}  # not Path.resolve, which raises where links run in circles
    targets: dict[Path, Path] = {}
    for job in jobs:
        if os.path.realpath(job.target) in sources:
            raise UsageError(f"{job.target}: the result would take the place of an input")
        if job.target in targets:
            raise UsageError(f"{job.target}: the result of both {targets[job.target]} and {job.source}")
        targets[job.target] = job.source
    return jobs


def _jobs(path: Path, output: Path, alone: bool) -> list[Job]:
    """The jobs of an input: a file's, or a folder's, which keeps its tree below the output and its name if it is not `alone`."""
    if not path.is_dir():
        return [Job(path, output / _writable(Path(path.name)))]
    place = output if alone else output / Path(os.path.abspath(path)).name  # that of ".." too
    locked: list[OSError] = []
    files = _pictures_below(path, output, locked.append)
    if not files and not locked:
        raise UsageError(f"{path}: the folder holds no picture")
    jobs = [Job(file, place / _writable(file.relative_to(path))) for file in files]
    folders = ((Path(error.filename), str(error.strerror)) for error in locked)
    return jobs + [Job(folder, place / folder.relative_to(path), cause) for folder, cause in folders]


def _pictures_below(folder: Path, output: Path, onerror: Callable[[OSError], None]) -> list[Path]:
    """The files of a folder that are named like pictures, without hidden ones, and those of an output that lies within."""
    here, results = (Path(os.path.realpath(place)) for place in (folder, output))
    files = []
    for parent, folders, names in os.walk(folder, onerror=onerror):
        folders[:] = [name for name in folders if not name.startswith(".")]  # what is taken out is not walked
        files += [Path(parent, name) for name in names]
    return [
        file
        for file in sorted(files)
        if file.suffix.lower() in SUFFIXES
        and not file.name.startswith(".")
        and file.is_file()
        and (here.is_relative_to(results) or not (here / file.relative_to(folder)).is_relative_to(results))
    ]


def _writable(name: Path) -> Path:
    return name if name.suffix.lower() in WRITERS else name.with_name(name.name + ".png")


def left_to_do(jobs: Sequence[Job], output: Path, overwrite: bool) -> list[Job]:
    """The jobs without those that are done, unless `overwrite`. A single file is always done again."""
    # os.path: a name that is too long exists nowhere, and is no reason to stop
    return [job for job in jobs if overwrite or job.cause or job.target == output or not os.path.exists(job.target)]


def restore_files(jobs: Sequence[Job], todo: Sequence[Job], task: FileTask, output: Path, share: Share, processes: int) -> int:
    """Do what is left to do of a share of the jobs, and give the exit code.

    In a folder what killed runs have left is swept away, and failures are listed in a CSV file.
    """
    mine = share.of(jobs)
    tally = Tally(len(todo), skipped=len(mine) - len(todo), quiet=share.index > 0)

    def settle(job: Job, outcome: Callable[[], Done[None]]) -> None:
        tally.settle(str(job.source), outcome)

    sweep([*(job.target for job in mine), _report(output, share.index)])
    try:
        engine.run(todo, task, settle, tally.advance, max(1, min(processes, len(todo))))
    except KeyboardInterrupt:
        return tally.close(stopped=True)
    finally:
        if [job.target for job in jobs] != [output]:
            _write_report(output, tally.failures, share)
    return tally.close()


def _report(output: Path, share: int) -> Path:
    return output / (REPORT if share == 0 else f"failures-{share}.csv")


def _write_report(output: Path, failures: Sequence[tuple[str, str]], share: Share) -> None:
    """List what failed in this run, in place of what failed before; no file if nothing did."""
    report = _report(output, share.index)
    if failures:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([HEADER, *failures])
        output.mkdir(parents=True, exist_ok=True)
        with replacing(report) as file:
            file.write(text.getvalue().encode("utf-8", "surrogateescape"))  # a name may be no text
    else:
        report.unlink(missing_ok=True)
    if share.index == 0:  # those of a run of more processes
        for other in output.glob("failures-*.csv"):
            match = re.fullmatch(r"failures-(\d+)\.csv", other.name)
            if match and int(match[1]) >= share.count and not _is_foreign(other):
                other.unlink(missing_ok=True)


def _is_foreign(path: Path) -> bool:
    """Whether a file stands there that does not begin as a list of failures does."""
    try:
        with open(path, "rb") as file:
            return file.readline().rstrip() != ",".join(HEADER).encode()
    except OSError:  # nothing stands there, or another process has just taken it away
        return False
