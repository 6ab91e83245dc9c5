"""Folders of pictures: which goes where, what is done already, and what could not be done.

Nothing but the results tells what is done, so that a run goes on after any end, with any number of processes.
"""

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unicodedata import normalize

from PIL import Image

from restore import engine
from restore.engine import Done, Share, Tally, Task, say
from restore.files import check_writable, folds_case, replacing, sweep
from restore.images import WRITERS, ImageError, Picture, check_fits, lost_in, open_picture, save_picture

READ_ONLY_SUFFIXES = {".gif", ".jfif", ".jpe", ".hif"}
SUFFIXES = READ_ONLY_SUFFIXES | set(WRITERS)  # of what counts as a picture in a folder
REPORT = "failures.csv"  # of share 0; of the others failures-1.csv and so on
HEADER = ("picture", "cause")


class UsageError(ValueError):
    """A command that makes no sense; the message names what is wrong with it."""


@dataclass(frozen=True)
class Job:
    """One picture to be read, and where its result goes; or a folder of which there is none to be had, and why."""

    source: Path
    target: Path
    cause: str = ""
    always: bool = False  # it is the only one asked for, so that it is done again


@dataclass(frozen=True)
class FileTask(Task[Job, None]):
    """From file to file."""

    def read(self, item: Job) -> Picture:
        if item.cause:
            raise ImageError(item.cause)
        picture = open_picture(item.source, max_pixels=self.max_pixels)
        check_fits(item.target.suffix, picture.rgb.shape[3], picture.rgb.shape[2])  # before the work, not after it
        return replace(picture, notes=(*picture.notes, *lost_in(item.target.suffix, picture)))

    def write(self, image: Image.Image, item: Job) -> None:
        item.target.parent.mkdir(parents=True, exist_ok=True)
        save_picture(image, item.target, keep_gps=self.keep_gps)


@dataclass(frozen=True)
class Plan:
    """Every picture with its result, and what of the folders is not read, in words."""

    jobs: list[Job]
    notes: list[str]


def plan(inputs: Sequence[Path], output: Path, share: int = 0, *, into_folder: bool = False) -> Plan:
    """Pair every picture with its result.

    One file may go to a file, which has a suffix, unless it is to go `into_folder`. All else goes into the folder `output`: a
    single folder with its tree, several inputs each under its own name. What is already below `output` is not read again, and a
    suffix that cannot be written is followed by .png.

    Raises:
        UsageError: The only input holds no picture, two results have one name, several are to go into one file, or something
            would take the place of a file that is not ours: a result that of an input, or the list of failures, which `share`
            names, that of another's.
    """
    alone = len(inputs) == 1
    is_one_file, into_folder = alone and not inputs[0].is_dir(), into_folder or output.is_dir()
    if is_one_file and not into_folder and (output.suffix or output.is_file()):
        jobs, notes = [Job(inputs[0], output, always=True)], []
        if output.suffix.lower() not in WRITERS:
            raise UsageError(f"{output}: the suffix must be one of {', '.join(WRITERS)}")
    elif not is_one_file and not into_folder and output.suffix.lower() in WRITERS:
        raise UsageError(f"{output}: this is named like one picture, and several go into a folder; {output}/ names one")
    else:
        plans = [_plan_input(path, output, alone) for path in inputs]
        jobs = [replace(job, always=is_one_file) for each in plans for job in each.jobs]
        notes = [note for each in plans for note in each.notes]
    report = _report(output, share)
    if _is_foreign(report):
        raise UsageError(f"{report}: this file is not a list of failures, and one would take its place")
    sources = {os.path.realpath(job.source) for job in jobs}  # not Path.resolve, which raises where links run in circles
    files = {_identity(job.source) for job in jobs} - {None}  # which may have another name too, in capitals on some disks
    targets: dict[Path, Path] = {}
    for job in jobs:
        if os.path.realpath(job.target) in sources or _identity(job.target) in files:
            raise UsageError(f"{job.target}: the result would take the place of an input")
        if job.target in targets:
            raise UsageError(f"{job.target}: the result of both {targets[job.target]} and {job.source}")
        targets[job.target] = job.source
    if (twins := _differing_in_case(targets)) and folds_case(output):
        one, other = twins
        raise UsageError(f"{one}: on this disk, where case does not count, the result of {targets[one]} and {targets[other]}")
    return Plan(jobs, notes)


def _differing_in_case(paths: Iterable[Path]) -> tuple[Path, Path] | None:
    """Two paths that are one where case does not count, if there are such."""
    seen: dict[str, Path] = {}
    for path in paths:
        other = seen.setdefault(normalize("NFC", str(path)).lower(), path)
        if other != path:
            return other, path
    return None


