"""Ours beside the peers, and how ours scales, as Markdown, in one run: `python -m benchmarks FOLDER --sigma 25 --limit 10`.

PSNR is the mean per image on the pictures with white Gaussian noise (seed 0, not clipped). Seconds per megapixel are the median
over rounds in which every method runs once, in turn, on one picture of a megapixel; "of FFDNet" divides the two in each round.
Memory is the growth of the process at its peak. The sizes of the scaling are 4 by 3; their seconds are the least of the rounds.
"""

import argparse
import math
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from benchmarks.measure import flops_a_pixel, matmul_gflops, peak_megabytes, seconds_in_turn, seconds_of, stage_seconds
from benchmarks.peers import PEERS, Method
from restore import pipeline
from restore.guided import GuidedColor
from restore.images import open_picture, save_picture
from restore.memory import warm_pages
from restore.metrics import psnr
from restore.models.colorizer import Colorizer
from restore.models.denoiser import Denoiser
from restore.noise import gaussian
from restore.pipeline import colorize_tensor, denoise_tensor
from restore.precision import multiplies_bfloat16
from train.evaluate import folder_pictures
from web.files import to_image

STAGES = {  # of colorize, on the way from the picture's pixels to the result's
    (pipeline, "_predict_color"): "the network, on a reduction",
    (pipeline, "rgb_to_lab"): "RGB to Lab",
    (GuidedColor, "rows"): "colour along the edges",
    (pipeline, "lab_to_rgb"): "Lab to RGB, into the gamut",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="clean pictures")
    parser.add_argument("--sigma", type=float, default=25, help="on the 0 to 255 scale")
    parser.add_argument("--limit", type=int, default=10, help="pictures for PSNR")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS), help="BM3D takes most of the time")
    parser.add_argument("--rounds", type=int, default=5, help="of the timing")
    parser.add_argument("--megapixels", type=float, nargs="*", default=[0.1, 1, 4, 12, 48], help="sizes of the scaling")
    parser.add_argument("--denoiser", default="denoiser-photo")
    parser.add_argument("--colorizer", default="colorizer-photo")
    options = parser.parse_args()
    denoiser = pipeline.load(Denoiser, options.denoiser)
    colorizer = pipeline.load(Colorizer, options.colorizer)
    clean = list(islice(folder_pictures(options.folder), options.limit))
    with warm_pages():
        print(
            compare(denoiser, options.denoiser, options.peers, clean, options.sigma / 255, options.rounds), end="\n\n", flush=True
        )
        print(scale(denoiser, colorizer, clean[0], options.megapixels, options.rounds), end="\n\n", flush=True)
        print(stages(colorizer, clean[0]))


# Beside the peers


def compare(denoiser: Denoiser, name: str, peers: Sequence[str], clean: Sequence[Tensor], sigma: float, rounds: int) -> str:
    """PSNR, seconds and memory of ours and of peers, and the arithmetic of ours against the machine's peak.

    The seconds are also divided by those of FFDNet, or of the last of the peers where it is not among them.
    """
    yardstick = "FFDNet" if "FFDNet" in peers else peers[-1]
    precision = torch.bfloat16 if multiplies_bfloat16() else torch.float32
    methods: dict[str, Method] = {
        name: lambda noisy, _: denoise_tensor(noisy, denoiser),
        f"{name}, self-ensemble": lambda noisy, _: denoise_tensor(noisy, denoiser, self_ensemble=True),
    }
    if precision != torch.float32:
        methods[f"{name} in float32"] = partial(in_float32, denoiser)
    methods |= {peer: PEERS[peer] for peer in peers}
    quality = {method: mean_psnr(run, clean, sigma) for method, run in methods.items()}
    noisy = noisy_picture(clean[0], 1.0, sigma)
    works = {method: partial(run, noisy, sigma) for method, run in methods.items()}
    memory = {method: peak_megabytes(work) for method, work in works.items()}
    seconds = seconds_in_turn(works, rounds)
    peak = matmul_gflops(precision)
    reached = flops_a_pixel(denoiser) * noisy[0, 0].numel() / min(seconds[name]) / 1e9

    def row(method: str) -> list[str]:
        ratio = statistics.median(a / b for a, b in zip(seconds[method], seconds[yardstick], strict=True))
        time = statistics.median(seconds[method]) / megapixels(noisy)
        return [method, f"{quality[method]:.2f}", f"{time:.2f}", f"{ratio:.2f}", f"{memory[method]:.0f}"]

    columns = ["method", f"PSNR, sigma {255 * sigma:g}", "seconds per megapixel", f"of {yardstick}", "memory at 1 megapixel, MB"]
    kind = str(precision).removeprefix("torch.")
    arithmetic = (
        f"{len(clean)} pictures, {torch.get_num_threads()} threads. {name}: {reached:.0f} GFLOPS in {kind}, "
        f"{reached / peak:.0%} of the {peak:.0f} that multiplying matrices reaches here."
    )
    return f"{arithmetic}\n\n{markdown(columns, [row(method) for method in methods])}"


