"""Pictures of any size through the networks: `denoise`, `colorize`, `restore`, and the same on tensors.

    save_picture(denoise("noisy.jpg"), "clean.jpg")
    colorize("grey.jpg", vividness=1.2, hints=[(120, 80, (200, 40, 40))])
    clean = denoise_tensor(noisy, strength=0.8)  # (B, 3, H, W)

Memory beside a picture is bounded, since all that is done at full size is done by tiles or strips. `progress` is called between
them with the fraction that is done; what it raises ends the job and reaches the caller.
"""

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from PIL import Image
from torch import Tensor, nn

from restore.color import STRIP_PIXELS, is_neutral, lab_to_rgb, rgb_to_lab
from restore.guided import GuidedColor
from restore.images import Picture, open_picture
from restore.memory import trim, warm_pages
from restore.models.colorizer import Colorizer
from restore.models.denoiser import Denoiser
from restore.models.hub import WeightsError, local_state
from restore.precision import fast_precision
from restore.tiling import TURNS, read, split, strips

Source = str | Path | bytes | Image.Image | Picture
Progress = Callable[[float], object]
Hint = tuple[float, float, tuple[float, float, float]]  # x and y in pixels, and the colour there, 0 to 255
Network = TypeVar("Network", Denoiser, Colorizer)

MAX_STRENGTH, MAX_VIVIDNESS = 1.5, 2.0
TILE_PIXELS = 7 << 18  # that the denoiser reads at a time: 48 megapixels within 2.5 GB
TRIM_EVERY = 8  # tiles: the first layers after it pay for new pages, about 1 % of the time
DAB = 3  # pixels that a hint reaches to each side, at the colorizer's work size
ALIKE = 8.0  # difference in L up to which pixels belong to a hint's object
LEAST_SIDE = 32  # pixels, below which the network sees more of the picture's borders than of the picture
SAMPLE_SIDE = 96  # pixels of a sample that the noise level is estimated from
SAMPLED_PIXELS = 1 << 20  # of a batch of small pictures at a time
BRIGHTEST = 8.0  # beyond any noise on [0, 1]: 8-bit values that were not divided by 255
LONGEST = 4  # times the colorizer's work size: the long side that it sees of a panorama


# On pictures


def denoise(
    picture: Source,
    model: Denoiser | str | Path = "denoiser-photo",
    strength: float = 1.0,
    self_ensemble: bool = False,
    progress: Progress | None = None,
    *,
    in_place: bool = False,
) -> Image.Image:
    """Remove the noise from a picture; size, alpha, colour profile and EXIF stay, and what is grey stays grey.

    Palettes, CMYK and Lab become RGB.

    Args:
        picture: A path, the content of a file, a PIL image, or a picture from `open_picture`.
        model: A bundled name, a folder, a Hub id, or a loaded model. What is loaded by name is kept for the next call.
        strength: How much of the noise found is removed: 0 gives the picture back, 1 is the network's estimate, at most 1.5.
        self_ensemble: Take the mean over the eight flips and rotations: eight times slower, slightly better.
        progress: Called with the fraction done, 0 to 1.
        in_place: Let the result take the place of the pixels of a picture from `open_picture`, which saves their memory.

    Raises:
        ImageError: The picture cannot be read.
        ValueError: A setting is out of its range, or the weights cannot be used.
    """
    opened, free = _open(picture, in_place)
    return opened.to_pil(_denoised(opened.rgb, free, model, strength, self_ensemble, progress))


def colorize(
    picture: Source,
    model: Colorizer | str | Path = "colorizer-photo",
    vividness: float = 1.0,
    hints: Iterable[Hint] | None = None,
    progress: Progress | None = None,
    *,
    in_place: bool = False,
) -> Image.Image:
    """Give a picture colour, over its own lightness; size, alpha and EXIF stay. Colours that it has are not looked at.

    Args:
        picture, model, progress, in_place: As in `denoise`.
        vividness: From 0, the safest colours, to 2, the liveliest.
        hints: Colours that are known: (x, y, (r, g, b)), in pixels of the upright picture and in sRGB from 0 to 255.

    Raises:
        ImageError: The picture cannot be read.
        ValueError: A setting is out of its range, a hint lies outside the picture, or the weights cannot be used.
    """
    opened, free = _open(picture, in_place)
    out = opened.rgb if free else None
    return opened.to_pil(colorize_tensor(opened.rgb, model, vividness, hints, progress, out), color=True)


