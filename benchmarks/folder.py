"""A folder of photographs on all cores beside one photograph on one core: `python -m benchmarks.folder PHOTO --count 200`.

Both go from JPEG to JPEG. The folder's seconds are those of the command, from its start to its end; one photograph's are the
median of several, before and after, with the networks already loaded.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from benchmarks.__main__ import markdown, noisy_picture
from benchmarks.measure import seconds_of
from restore import pipeline
from restore.images import open_picture, save_picture
from web.files import to_image

WORKS: dict[str, Callable[..., Image.Image]] = {"denoise": pipeline.denoise, "colorize": pipeline.colorize}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--commands", nargs="+", choices=list(WORKS), default=list(WORKS))
    parser.add_argument("--count", type=int, default=200, help="copies of it in the folder")
    parser.add_argument("--megapixels", type=float, default=1.0, help="that it is brought to")
    parser.add_argument("--repeats", type=int, default=5, help="of one photograph, before and after")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(1)
    rows = [measure(command, options, cores) for command in options.commands]
    columns = [
        "command",
        "one photo on one core, s",
        f"{options.count} photos on {cores} cores, s",
        "of one photo's pace x cores",
    ]
    print(f"Photos of {options.megapixels:g} megapixels.\n\n{markdown(columns, rows)}")


def measure(command: str, options: argparse.Namespace, cores: int) -> list[str]:
    """The row of a command."""
    with tempfile.TemporaryDirectory(prefix="folder-") as place:
        folder = Path(place, "photos")
        folder.mkdir()
        first = folder / "0.jpg"
        save_picture(to_image(noisy_picture(open_picture(options.photo).rgb, options.megapixels, 0.05)), first)
        for number in range(1, options.count):
            (folder / f"{number}.jpg").write_bytes(first.read_bytes())

        def one() -> None:
            save_picture(WORKS[command](first), Path(place, "one.jpg"))

        one()
        single = [seconds_of(one) for _ in range(options.repeats)]
        words = [sys.executable, "-m", "restore", command, str(folder), "-o", str(Path(place, "results"))]
        run = partial(subprocess.run, words, check=True, stderr=subprocess.DEVNULL)
        whole = seconds_of(run)
        single += [seconds_of(one) for _ in range(options.repeats)]
    pace = statistics.median(single)
    return [command, f"{pace:.2f}", f"{whole:.1f}", f"{options.count * pace / cores / whole:.0%}"]


if __name__ == "__main__":
    main()
