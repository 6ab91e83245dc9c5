"""The command line: `python -m restore denoise|colorize|restore INPUT... -o OUTPUT`, for files, folders and data sets.

A picture that fails costs one line, `error: NAME: cause`, and leaves nothing behind; the others go on. The exit code is 0 when
all is done, 1 when a part failed, 2 when all of it did or the command makes no sense, 130 after Ctrl-C. Started several times by
torchrun or accelerate, each process does its share, and ends with 0 although pictures failed, which the report lists.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from PIL import ImageColor

from restore import pipeline
from restore.engine import Share, Work, say, start_server
from restore.folder import FileTask, UsageError, check_place, left_to_do, plan, restore_files
from restore.images import MAX_PIXELS
from restore.models.denoiser import Denoiser

MOST_ON_WINDOWS = 61  # processes that Python waits for there


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    options = _parser().parse_args(arguments)
    try:
        share = Share.from_environment()
        processes = _processes(options.processes)
        code = _restore_dataset(options, share, processes) if options.dataset else _restore_files(options, share, processes)
    except (ValueError, OSError) as error:
        say(f"error: {error}")
        return 2
    except ImportError as error:
        say(f"error: {error}" + (': data sets need pip install ".[datasets]"' if options.dataset else ""))
        return 2
    except KeyboardInterrupt:  # before the first picture
        say("stopped")
        return 130
    if code in (1, 2) and "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun would end the others for one bad picture
        return 0
    return code


def _processes(wanted: int) -> int:
    """How many processes restore pictures, one thread each: `wanted`, or as many as torch takes threads; beside a GPU one."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        return 1
    processes = wanted or torch.get_num_threads()
    return min(processes, MOST_ON_WINDOWS) if sys.platform == "win32" else processes


def _restore_files(options: argparse.Namespace, share: Share, processes: int) -> int:
    if not options.input or options.output.startswith("hf://"):
        raise UsageError("give pictures and a place for them on this machine, or --dataset")
    output = Path(options.output)
    planned = plan(options.input, output, share.index, into_folder=options.output.endswith(("/", os.sep)))
    for note in planned.notes if share.index == 0 else ():
        say(f"note: {note}")
    todo = left_to_do(share.of(planned.jobs), options.overwrite)
    check_place(output, todo)
    if len(planned.jobs) > 1:
        _one_thread()
    if min(processes, len(todo)) > 1:
        start_server(options.imports)
    task = FileTask(*_settings(options))
    return restore_files(planned.jobs, todo, task, output, share, processes)


def _restore_dataset(options: argparse.Namespace, share: Share, processes: int) -> int:
    from restore import dataset  # here, since it takes as long to load as all else

    if options.input or options.overwrite:
        raise UsageError("--dataset goes without other pictures, and does nothing again: remove its files for that")
    dataset.check_apart(options.dataset, options.output)
    source, store = dataset.Source.open(options.dataset, options.split), dataset.open_store(options.output)
    _one_thread()
    if processes > 1:
        start_server([*options.imports, "restore.dataset"])
    task = dataset.RowTask(*_settings(options))
    return dataset.restore_dataset(source, store, task, share=share, processes=processes)


def _settings(options: argparse.Namespace) -> tuple[Work, int, bool]:
    """What is done to every picture, the most pixels that it may have, and whether its place is kept."""
    return options.work(options), int(options.max_megapixels * 1e6), options.keep_gps


def _one_thread() -> None:
    """Let each of many pictures have one thread: the last bits of colour depend on threads, and must not on who does the work."""
    if not torch.cuda.is_available():
        torch.set_num_threads(1)


# The arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m restore", description="Clean up noisy photographs and give grey ones colour."
    )
    commands = parser.add_subparsers(required=True, metavar="denoise|colorize|restore")

    denoise = _command(commands, "denoise", "remove the noise", _denoise)
    denoise.set_defaults(imports=("restore.pipeline",))
    denoise.add_argument("--model", default="denoiser-photo", help="bundled name, folder or Hub id (%(default)s)")
    colorize = _command(commands, "colorize", "give colour", _colorize)
    colorize.add_argument("--model", default="colorizer-photo", help="bundled name, folder or Hub id (%(default)s)")
    restore = _command(commands, "restore", "remove the noise, and give colour to what is grey", _restore)
    restore.add_argument("--denoiser", default="denoiser-photo", help="bundled name, folder or Hub id (%(default)s)")
    restore.add_argument("--colorizer", default="colorizer-photo", help="bundled name, folder or Hub id (%(default)s)")

    for command in (denoise, restore):
        command.add_argument(
            "--strength", type=_up_to(pipeline.MAX_STRENGTH), default=1.0, help="how much of the noise to remove, 0 to 1.5 (1)"
        )
        command.add_argument(
            "--self-ensemble", action="store_true", help="mean over eight flips and rotations, eight times slower"
        )
    for command in (colorize, restore):
        command.add_argument(
            "--vividness", type=_up_to(pipeline.MAX_VIVIDNESS), default=1.0, help="how lively the colours are, 0 to 2 (1)"
        )
        command.add_argument(
            "--hint",
            type=_hint,
            action="append",
            metavar="X,Y,#RRGGBB",
            help="a known colour at a pixel; may be repeated, and counts for every picture",
        )
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    purpose: str,
    work: Callable[[argparse.Namespace], Work],  # checks the weights first, since processes load them by name
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=purpose, description=f"{purpose.capitalize()}.")
    command.set_defaults(work=work, imports=("restore.pipeline", "timm"))  # timm takes as long as all else; colorizers need it
    command.add_argument("input", nargs="*", type=Path, metavar="INPUT", help="pictures and folders of pictures")
    command.add_argument("-o", "--output", required=True, help="a file for one picture, else a folder")
    command.add_argument(
        "--dataset",
        default="",
        help="in place of pictures: a Hub id, or a folder of Parquet files; OUTPUT "
        "is then a folder, or hf://datasets/USER/NAME, and gets Parquet files",
    )
    command.add_argument("--split", default="train", help="split of the data set to read (%(default)s)")
    command.add_argument(
        "--processes", type=_count, default=0, help="worker processes, one thread each; one beside a GPU (one per core)"
    )
    command.add_argument("--overwrite", action="store_true", help="do again what is already in the folder OUTPUT")
    command.add_argument(
        "--max-megapixels", type=_up_to(1e6), default=MAX_PIXELS / 1e6, help="refuse larger pictures (%(default)g)"
    )
    command.add_argument("--keep-gps", action="store_true", help="keep the GPS position, which is removed otherwise")
    return command


def _denoise(options: argparse.Namespace) -> Work:
    pipeline.load(Denoiser, options.model)
    return partial(pipeline.denoise, model=options.model, strength=options.strength, self_ensemble=options.self_ensemble)


def _colorize(options: argparse.Namespace) -> Work:
    pipeline.load_colorizer(options.model, bool(options.hint))
    return partial(pipeline.colorize, model=options.model, vividness=options.vividness, hints=options.hint)


def _restore(options: argparse.Namespace) -> Work:
    pipeline.load(Denoiser, options.denoiser)
    pipeline.load_colorizer(options.colorizer, bool(options.hint))
    return partial(
        pipeline.restore,
        denoiser=options.denoiser,
        colorizer=options.colorizer,
        strength=options.strength,
        self_ensemble=options.self_ensemble,
        vividness=options.vividness,
        hints=options.hint,
    )


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {text}")
    return int(text)


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
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # how torchrun and Slurm stop a process: as cleanly as Ctrl-C
    code = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed once more, it would end in a traceback
    sys.exit(code)