def _identity(path: Path) -> tuple[int, int] | None:
    """What a file is known by on its machine, whatever it is called; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None  # some disks number no files


def _plan_input(path: Path, output: Path, alone: bool) -> Plan:
    """The plan of an input: a file's, or a folder's, which keeps its tree below the output and its name if it is not `alone`."""
    if not path.is_dir():
        return Plan([Job(path, output / _writable(Path(path.name)))], [])
    place = output if alone else output / Path(os.path.abspath(path)).name  # that of ".." too
    found = _look_below(path, output)
    jobs = [Job(file, place / _writable(file.relative_to(path))) for file in found.pictures]
    jobs += [Job(folder, place / folder.relative_to(path), cause) for folder, cause in sorted(found.locked.items())]
    if not jobs:
        if alone:
            raise UsageError(f"{path}: the folder holds no picture")
        jobs = [Job(path, place, "the folder holds no picture")]
    return Plan(jobs, found.notes(path))


@dataclass(frozen=True)
class Found:
    """What a folder holds, without hidden files, and without those of an output that lies within."""

    pictures: list[Path]  # by their names
    others: list[Path]
    links: list[Path]  # to folders
    locked: dict[Path, str]  # folders that cannot be listed, and why

    def notes(self, folder: Path) -> list[str]:
        """What is not read, in words."""
        links = [f"{link}: a link to a folder is not followed" for link in self.links]
        if not self.others:
            return links
        return [f"{folder}: {self.others[0].name} and the like, {len(self.others)} in all, are not named like pictures", *links]


def _look_below(folder: Path, output: Path) -> Found:
    found = Found([], [], [], {})
    here, results = (Path(os.path.realpath(place)) for place in (folder, output))

    def is_theirs(path: Path) -> bool:
        return here.is_relative_to(results) or not (here / path.relative_to(folder)).is_relative_to(results)

    def note_locked(error: OSError) -> None:
        found.locked[Path(error.filename)] = str(error.strerror)

    for parent, folders, names in os.walk(folder, onerror=note_locked):
        folders[:] = [name for name in folders if not name.startswith(".")]  # what is taken out is not walked
        files = filter(is_theirs, (Path(parent, name) for name in names if not name.startswith(".")))
        for file in files:
            (found.pictures if file.suffix.lower() in SUFFIXES else found.others).append(file)
        found.links.extend(filter(is_theirs, filter(os.path.islink, (Path(parent, name) for name in folders))))
    for paths in (found.pictures, found.others, found.links):
        paths.sort()
    return found


def _writable(name: Path) -> Path:
    return name if name.suffix.lower() in WRITERS else name.with_name(name.name + ".png")


def left_to_do(jobs: Sequence[Job], overwrite: bool) -> list[Job]:
    """The jobs without those that are done, unless `overwrite`. A single file is always done again."""
    return [job for job in jobs if overwrite or job.cause or job.always or not _is_done(job)]


def _is_done(job: Job) -> bool:
    """Whether there is a result that is no older than the picture."""
    try:
        return os.stat(job.source).st_mtime_ns <= os.stat(job.target).st_mtime_ns
    except OSError:  # one of them is not there, or has a name that is too long
        return False


def check_place(output: Path, todo: Sequence[Job]) -> None:
    """Raise UsageError where no result can be written, which is better known before the work than after it."""
    if todo:
        place = output.parent if todo[0].target == output else output
        try:
            check_writable(place)
        except OSError as error:
            raise UsageError(f"{place}: no result can be written there: {error.strerror}") from error


def restore_files(jobs: Sequence[Job], todo: Sequence[Job], task: FileTask, output: Path, share: Share, processes: int) -> int:
    """Do what is left to do of a share of the jobs, and give the exit code.

    In a folder what killed runs have left is swept away, and failures are listed in a CSV file.
    """
    mine = share.of(jobs)
    tally = Tally(len(todo), skipped=len(mine) - len(todo), quiet=share.index > 0)

    def settle(job: Job, outcome: Callable[[], Done[None]]) -> None:
        tally.settle(str(job.source), outcome)

    if tally.skipped:
        say(f"note: {tally.skipped} are in {output} already; --overwrite does them again")
    sweep([*(job.target for job in mine), _report(output, share.index)])
    try:
        engine.run(todo, task, settle, tally.advance, max(1, min(processes, len(todo))))
    except KeyboardInterrupt:
        return tally.close(stopped=True)
    finally:
        if [job.target for job in jobs] != [output]:
            try:
                _write_report(output, tally.failures, share)
            except OSError as error:  # the disk is full, say: what is done is still to be told
                say(f"error: {_report(output, share.index)}: the list of failures cannot be written: {error.strerror}")
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