def restore(
    picture: Source,
    denoiser: Denoiser | str | Path = "denoiser-photo",
    colorizer: Colorizer | str | Path = "colorizer-photo",
    strength: float = 1.0,
    self_ensemble: bool = False,
    vividness: float = 1.0,
    hints: Iterable[Hint] | None = None,
    progress: Progress | None = None,
    *,
    in_place: bool = False,
    on_color: Callable[[], object] | None = None,
) -> Image.Image:
    """Denoise a picture, then give it colour if it has none (see `is_colourless`) or if there are hints.

    Arguments and errors are those of `denoise` and `colorize`; `on_color` is called if it is given colour, before it is.
    """
    opened, free = _open(picture, in_place)
    _check_range("vividness", vividness, MAX_VIVIDNESS)
    hints = _checked_hints(hints, opened.rgb)
    if hints or opened.is_grey:
        colorizer = load_colorizer(colorizer, bool(hints))  # what is wrong with it is told before the long part begins
    clean = _denoised(opened.rgb, free, denoiser, strength, self_ensemble, _part(progress, 0.0, 0.9))
    if not hints and not is_colourless(clean):
        _report(progress, 1.0)
        return opened.to_pil(clean)
    if on_color is not None:
        on_color()
    colorize_tensor(clean, colorizer, vividness, hints, _part(progress, 0.9, 1.0), out=clean)
    return opened.to_pil(clean, color=True)


def _open(picture: Source, in_place: bool) -> tuple[Picture, bool]:
    """Open what is not open yet, with a warning for each note; and whether its pixels may be overwritten."""
    if isinstance(picture, Picture):
        return picture, in_place
    opened = open_picture(picture)
    for note in opened.notes:
        warnings.warn(note, stacklevel=3)  # whoever has opened the picture can see its notes
    return opened, True


def _denoised(
    rgb: Tensor, free: bool, model: Denoiser | str | Path, strength: float, self_ensemble: bool, progress: Progress | None
) -> Tensor:
    """Denoise, in place if `rgb` is free; a picture whose three channels are equal keeps them so."""
    neutral = is_neutral(rgb)  # asked now, since `out` may overwrite it
    clean = denoise_tensor(rgb, model, strength, self_ensemble, progress, out=rgb if free and not self_ensemble else None)
    if neutral:
        _, _, height, width = clean.shape
        for rows in strips(height, width, STRIP_PIXELS):
            clean[:, :, rows] = clean[:, :, rows].mean(1, keepdim=True)
    return clean


# On tensors