@torch.inference_mode()
def in_float32(denoiser: Denoiser, noisy: Tensor, _: float) -> Tensor:
    """The network alone, as a processor without bfloat16 runs it."""
    estimate: Tensor = denoiser(noisy.contiguous(memory_format=torch.channels_last))
    return estimate


def mean_psnr(run: Method, pictures: Sequence[Tensor], sigma: float) -> float:
    """Mean PSNR in dB of a method's output, rounded to 8 bits."""
    generator = Generator().manual_seed(0)
    estimates = (
        (run(gaussian(clean, sigma, generator), sigma).clamp(0, 1).mul(255).round().div(255), clean) for clean in pictures
    )
    return statistics.fmean(psnr(estimate, clean).item() for estimate, clean in estimates)


# With the size


def scale(denoiser: Denoiser, colorizer: Colorizer, clean: Tensor, sizes: Sequence[float], rounds: int) -> str:
    """Seconds per megapixel and memory of both tasks, on pictures of several sizes."""
    tasks: dict[str, Callable[[Tensor], Tensor]] = {
        "denoise": lambda rgb: denoise_tensor(rgb, denoiser, out=rgb),
        "colorize": lambda rgb: colorize_tensor(rgb, colorizer, out=rgb),
    }
    rows = []
    for size in sizes:
        noisy = noisy_picture(clean, size, 25 / 255)
        cells = [f"{size:g}"]
        for run in tasks.values():
            memory = peak_megabytes(partial(run, noisy))
            repeats = max(1, min(rounds, round(12 * rounds / size)))
            seconds = min(seconds_of(partial(run, noisy)) for _ in range(repeats))
            cells += [f"{seconds / megapixels(noisy):.2f}", f"{memory:.0f}"]
        rows.append(cells)
    columns = ["megapixels", *(f"{task}, {unit}" for task in tasks for unit in ("seconds per megapixel", "MB"))]
    return f"Scaling: the pixels of the picture, 12 bytes each, come on top of the memory.\n\n{markdown(columns, rows)}"


def stages(colorizer: Colorizer, clean: Tensor, size: float = 12.0) -> str:
    """Where the seconds of colorizing a photograph go, from file to file."""
    rgb = noisy_picture(clean, size, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "photo.jpg"), Path(folder, "result.jpg")
        save_picture(to_image(rgb), source)
        found = {"decode the JPEG": seconds_of(lambda: open_picture(source))}
        with stage_seconds(list(STAGES)) as spent:
            total = seconds_of(lambda: colorize_tensor(rgb, colorizer))
        found |= {STAGES[stage]: spent[stage[1]] for stage in STAGES}
        found["the rest of colorize"] = total - sum(spent.values())
        image = pipeline.colorize(source, colorizer)
        found["encode the JPEG"] = seconds_of(lambda: save_picture(image, target))
    rows = [[stage, f"{seconds:.2f}"] for stage, seconds in found.items()]
    rows.append(["all", f"{sum(found.values()):.2f}"])
    return f"Colorizing {size:g} megapixels.\n\n{markdown(['stage', 'seconds'], rows)}"


def noisy_picture(clean: Tensor, size: float, sigma: float) -> Tensor:
    """The picture enlarged or reduced to `size` megapixels of 4 by 3, with white noise on it."""
    height = round(math.sqrt(size * 1e6 * 3 / 4))
    return gaussian(interpolate(clean, (height, height * 4 // 3), mode="bilinear"), sigma, Generator().manual_seed(0)).clamp(0, 1)


def megapixels(picture: Tensor) -> float:
    return picture[0, 0].numel() / 1e6


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [columns, ["---"] * len(columns), *rows])


if __name__ == "__main__":
    main()
