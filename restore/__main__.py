"""The command line: `python -m restore denoise|colorize|restore INPUT... -o OUTPUT`, for files and folders.

A picture that fails costs one line, `error: NAME: cause`, and leaves nothing behind; the others go on. The exit code is 0 when
all is done, 1 when a part failed, 2 when all of it did or the command makes no sense, 130 after Ctrl-C.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from PIL import Image, ImageColor
from tqdm import tqdm

from restore import pipeline
from restore.images import MAX_PIXELS, WRITERS, open_picture, save_picture
from restore.models.colorizer import Colorizer
from restore.models.denoiser import Denoiser

READ_ONLY_SUFFIXES = {".gif", ".jfif", ".jpe", ".hif"}
SUFFIXES = READ_ONLY_SUFFIXES | set(WRITERS)  # of what counts as a picture in a folder

Work = Callable[..., Image.Image]  # picture, progress, in_place


class UsageError(ValueError):
    """A command that makes no sense; the message names what is wrong with it."""


@dataclass(frozen=True)
class Job:
    """One picture to be read, and where its result goes."""

    source: Path
    target: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    options = _parser().parse_args(arguments)
    try:
        jobs = plan(options.input, options.output)
        work = options.work(options)
    except (ValueError, OSError) as error:
        _say(f"error: {error}")
        return 2
    todo = [job for job in jobs if options.overwrite or job.target == options.output or not job.target.exists()]
    return run(todo, partial(perform, work=work, options=options), skipped=len(jobs) - len(todo))


def plan(inputs: Sequence[Path], output: Path) -> list[Job]:
    """Pair every picture with its result.

    One file may go to a file. All else goes into the folder `output`: a single folder with its tree, several inputs each under
    its own name. What is already below `output` is not read again, and a suffix that cannot be written is followed by .png.

    Raises:
        UsageError: An input holds no picture, two results have one name, or a result would take the place of an input.
    """
    if len(inputs) == 1 and not inputs[0].is_dir() and not output.is_dir():
        jobs = [Job(inputs[0], output)]
        if output.suffix.lower() not in WRITERS:
            raise UsageError(f"{output}: the suffix must be one of {', '.join(WRITERS)}")
    else:
        jobs = [Job(source, output / _writable(name)) for source, name in _sources(inputs, output)]
    sources = {job.source.resolve() for job in jobs}
    targets: dict[Path, Path] = {}
    for job in jobs:
        if job.target.resolve() in sources:
            raise UsageError(f"{job.target}: the result would take the place of an input")
        if job.target in targets:
            raise UsageError(f"{job.target}: the result of both {targets[job.target]} and {job.source}")
        targets[job.target] = job.source
    return jobs


def _sources(inputs: Sequence[Path], output: Path) -> list[tuple[Path, Path]]:
    """All pictures of the inputs, and the name of each below the output."""
    found: list[tuple[Path, Path]] = []
    for path in inputs:
        if not path.is_dir():
            found.append((path, Path(path.name)))
            continue
        root = path if len(inputs) == 1 else path.parent
        files = _pictures_below(path, output)
        if not files:
            raise UsageError(f"{path}: the folder holds no picture")
        found += [(file, file.relative_to(root)) for file in files]
    return found


def _pictures_below(folder: Path, output: Path) -> list[Path]:
    """The files of a folder that are named like pictures, without those of an output that lies within."""
    here, results = folder.resolve(), output.resolve()
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in SUFFIXES
        and not file.name.startswith(".")
        and file.is_file()
        and (results == here or not (here / file.relative_to(folder)).is_relative_to(results))
    ]


def _writable(name: Path) -> Path:
    return name if name.suffix.lower() in WRITERS else name.with_name(name.name + ".png")


def perform(job: Job, progress: pipeline.Progress, work: Work, options: argparse.Namespace) -> None:
    """Do one job from file to file."""
    picture = open_picture(job.source, max_pixels=int(options.max_megapixels * 1e6))
    for note in picture.notes:
        _say(f"note: {job.source}: {note}")
    result = work(picture, progress=progress, in_place=True)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    save_picture(result, job.target, keep_gps=options.keep_gps)


def run(jobs: Sequence[Job], do: Callable[[Job, pipeline.Progress], None], skipped: int = 0) -> int:
    """Do one job after the other, report those that fail, and give the exit code."""
    failed = 0
    with tqdm(total=len(jobs), bar_format="{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left", disable=None) as bar:
        for index, job in enumerate(jobs):
            try:
                do(job, partial(_advance, bar, index))
            except KeyboardInterrupt:
                _say(f"stopped: {index - failed} of {len(jobs)} done")
                return 130
            except (ValueError, OSError, MemoryError, RuntimeError) as error:  # torch's lack of memory is a RuntimeError
                failed += 1
                _say(f"error: {job.source}: {error or type(error).__name__}")
            _advance(bar, index, 1.0)
    if len(jobs) + skipped > 1:
        _say(f"{len(jobs) - failed} done, {skipped} skipped, {failed} failed")
    if not failed:
        return 0
    return 1 if len(jobs) + skipped > failed else 2


def _advance(bar: "tqdm[NoReturn]", index: int, fraction: float) -> None:
    """Show that the jobs before `index` are done, and a fraction of that one."""
    bar.update(index + fraction - bar.n)


def _say(line: str) -> None:
    """Write one line to stderr, above the progress bar."""
    tqdm.write("".join(char if char.isprintable() else " " for char in line), file=sys.stderr)


# The arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m restore", description="Clean up noisy photographs and give grey ones colour."
    )
    commands = parser.add_subparsers(required=True, metavar="denoise|colorize|restore")

    denoise = _command(commands, "denoise", "remove the noise", _denoise)
    denoise.add_argument("--model", default="denoiser-photo", help="bundled name, folder or Hub id (%(default)s)")
    colorize = _command(commands, "colorize", "give colour", _colorize)
    colorize.add_argument("--model", default="colorizer-photo", help="bundled name, folder or Hub id (%(default)s)")
    restore = _command(commands, "restore", "remove the noise, and give colour to what is grey", _restore)
    restore.add_argument("--denoiser", default="denoiser-photo", help="bundled name, folder or Hub id (%(default)s)")
    restore.add_argument("--colorizer", default="colorizer-photo", help="bundled name, folder or Hub id (%(default)s)")

    for command in (denoise, restore):
        command.add_argument("--strength", type=_up_to(pipeline.MAX_STRENGTH), default=1.0, help="of denoising, 0 to 1.5 (1)")
        command.add_argument(
            "--self-ensemble", action="store_true", help="mean over eight flips and rotations, eight times slower"
        )
    for command in (colorize, restore):
        command.add_argument("--vividness", type=_up_to(pipeline.MAX_VIVIDNESS), default=1.0, help="of colour, 0 to 2 (1)")
        command.add_argument(
            "--hint", type=_hint, action="append", metavar="X,Y,#RRGGBB", help="a colour known at a pixel; repeatable"
        )
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    purpose: str,
    work: Callable[[argparse.Namespace], Work],
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=purpose, description=f"{purpose.capitalize()}.")
    command.set_defaults(work=work)
    command.add_argument("input", nargs="+", type=Path, metavar="INPUT", help="pictures and folders of pictures")
    command.add_argument("-o", "--output", required=True, type=Path, help="a file for one picture, else a folder")
    command.add_argument("--overwrite", action="store_true", help="do again what is already in the folder OUTPUT")
    command.add_argument("--max-megapixels", type=float, default=MAX_PIXELS / 1e6, help="refuse larger pictures (%(default)g)")
    command.add_argument("--keep-gps", action="store_true", help="keep the place in the EXIF data")
    return command


def _denoise(options: argparse.Namespace) -> Work:
    model = pipeline.load(Denoiser, options.model)
    return partial(pipeline.denoise, model=model, strength=options.strength, self_ensemble=options.self_ensemble)


def _colorize(options: argparse.Namespace) -> Work:
    model = pipeline.load(Colorizer, options.model)
    return partial(pipeline.colorize, model=model, vividness=options.vividness, hints=options.hint)


def _restore(options: argparse.Namespace) -> Work:
    return partial(
        pipeline.restore,
        denoiser=pipeline.load(Denoiser, options.denoiser),
        colorizer=pipeline.load(Colorizer, options.colorizer),
        strength=options.strength,
        self_ensemble=options.self_ensemble,
        vividness=options.vividness,
        hints=options.hint,
    )


def _up_to(largest: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        if not 0 <= (value := float(text)) <= largest:
            raise argparse.ArgumentTypeError(f"must be from 0 to {largest:g}, not {text}")
        return value

    return number


def _hint(text: str) -> pipeline.Hint:
    try:
        x, y, color = text.split(",", 2)
        red, green, blue = ImageColor.getrgb(color)[:3]
        return int(x), int(y), (red, green, blue)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected x,y,#rrggbb, not {text!r}") from error


if __name__ == "__main__":
    sys.exit(main())