def denoise_tensor(
    noisy: Tensor,
    model: Denoiser | str | Path = "denoiser-photo",
    strength: float = 1.0,
    self_ensemble: bool = False,
    progress: Progress | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Remove the noise from (B, 3, H, W) in [0, 1]; the result has the same shape and is not clamped.

    The network runs on its own device, by tiles that agree with the whole, and in half precision where that is fast, if the
    network estimates the noise: a fifth of an 8-bit level (RMS) from what it gives in float32. Arguments and errors are those of
    `denoise`; `out` takes the result, and may be `noisy` itself, but not with `self_ensemble`, whose turns all read it.
    """
    _check_range("strength", strength, MAX_STRENGTH)
    _check_pictures(noisy)
    network = load(Denoiser, model)
    if self_ensemble and out is not None and out.data_ptr() == noisy.data_ptr():
        raise ValueError("with self_ensemble the result cannot take the place of the picture, which every turn reads")
    out = _checked_out(out, noisy)
    with _inference(network) as like:
        for part, report in _parts_of_batch(noisy, TILE_PIXELS, progress):
            _denoise_part(network, like, noisy[part], out[part], float(strength), self_ensemble, report)
    return out


def _denoise_part(
    network: Denoiser, like: Tensor, noisy: Tensor, out: Tensor, strength: float, self_ensemble: bool, progress: Progress | None
) -> None:
    """Denoise one large picture or several small ones by tiles; `like` is a weight of the network."""
    height, width = noisy.shape[2:]
    turns = TURNS if self_ensemble else TURNS[:1]
    for count, turn in enumerate(turns):
        report = _part(progress, count / len(turns), (count + 1) / len(turns))
        size = turn.size(height, width)
        tiles = split(*size, halo=network.halo, multiple=network.size_multiple, max_pixels=TILE_PIXELS)
        views = (turn.apply(noisy[:, :, *turn.source(tile.outer, height, width)]) for tile in tiles)
        for done, (tile, seen) in enumerate(zip(tiles, views if self_ensemble else read(noisy, tiles), strict=True)):
            _report(report, done / len(tiles))
            if done and done % TRIM_EVERY == 0:
                trim()
            with _precision_of(network, like.device):
                seen_there = seen.to(like).contiguous(memory_format=torch.channels_last)
                estimate = network(seen_there, tile.crop).to(seen)
            answer = turn.undo(torch.lerp(seen[:, :, *tile.crop], estimate, strength))
            mean = out[:, :, *turn.source(tile.inner, height, width)]  # so far
            mean.lerp_(answer.to(mean), 1 / (count + 1)) if count else mean.copy_(answer)
    _report(progress, 1.0)


def colorize_tensor(
    rgb: Tensor,
    model: Colorizer | str | Path = "colorizer-photo",
    vividness: float = 1.0,
    hints: Iterable[Hint] | None = None,
    progress: Progress | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Give (B, 3, H, W) in [0, 1] colour over its own lightness; the result has the same shape and range.

    The network sees the picture at its work size; its colour is laid over the full size along the edges of the lightness.
    Arguments and errors are those of `colorize`; `out` takes the result, and may be `rgb` itself.
    """
    _check_range("vividness", vividness, MAX_VIVIDNESS)
    _check_pictures(rgb)
    hints = _checked_hints(hints, rgb)
    network = load_colorizer(model, bool(hints))
    out = _checked_out(out, rgb)
    with _inference(network) as like:
        for part, report in _parts_of_batch(rgb, STRIP_PIXELS, progress):
            _colorize_part(network, like, rgb[part], out[part], vividness, hints, report)
    return out


def _colorize_part(
    network: Colorizer,
    like: Tensor,
    rgb: Tensor,
    out: Tensor,
    vividness: float,
    hints: Sequence[Hint],
    progress: Progress | None,
) -> None:
    """Colorize one large picture or several small ones by strips; `like` is a weight of the network."""
    height, width = rgb.shape[2:]
    pieces = list(strips(height, width, STRIP_PIXELS))
    _report(progress, 0.0)
    color = _predict_color(network, rgb, vividness, hints, like)
    for done, rows in enumerate(pieces, start=1):
        lightness, _ = rgb_to_lab(rgb[:, :, rows].to(like.device, torch.float32))
        out[:, :, rows] = lab_to_rgb(lightness, color.rows(lightness, rows)).to(out)
        _report(progress, done / len(pieces))


def _parts_of_batch(pictures: Tensor, max_pixels: int, progress: Progress | None) -> Iterator[tuple[slice, Progress | None]]:
    """Parts of a batch of so many pixels each, or of one picture, so that memory does not grow with it; and their progress."""
    count = max(1, max_pixels // (pictures.shape[2] * pictures.shape[3]))
    for first in range(0, len(pictures), count):
        done = min(first + count, len(pictures))
        yield slice(first, done), _part(progress, first / len(pictures), done / len(pictures))


def is_colourless(rgb: Tensor) -> bool:
    """Whether (1, 3, H, W) in [0, 1] is a grey picture: grey itself, faded to almost grey, or of one tone, as sepia is.

    Judged by chroma on a reduction to 64 pixels (the short side), where noise and the grain of JPEG have gone. In a toned print
    the ab of a pixel follows from its lightness, while in a photograph objects of one lightness differ in colour. A cold tone
    must be weaker than a warm one: it is rather a sky. Where more than a hundredth of the picture stands out, it is something in
    colour, though all around be grey. Of 21 old photographs it tells the 13 without colour from the 8 in early colour.
    """
    height, width = rgb.shape[2:]
    small = _reduce(rgb, working_size(height, width, 64))
    lightness, ab = rgb_to_lab(small)
    ab = ab[0].flatten(1).T  # (N, 2)
    tone = ab.mean(0)
    level = lightness.flatten() / 100
    powers = torch.stack([torch.ones_like(level), level, level**2], 1)  # (N, 3)
    curve = powers @ (torch.linalg.pinv(powers) @ ab)  # (N, 2): the tone at each lightness
    shares = ab.new_tensor([0.9, 0.99])
    (chroma, strongest), (deviation, farthest) = (x.norm(dim=1).quantile(shares).tolist() for x in (ab, ab - curve))
    warm = bool(tone[1] > 0 and tone[0] > -0.6 * tone[1])  # from yellow-green to red
    is_grey: bool = chroma < 6 and strongest < 16
    is_toned: bool = (
        deviation < 3 and farthest < 12 and (chroma < 40 and strongest < 45 if warm else chroma < 12 and strongest < 16)
    )
    return is_grey or is_toned


def estimate_sigma(rgb: Tensor, model: Denoiser | str | Path = "denoiser-photo") -> float:
    """Estimate the standard deviation of the noise in (B, 3, H, W) in [0, 1], over all channels.

    It is that of what the denoiser removes, from nine samples of a large picture: nearly all of white noise, and four to eight
    tenths of a camera's. The usual estimate, from the finest wavelet coefficients (Donoho and Johnstone, 1994), finds a tenth to
    a quarter of the latter, which is not white.
    """
    _check_pictures(rgb)
    network = load(Denoiser, model)
    rgb = _mirrored(rgb, LEAST_SIDE)
    samples = [(..., row, column) for row in _samples(rgb.shape[2]) for column in _samples(rgb.shape[3])]
    squares = []
    with _inference(network) as like:
        for part, _ in _parts_of_batch(rgb, SAMPLED_PIXELS, None):
            noisy = torch.cat([rgb[part][sample] for sample in samples]).to(like)
            with _precision_of(network, like.device):
                removed = noisy - network(noisy.contiguous(memory_format=torch.channels_last))
            squares.append(removed.float().square().mean() * (len(rgb[part]) / len(rgb)))
    return float(torch.stack(squares).sum().sqrt())


def _mirrored(rgb: Tensor, least_side: int) -> Tensor:
    """The picture and its mirror images in turns, until each side is at least so long."""
    for axis in (2, 3):
        side = rgb.shape[axis]
        if side < least_side:
            place = torch.arange(least_side, device=rgb.device) % (2 * side)
            rgb = rgb.index_select(axis, place.minimum(2 * side - 1 - place))
    return rgb


def _samples(side: int) -> list[slice]:
    """Three windows spread over a side of a picture; the whole where it is hardly longer than they."""
    if side <= 3 * SAMPLE_SIDE:
        return [slice(0, side)]
    return [slice(start, start + SAMPLE_SIDE) for start in (0, (side - SAMPLE_SIDE) // 2, side - SAMPLE_SIDE)]


def _predict_color(network: Colorizer, rgb: Tensor, vividness: float, hints: Sequence[Hint], like: Tensor) -> GuidedColor:
    """Show the network, of which `like` is a weight, the picture at its work size, and fit its colour to the full lightness."""
    size = rgb.shape[2], rgb.shape[3]
    small = _reduce(rgb.float(), working_size(*size, network.work_size, network.stride)).to(like.device)
    lightness, _ = rgb_to_lab(small)  # (B, 1, h, w)
    hint_map = _hint_map(hints, size, lightness) if hints else None
    coarse = F.avg_pool2d(lightness, network.stride)  # (B, 1, h / stride, w / stride)
    prediction = network.predict_both_ways(lightness.to(like), None if hint_map is None else hint_map.to(like))
    ab = network.ab_of(prediction[:, :, : coarse.shape[2], : coarse.shape[3]], vividness)
    return GuidedColor(coarse, ab.float(), size)


def working_size(height: int, width: int, short_side: int, multiple: int = 1) -> tuple[int, int]:
    """The size at which a picture is seen small: its short side about `short_side`, its long side at most four times that.

    Small pictures are not enlarged, and both sides are brought to multiples of `multiple`.
    """
    scale = min(1.0, short_side / min(height, width), LONGEST * short_side / max(height, width))
    height, width = (max(1, round(side * scale / multiple)) * multiple for side in (height, width))
    return height, width


def _reduce(rgb: Tensor, size: tuple[int, int]) -> Tensor:
    """The filter is that of training: the colorizer takes what is softer for other things, and loses half a decibel."""
    return F.interpolate(rgb.cpu(), size, mode="lanczos", antialias=True).clamp(0, 1)  # PyTorch has it on the CPU alone


def _hint_map(hints: Sequence[Hint], size: tuple[int, int], lightness: Tensor) -> Tensor:
    """Hints in pixels of a picture of `size` (H, W), as the colorizer takes them for its `lightness` (B, 1, h, w): (B, 3, h, w).

    A hint is a dab, as in training, but only over what is as light as its middle: else it would run over the object's edge.
    """
    height, width = lightness.shape[2:]
    reach = min(DAB, min(height, width) // 16)
    hint_map = lightness.new_zeros(len(lightness), 3, height, width)
    for x, y, color in hints:
        _, ab = rgb_to_lab(lightness.new_tensor(color)[None, :, None, None] / 255)
        row, column = int(y * height / size[0]), int(x * width / size[1])
        around = (..., slice(max(0, row - reach), row + reach + 1), slice(max(0, column - reach), column + reach + 1))
        middle = lightness[..., row, column][..., None, None]
        alike = (lightness[around] - middle).abs() < ALIKE
        hint_map[around] = torch.where(alike, F.pad(ab, (0, 0, 0, 0, 0, 1), value=1.0), hint_map[around])
    return hint_map


def _check_pictures(rgb: Tensor) -> None:
    if not isinstance(rgb, Tensor):
        raise ValueError(f"pictures are a tensor (B, 3, H, W), not {type(rgb).__name__}")
    if rgb.ndim != 4 or rgb.shape[1] != 3 or not rgb.is_floating_point() or not rgb.numel():
        raise ValueError(f"pictures are (B, 3, H, W) of floating point in [0, 1], not {tuple(rgb.shape)} of {rgb.dtype}")
    lowest, highest = (end.item() for end in rgb.aminmax())
    if not -BRIGHTEST <= lowest <= highest <= BRIGHTEST:  # nor where they are NaN
        raise ValueError(f"pictures are in [0, 1], and this one goes from {lowest:g} to {highest:g}: divide 8-bit values by 255")


def _checked_out(out: Tensor | None, rgb: Tensor) -> Tensor:
    """A place for a result of the shape of `rgb`: `out`, or a new one."""
    if not isinstance(out, Tensor | None):
        raise ValueError(f"out is a tensor, not {type(out).__name__}")
    if out is not None and (out.shape != rgb.shape or not out.is_floating_point()):
        raise ValueError(f"out is {tuple(rgb.shape)} of floating point, not {tuple(out.shape)} of {out.dtype}")
    return torch.empty_like(rgb) if out is None else out


def _checked_hints(hints: Iterable[Hint] | None, rgb: Tensor) -> list[Hint]:
    """The hints as a list of floats, none for None. Raises ValueError where one is no hint, or lies outside the picture."""
    height, width = rgb.shape[2:]
    checked: list[Hint] = []
    for hint in [] if hints is None else hints:
        try:
            x, y, (red, green, blue) = hint
        except (TypeError, ValueError):
            raise ValueError(f"a hint is (x, y, (red, green, blue)), not {hint!r}") from None
        if not all(isinstance(value, Real) for value in (x, y, red, green, blue)):
            raise ValueError(f"a hint is five numbers, (x, y, (red, green, blue)), not {hint!r}")
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"the hint at x = {x}, y = {y} lies outside the picture of {width} x {height} pixels")
        if not all(0 <= value <= 255 for value in (red, green, blue)):
            raise ValueError(f"the colour of a hint is three numbers from 0 to 255, not {(red, green, blue)!r}")
        checked.append((float(x), float(y), (float(red), float(green), float(blue))))  # 8-bit integers would overflow
    return checked


def _check_range(name: str, value: float, largest: float) -> None:
    if not isinstance(value, Real) or not 0 <= value <= largest:
        raise ValueError(f"{name} must be from 0 to {largest:g}, not {value!r}")


# Networks


_loaded: dict[tuple[str, str | Path], tuple[Any, Any]] = {}  # by class and name: the state of the weights, and the network
_loading = threading.Lock()  # else two threads that ask at once would load twice


def load(kind: type[Network], model: Network | str | Path) -> Network:
    """Give a loaded model back as it is; load a name once, a folder again when its weights change, onto a GPU if there is one.

    Raises:
        WeightsError: A ValueError that names the file and the cause, or why the Hub does not give it.
    """
    if isinstance(getattr(model, "_orig_mod", model), kind):  # that of torch.compile
        return cast("Network", model)
    if not isinstance(model, str | Path):
        raise ValueError(f"expected a {kind.__name__}, not a {type(model).__name__}; or a name, folder or Hub id")
    key, state = (kind.__name__, model), local_state(model)
    if not _is_loaded(key, state):
        with _loading:
            if not _is_loaded(key, state):
                _loaded[key] = state, _from_pretrained(kind, model)
    network: Network = _loaded[key][1]
    return network


def load_colorizer(model: Colorizer | str | Path, takes_hints: bool) -> Colorizer:
    """Load a colorizer. Raises ValueError, beside the errors of `load`, where it is to take hints and was built without."""
    network = load(Colorizer, model)
    if takes_hints and network.hint_copy is None:
        raise ValueError("this colorizer was built without hints")
    return network


def _is_loaded(key: tuple[str, str | Path], state: Any) -> bool:
    return key in _loaded and bool(_loaded[key][0] == state)


def _from_pretrained(kind: type[Network], name: str | Path) -> Network:
    try:
        with torch.inference_mode(False):  # it outlives its first use, and may be trained on
            network = kind.from_pretrained(name, device="cuda" if torch.cuda.is_available() else "cpu")
            return network.to(memory_format=torch.channels_last)
    except (HfHubHTTPError, LocalEntryNotFoundError, ConnectionError) as error:
        raise WeightsError(f"{name}: {' '.join(str(error).split())}; and there is no folder of that name") from error


@contextmanager
def _inference(network: nn.Module) -> Iterator[Tensor]:
    """Run in evaluation mode, without gradients, and with warm pages; gives a weight, which has the device and the precision."""
    with _evaluating(network), warm_pages(), torch.inference_mode():
        yield next(network.parameters())


def _precision_of(network: Denoiser, device: torch.device) -> AbstractContextManager[None]:
    """Half precision, as long as it rounds the noise and not the picture, of which it would leave 8 bits."""
    return fast_precision(device) if network.residual else nullcontext()


_evaluated: dict[nn.Module, tuple[int, list[nn.Module]]] = {}  # by network: how many use it, and what of it was in training
_counting = threading.Lock()


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and back when the last thread that uses it has done."""
    with _counting:
        users, training = _evaluated.get(network, (0, [module for module in network.modules() if module.training]))
        _evaluated[network] = users + 1, training
        network.eval()
    try:
        yield
    finally:
        with _counting:
            users, training = _evaluated.pop(network)
            if users > 1:
                _evaluated[network] = users - 1, training
            else:
                for module in training:
                    module.training = True


# Progress


def _report(progress: Progress | None, fraction: float) -> None:
    if progress is not None:
        progress(fraction)


def _part(progress: Progress | None, start: float, stop: float) -> Progress | None:
    """The progress of a part of a job, which lasts from `start` to `stop` of the whole."""
    return None if progress is None else lambda fraction: progress(start + (stop - start) * fraction)
