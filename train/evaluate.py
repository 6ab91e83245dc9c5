"""Measure the networks: the paper's tables and the usual benchmarks, as Markdown and as JSON for the app and the cards.

    python -m train.evaluate --cifar10 uoft-cs/cifar10 --cbsd68 FOLDER --out docs/results.json

Only the sets that are named are measured; the others' tables stay as they are in the JSON. The rows of BM3D, FFDNet and other
peers are those that `python -m benchmarks.quality` has put in docs/peers.json.
"""

import argparse
import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from kornia.filters import gaussian_blur2d
from torch import Generator, Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))  # `python train/evaluate.py` puts only train/ on the path

from restore.color import grey, lab_to_rgb, rgb_to_lab
from restore.images import ImageError, open_picture
from restore.metrics import ciede2000, colorfulness, mse, psnr_of_mse
from restore.models.colorizer import Colorizer
from restore.models.denoiser import Denoiser
from restore.models.hub import SAFETENSORS, WEIGHTS, checksum
from restore.noise import dither, gaussian, halftone, paper_mixture
from restore.pipeline import colorize_tensor
from train import results
from train.data import DataError, decode, open_splits, to_float
from train.results import Row, Table

PAPER_PSNR = {"denoiser-cifar10": 22.78, "denoiser-imagenet64": 26.98, "colorizer-cifar10": 25.02, "colorizer-imagenet64": 26.84}
COPIED = {"cifar10": "uoft-cs/cifar10"}  # sets whose pictures are the same in every copy; photographs reduced anew are not
HINT_COUNTS = (0, 1, 5, 20, 100)
REAL_NOISE = {"real_noise": ("nam-2016", "Nam et al., 2016"), "polyu": ("polyu", "Xu et al., 2018")}  # identifier, source
NOISY_AND_CLEAN = {"_noisy": "_clean", "_real": "_mean"}
SIGMAS = (0, 15, 25, 50)  # on the 0 to 255 scale
PRINTED: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {  # clean to how it is printed, and to what should come of that
    "halftone": lambda clean: (halftone(clean, 4.0, radius=1.0), clean),
    "halftone in black": lambda clean: (halftone(grey(clean), 4.0, (45, 45, 45), radius=1.0), grey(clean)),
    "dither of 16 colours": lambda clean: (dither(clean, 16), clean),
    "dither of one bit": lambda clean: (dither(grey(clean)), grey(clean)),
}
Method = Callable[[Tensor, float], Tensor]  # noisy (B, 3, H, W) in [0, 1] and sigma on that scale, to an estimate
Pairs = Iterator[tuple[Tensor, Tensor, float]]  # noisy, clean, sigma
Paint = Callable[[Tensor, float], Tensor]  # (B, 3, H, W) in [0, 1] and a vividness, to the same lightness in other colours


class Errors:
    """Squared errors gathered picture by picture, as the mean of per-image PSNR and as the PSNR of the pooled error, in dB."""

    def __init__(self) -> None:
        self.batches: list[Tensor] = []

    def add(self, picture: Tensor, truth: Tensor) -> None:
        self.batches.append(mse(picture, truth).clamp_min(1e-10))  # 100 dB at most, so that an exact picture has a number

    def __len__(self) -> int:
        return sum(len(batch) for batch in self.batches)

    def per_image(self) -> float:
        return psnr_of_mse(torch.cat(self.batches)).mean().item()

    def pooled(self) -> float:
        return psnr_of_mse(torch.cat(self.batches).mean()).item()


def to_8_bit(picture: Tensor) -> Tensor:
    """Clamp and round to the 256 levels of a stored picture."""
    return (picture.clamp(0, 1) * 255).round() / 255


def title(dataset: str) -> str:
    """A Hub id as it is, a folder by its name."""
    return Path(dataset).name if Path(dataset).is_dir() else dataset


def identifier(key: str, dataset: str) -> str:
    """The Hub's id of a set, also of a folder with a copy of it; of another folder, its name as an id."""
    if key in COPIED or not Path(dataset).is_dir():
        return COPIED.get(key, dataset)
    return title(dataset).lower().replace(" ", "-")


