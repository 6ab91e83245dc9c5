"""One Markdown table of ours beside the peers: `python -m benchmarks FOLDER --sigma 25 --limit 10`.

PSNR is the mean per image on the pictures with white Gaussian noise (seed 0, not clipped); seconds per megapixel are the
median over rounds in which every method runs once, in turn, on one picture of a megapixel; "of FFDNet" divides the two in each
round.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch import Generator, Tensor

from benchmarks.peers import PEERS, Method
from restore.images import open_picture
from restore.memory import warm_pages
from restore.metrics import psnr
from restore.models.denoiser import Denoiser
from restore.noise import gaussian
from restore.pipeline import denoise_tensor

SIDE = 1024  # of the picture that is timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="clean pictures")
    parser.add_argument("--sigma", type=float, default=25, help="on the 0 to 255 scale")
    parser.add_argument("--limit", type=int, default=10, help="pictures for PSNR")
    parser.add_argument("--rounds", type=int, default=5, help="of the timing")
    parser.add_argument("--model", default="denoiser-photo")
    options = parser.parse_args()
    sigma = options.sigma / 255
    methods = ours(options.model) | PEERS
    clean = [open_picture(path).rgb for path in sorted(options.folder.iterdir())[: options.limit]]
    quality = {name: mean_psnr(run, clean, sigma) for name, run in methods.items()}
    seconds = time_in_turn(methods, sigma, options.rounds)
    print(table(quality, seconds, matmul_gflops(), len(clean), options.sigma))


def ours(name: str) -> dict[str, Method]:
    """The network, plain and averaged over the eight flips and rotations; blind, so that sigma goes unused."""
    model = Denoiser.from_pretrained(name)
    return {
        name: lambda noisy, _: denoise_tensor(noisy, model),
        f"{name}, self-ensemble": lambda noisy, _: denoise_tensor(noisy, model, self_ensemble=True),
    }


def mean_psnr(run: Method, pictures: list[Tensor], sigma: float) -> float:
    """Mean PSNR in dB of a method's output, rounded to 8 bits."""
    generator = Generator().manual_seed(0)
    estimates = (
        (run(gaussian(clean, sigma, generator), sigma).clamp(0, 1).mul(255).round().div(255), clean) for clean in pictures
    )
    return statistics.fmean(psnr(estimate, clean).item() for estimate, clean in estimates)


def time_in_turn(methods: dict[str, Method], sigma: float, rounds: int) -> dict[str, list[float]]:
    """Seconds per megapixel of each method in each round, after one round that is not counted."""
    noisy = gaussian(torch.rand(1, 3, SIDE, SIDE), sigma, Generator().manual_seed(0)).clamp(0, 1)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    with warm_pages():
        for number in range(rounds + 1):
            for name, run in methods.items():
                start = time.perf_counter()
                run(noisy, sigma)
                if number:
                    seconds[name].append((time.perf_counter() - start) / (SIDE * SIDE / 1e6))
    return seconds


def matmul_gflops(size: int = 2048, repeats: int = 10) -> float:
    """The machine's peak at multiplying matrices, with which the networks' arithmetic can be compared."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        a @ b
        rates.append(2 * size**3 / (time.perf_counter() - start) / 1e9)
    return max(rates)


def table(quality: dict[str, float], seconds: dict[str, list[float]], peak: float, pictures: int, sigma: float) -> str:
    """The figures as Markdown."""
    lines = [
        f"{pictures} pictures, sigma {sigma:g}; {torch.get_num_threads()} threads, matrix multiplication {peak:.0f} GFLOPS",
        "",
        "| method | PSNR | seconds per megapixel | of FFDNet |",
        "| --- | --- | --- | --- |",
    ]
    for name in quality:
        ratio = statistics.median(a / b for a, b in zip(seconds[name], seconds["FFDNet"], strict=True))
        lines.append(f"| {name} | {quality[name]:.2f} | {statistics.median(seconds[name]):.2f} | {ratio:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
