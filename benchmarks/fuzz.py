"""Mutate pictures for a while: each must give a picture or an ImageError, soon, and nothing else.

python benchmarks/fuzz.py --seconds 20 --seed 0      # then the bombs of tests/corpus.py, with their seconds and memory
python benchmarks/fuzz.py --seed 0 --only 1234       # one mutant again, by its number
"""

import argparse
import collections
import faulthandler
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from corpus import RESTORES, bombs, corpus  # noqa: E402

from restore.images import open_picture  # noqa: E402

LIMITS = [
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\0\0\0",
    b"\0\0\0\x80",
    b"\xff\xff",
    b"\0\1",
]


def mutate(seeds: list[bytes], rng: np.random.Generator) -> bytes:
    """One of the seeds after one to five small accidents."""
    data = bytearray(seeds[rng.integers(len(seeds))])
    for _ in range(rng.integers(1, 6)):
        # Half of the accidents happen where the headers are.
        place = int(rng.integers(min(len(data), 200) if rng.random() < 0.5 else len(data))) if data else 0
        length = int(rng.integers(1, 40))
        match rng.integers(6):
            case 0:
                data[place : place + 1] = rng.bytes(1)
            case 1:
                limit = LIMITS[rng.integers(len(LIMITS))]
                data[place : place + len(limit)] = limit
            case 2:
                del data[place : place + length]
            case 3:
                data[place:place] = data[place : place + length]
            case 4:
                other = seeds[rng.integers(len(seeds))]
                data[place : place + length] = other[place : place + length]
            case _:
                del data[place + length * 8 :]
    return bytes(data)


def outcome(content: bytes) -> tuple[str, float]:
    """What came of the content, "picture" or the name of an exception, and the seconds that it took."""
    start = time.perf_counter()
    try:
        open_picture(content)
        kind = "picture"
    except Exception as error:  # noqa: BLE001 - what must not happen is counted, by type
        kind = type(error).__name__
    return kind, time.perf_counter() - start


def peak_mb() -> float:
    """The most memory that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run this mutant alone")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow warns of what it repairs
    faulthandler.enable()  # a crash in a C library would otherwise be silent

    seeds = [content for content, expected in corpus().values() if expected == RESTORES and len(content) < 100_000]
    if arguments.only is not None:
        print(*outcome(mutate(seeds, np.random.default_rng([arguments.seed, arguments.only]))))
        return 0

    dangers = bombs()
    outcome(seeds[0])  # imports and caches are no part of the figures
    before, slowest = peak_mb(), (0.0, "")
    for name, (content, expected) in dangers.items():
        if expected != RESTORES:
            slowest = max(slowest, (outcome(content)[1], name))
    print(f"{len(dangers)} bombs: the slowest {slowest[0] * 1000:.1f} ms ({slowest[1]}), {peak_mb() - before:.0f} MB more")

    outcomes: collections.Counter[str] = collections.Counter()
    before, worst = peak_mb(), (0.0, 0)
    start = time.perf_counter()
    number = 0
    while time.perf_counter() - start < arguments.seconds:
        kind, seconds = outcome(mutate(seeds, np.random.default_rng([arguments.seed, number])))
        outcomes[kind] += 1
        worst = max(worst, (seconds, number))
        if kind not in ("picture", "ImageError"):
            print(f"mutant {number}: {kind}")
        number += 1
    print(f"{number} mutants in {time.perf_counter() - start:.1f} s, the worst {worst[0]:.3f} s (number {worst[1]})")
    print(
        f"peak {peak_mb():.0f} MB, {peak_mb() - before:.0f} MB more; "
        + ", ".join(f"{n} {kind}" for kind, n in outcomes.most_common())
    )
    return 1 if set(outcomes) - {"picture", "ImageError"} else 0


if __name__ == "__main__":
    sys.exit(main())