def folder_pictures(folder: Path) -> Iterator[Tensor]:
    """The pictures of a folder in the order of their names, each (1, 3, H, W). Raises ImageError that names the file."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):  # as .DS_Store
            continue
        try:
            yield open_picture(path).rgb
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error


def split_batches(dataset: str, limit: int, batch_size: int = 100) -> Iterator[Tensor]:
    """The first `limit` pictures of a data set's validation or test split, (B, 3, H, W).

    Of a set without one they are from the twentieth that training holds out. Neighbours of one size share a batch. Pictures that
    are corrupt or grey are left out and named.
    """
    _, split = open_splits(dataset)
    batch: list[Tensor] = []
    for index in range(min(limit, len(split))):
        try:
            picture = torch.from_numpy(decode(split[index]["image"]).copy()).permute(2, 0, 1)
        except DataError as error:
            print(f"{dataset}: picture {index} is left out: {error}", file=sys.stderr)
            continue
        if batch and (len(batch) == batch_size or batch[0].shape != picture.shape):
            yield to_float(batch)
            batch = []
        batch.append(picture)
    if batch:
        yield to_float(batch)


def colour_batches(dataset: str, limit: int) -> Iterator[Tensor]:
    """The same, (B, 3, H, W), without the pictures that have no colour.

    Of those the grey picture is a perfect copy, at an infinite PSNR that would rule any mean over images.
    """
    for rgb in split_batches(dataset, limit, 20):
        has_colour = (rgb != rgb[:, :1]).flatten(1).any(1)
        if has_colour.any():
            yield rgb[has_colour]


def denoising_table(name: str, model: str, dataset: str, caption: str, methods: Mapping[str, Method], pairs: Pairs) -> Table:
    """PSNR of every method on the same pictures."""
    errors = score(methods, pairs)
    rows: tuple[Row, ...] = tuple((method, e.per_image(), e.pooled()) for method, e in errors.items())
    caption = f"{caption}, {len(next(iter(errors.values())))} pictures"
    return Table(name, model, dataset, caption, ("method", "PSNR, mean per image", "PSNR, pooled"), rows)


def cbsd68_table(methods: Mapping[str, Method], folder: Path) -> Table:
    """Clean and white Gaussian noise on CBSD68: float noise, seed 0, not clipped; output rounded to 8 bits."""
    by_sigma = [score(methods, gaussian_pairs(folder, sigma / 255)) for sigma in SIGMAS]
    rows: tuple[Row, ...] = tuple((method, *(errors[method].per_image() for errors in by_sigma)) for method in methods)
    columns = ("method", *(f"PSNR, sigma {sigma}" for sigma in SIGMAS))
    return Table("cbsd68", "denoiser-photo", "cbsd68", "CBSD68, white Gaussian noise, mean per image", columns, rows)


def prints_table(methods: Mapping[str, Method], folder: Path) -> Table:
    """CBSD68 in print: dots four pixels apart, as a scanner sees them, and dither."""
    by_print = [score(methods, printed_pairs(folder, change)) for change in PRINTED.values()]
    rows: tuple[Row, ...] = tuple((method, *(errors[method].per_image() for errors in by_print)) for method in methods)
    columns = ("method", *(f"PSNR, {name}" for name in PRINTED))
    return Table("prints", "denoiser-photo", "cbsd68", "CBSD68 in print, mean per image", columns, rows)


def score(methods: Mapping[str, Method], pairs: Pairs) -> dict[str, Errors]:
    """The errors of each method's output, rounded to 8 bits; what is named "noisy" is compared as it is."""
    errors = {method: Errors() for method in methods}
    for noisy, clean, sigma in pairs:
        for method, run in methods.items():
            estimate = run(noisy, sigma)
            errors[method].add(estimate if method == "noisy" else to_8_bit(estimate), clean)
    if not all(map(len, errors.values())):
        raise DataError("there is no picture to measure on")
    return errors


def gaussian_pairs(folder: Path, sigma: float) -> Pairs:
    generator = Generator().manual_seed(0)
    return ((gaussian(clean, sigma, generator), clean, sigma) for clean in folder_pictures(folder))


