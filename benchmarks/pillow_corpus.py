"""Open every test picture of Pillow: each must give a picture or an ImageError, and nothing else.

    python benchmarks/pillow_corpus.py                      # downloads Pillow's source with pip, into a temporary folder
    python benchmarks/pillow_corpus.py pillow-12.3.0.tar.gz # or a source archive, or an unpacked folder

The pictures carry licences of their own and are never part of this repository.
"""

import argparse
import collections
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from pathlib import Path

import PIL

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from restore.images import ImageError, open_picture


def download(folder: Path) -> Path:
    """Fetch the source archive of the Pillow in use with pip."""
    package = f"pillow=={PIL.__version__}"
    options = ["--quiet", "--no-binary", ":all:", "--no-deps", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, package]
    subprocess.run(command, check=True)  # noqa: S603 - fixed arguments
    return next(folder.glob("pillow-*.tar.gz"))


def pictures_in(source: Path, folder: Path) -> list[Path]:
    """The test pictures below a folder, or of an archive that is unpacked into `folder` first."""
    if source.is_file():
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter="data")
        source = folder
    root = next(iter(sorted(source.glob("**/Tests/images"))), source)
    return sorted(path for path in root.rglob("*") if path.is_file())


def description(path: Path) -> str:
    """Open a picture and say what came in; the picture itself goes away."""
    picture = open_picture(path)
    height, width = picture.rgb.shape[2:]
    return f"{width} x {height} {picture.mode} {'; '.join(picture.notes)}"


def peak_mb() -> float:
    """The most memory that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, help="archive or folder; default: download")
    parser.add_argument("--verbose", action="store_true", help="one line a picture")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow warns of what it repairs

    with tempfile.TemporaryDirectory() as folder:
        paths = pictures_in(arguments.source or download(Path(folder)), Path(folder))
        outcomes: collections.Counter[str] = collections.Counter()
        slowest = (0.0, "")
        before = peak_mb()
        start = time.perf_counter()
        for path in paths:
            began = time.perf_counter()
            try:
                outcome, said = "picture", description(path)
            except ImageError as error:
                outcome, said = "ImageError", str(error)
            except Exception as error:  # noqa: BLE001 - what must not happen is counted, by type
                outcome, said = type(error).__name__, str(error)
            outcomes[outcome] += 1
            slowest = max(slowest, (time.perf_counter() - began, path.name))
            if arguments.verbose:
                print(f"{time.perf_counter() - began:6.3f} s  {path.name}: {outcome} {said}")
        seconds = time.perf_counter() - start

    print(f"{len(paths)} files in {seconds:.1f} s, the slowest {slowest[0]:.2f} s ({slowest[1]})")
    print(f"peak {peak_mb():.0f} MB, {peak_mb() - before:.0f} MB above the start of {before:.0f} MB")
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common()))
    return 1 if set(outcomes) - {"picture", "ImageError"} else 0


if __name__ == "__main__":
    sys.exit(main())