def printed_pairs(folder: Path, change: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Pairs:
    for picture in folder_pictures(folder):
        printed, clean = change(picture)
        yield printed, clean, mse(printed, clean).sqrt().item()


def paper_pairs(dataset: str, fraction: float, limit: int) -> Pairs:
    """The paper's mixture: sigma 0.125 and salt and pepper."""
    generator = Generator().manual_seed(0)
    return ((paper_mixture(clean, generator, fraction=fraction), clean, 0.125) for clean in split_batches(dataset, limit))


def with_peers(table: Table, peers: Mapping[str, Table]) -> Table:
    """The table with the peers' rows after the noisy picture's, and the paper's figure.

    Peers that were measured on another set do not belong here.
    """
    noisy, *ours = table.rows
    others: tuple[Row, ...] = ()
    found = peers.get(table.name)
    if found and found.columns == table.columns and found.dataset == table.dataset:
        others = rows_beside(found, split_caption(table)[1])
    paper: tuple[Row, ...] = (("the paper, as printed", PAPER_PSNR[table.name], "-"),) if table.name in PAPER_PSNR else ()
    return dataclasses.replace(table, rows=(noisy, *others, *ours, *paper))


def split_caption(table: Table) -> tuple[str, int]:
    """What the caption says of what was measured, and on how many pictures; 0 where it does not say."""
    found = re.fullmatch(r"(.*), (\d+) pictures", table.caption)
    return (found[1], int(found[2])) if found else (table.caption, 0)


def rows_beside(table: Table, count: int) -> tuple[Row, ...]:
    """The rows of a table, to stand beside those on `count` pictures; on how many they are if not as many."""
    _, own = split_caption(table)
    if own == count:
        return table.rows
    return tuple((f"{str(method).partition(', first')[0]}, first {own} pictures", *cells) for method, *cells in table.rows)


def real_noise_pairs(folder: Path) -> Pairs:
    """Noisy photographs beside the means of many, named as in NOISY_AND_CLEAN; the noise level is that of their difference."""
    for path in sorted(folder.iterdir()):
        for noisy_end, clean_end in NOISY_AND_CLEAN.items():
            if path.stem.endswith(noisy_end):
                clean = open_picture(path.with_stem(path.stem.removesuffix(noisy_end) + clean_end)).rgb
                noisy = open_picture(path).rgb
                yield noisy, clean, mse(noisy, clean).sqrt().item()


def colour_table(name: str, model: str, dataset: str, caption: str, paint: Paint, pictures: Iterator[Tensor]) -> Table:
    """Colour against the grey picture: PSNR both ways, colourfulness, CIEDE2000."""
    settings = {"grey": None, "safest (vividness 0)": 0.0, "default (vividness 1)": 1.0, "lively (vividness 2)": 2.0}
    errors = {setting: Errors() for setting in settings}
    colour: dict[str, list[Tensor]] = {setting: [] for setting in settings}
    difference: dict[str, list[Tensor]] = {setting: [] for setting in settings}
    true_colour = []
    for rgb in pictures:
        true_colour.append(colorfulness(rgb))
        for setting, vividness in settings.items():
            picture = to_8_bit(grey(rgb) if vividness is None else paint(rgb, vividness))
            errors[setting].add(picture, rgb)
            colour[setting].append(colorfulness(picture))
            difference[setting].append(ciede2000(picture, rgb))
    truth = torch.cat(true_colour).mean().item()
    baseline = errors["grey"]
    rows: list[Row] = []
    for setting, e in errors.items():
        gains = e.per_image() - baseline.per_image(), e.pooled() - baseline.pooled()
        share = 100 * torch.cat(colour[setting]).mean().item() / truth
        rows.append((setting, e.per_image(), gains[0], e.pooled(), gains[1], share, torch.cat(difference[setting]).mean().item()))
    if name in PAPER_PSNR:
        rows.append(("the paper, as printed", PAPER_PSNR[name], "-", "-", "-", "-", "-"))
    columns = (
        "colour",
        "PSNR, mean per image",
        "over grey",
        "PSNR, pooled",
        "over grey",
        "colourfulness, % of truth",
        "CIEDE2000",
    )
    return Table(name, model, dataset, f"{caption}, {len(baseline)} colour pictures", columns, tuple(rows))


def hints_table(name: str, dataset: str, caption: str, network: Colorizer, pictures: Iterator[Tensor]) -> Table:
    """PSNR of the safest colour with the true colour of so many points."""
    generator = Generator().manual_seed(0)
    errors = {count: Errors() for count in HINT_COUNTS}
    for rgb in pictures:
        lightness, ab = rgb_to_lab(rgb)
        for count, gathered in errors.items():
            hints = point_hints(ab, count, generator)
            gathered.add(to_8_bit(lab_to_rgb(lightness, network(lightness, hints))), rgb)
    caption = f"{caption}, {len(errors[0])} colour pictures, with hints"
    rows: tuple[Row, ...] = tuple((f"{count}", e.per_image(), e.pooled()) for count, e in errors.items())
    return Table(f"{name}-hints", name, dataset, caption, ("hints", "PSNR, mean per image", "PSNR, pooled"), rows)


def point_hints(ab: Tensor, count: int, generator: Generator) -> Tensor:
    """The true colour of `count` random pixels of each picture, grown to 7x7 as a visitor's dab: hints (B, 3, H, W)."""
    batch, _, height, width = ab.shape
    points = torch.rand(batch, height * width, generator=generator).argsort(1)[:, :count]
    mask = torch.zeros(batch, height * width).scatter_(1, points, 1.0).reshape(batch, 1, height, width)
    reach = min(3, min(height, width) // 16)
    mask = torch.nn.functional.max_pool2d(mask, 2 * reach + 1, stride=1, padding=reach)
    return torch.cat([ab * mask, mask], dim=1)


def denoising_tables(options: argparse.Namespace, methods_for: Callable[[str], Mapping[str, Method]]) -> Iterator[Table]:
    """Tables of the named sets, with the methods that are to be compared with the weights of a name."""
    if options.cbsd68:
        yield cbsd68_table(methods_for("denoiser-photo"), options.cbsd68)
    for key, (dataset, source) in REAL_NOISE.items():
        if folder := getattr(options, key):
            caption, methods = f"Real camera noise ({source})", methods_for("denoiser-photo")
            yield denoising_table(key.replace("_", "-"), "denoiser-photo", dataset, caption, methods, real_noise_pairs(folder))
    for key, paper_table, fraction in (("cifar10", "I", 0.01), ("imagenet64", "II", 0.02)):
        if dataset := getattr(options, key):
            caption = f"Table {paper_table}: {title(dataset)}, sigma 0.125 and {fraction:.0%} salt and pepper"
            name, pairs = f"denoiser-{key}", paper_pairs(dataset, fraction, options.limit)
            yield denoising_table(name, name, identifier(key, dataset), caption, methods_for(name), pairs)


def ours(name: str) -> dict[str, Method]:
    """The network beside the noisy picture; it is blind, and sigma goes unused."""
    model = Denoiser.from_pretrained(name)
    return {"noisy": lambda noisy, _: noisy, name: lambda noisy, _: model(noisy)}


def colour_tables(options: argparse.Namespace) -> Iterator[Table]:
    """Tables of the named sets: thumbnails as the networks give them, and full-size photographs as a visitor gets them."""
    for key, where in (("cifar10", "Table III: colour"), ("imagenet64", "Table IV: colour"), ("photo", "Colour")):
        if dataset := getattr(options, key):
            name, caption, source = f"colorizer-{key}", f"{where} on {title(dataset)}", identifier(key, dataset)
            network = Colorizer.from_pretrained(name)
            yield colour_table(name, name, source, caption, painter(network), colour_batches(dataset, options.limit))
            yield hints_table(name, source, caption, network, colour_batches(dataset, options.limit))
    if options.cbsd68:
        name, pictures = "colorizer-photo", folder_pictures(options.cbsd68)
        caption = "Colour on CBSD68 at full size"
        yield colour_table(
            f"{name}-full-size", name, "cbsd68", caption, lambda rgb, vividness: colorize_tensor(rgb, name, vividness), pictures
        )


def painter(network: Colorizer) -> Paint:
    """The network on pictures of its own size, without the way that large ones take to it."""

    def paint(rgb: Tensor, vividness: float) -> Tensor:
        lightness, _ = rgb_to_lab(rgb)
        return lab_to_rgb(lightness, network(lightness, vividness=vividness))

    return paint


@torch.inference_mode()
def measure(options: argparse.Namespace) -> Iterator[Table]:
    """The tables of the sets that were named."""
    peers = results.read(results.PEERS)
    for table in denoising_tables(options, ours):
        yield with_peers(table, peers)
    if options.cbsd68:
        noisy, network = ours("denoiser-photo").items()
        blur: tuple[str, Method] = ("Gaussian blur, 1.5 pixels", lambda printed, _: gaussian_blur2d(printed, 11, (1.5, 1.5)))
        yield prints_table(dict([noisy, blur, network]), options.cbsd68)
    yield from colour_tables(options)


def parser(description: str | None) -> argparse.ArgumentParser:
    """The sets that can be measured on."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", help="Hub id or folder")
    parser.add_argument("--imagenet64", help="Hub id or folder")
    parser.add_argument("--cbsd68", type=Path, help="folder; of white noise, of prints, and of colour at full size")
    parser.add_argument("--real-noise", type=Path, help="folder of Nam et al.: NAME_noisy.png and NAME_clean.png")
    parser.add_argument("--polyu", type=Path, help="folder of Xu et al., CroppedImages: NAME_real.JPG and NAME_mean.JPG")
    parser.add_argument("--limit", type=int, default=10_000, help="pictures of a data set")
    return parser


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--photo", help="Hub id or folder of colour photographs")
    arguments.add_argument("--out", type=Path, default=results.RESULTS)
    options = arguments.parse_args()
    try:
        for table in measure(options):
            print(table.markdown(), end="\n\n", flush=True)
            results.write([dataclasses.replace(table, weights=checksum(WEIGHTS / table.model / SAFETENSORS))], options.out)
    except (DataError, ImageError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    if options.out.resolve() == results.RESULTS:
        readme = results.README.read_text(encoding="utf-8")
        results.README.write_text(results.with_tables(readme, list(results.read().values())), encoding="utf-8")


if __name__ == "__main__":
    main()
