"""The numbers under a result, for the page and for the API alike."""

from torch import Tensor

from restore.images import ImageError
from restore.metrics import SSIM_WINDOW, psnr, ssim
from web.choices import Report, Score


def compare_with_truth(before: Tensor, after: Tensor, truth: Tensor, before_name: str, report: Report) -> list[Score]:
    """PSNR and, where the picture is large enough, SSIM of both against the truth, all (1, 3, H, W)."""
    report(1.0)  # before each of what takes seconds for a large picture, so that a cancelled job ends
    first, second = round_psnr(before, truth), round_psnr(after, truth)
    scores = [
        Score(name=f"PSNR {before_name}", value=first, unit="dB", role="before"),
        Score(name="PSNR now", value=second, unit="dB", role="after"),
        Score(name="Gain", value=round(second - first, 2), unit="dB", role="plain"),
    ]
    if min(truth.shape[-2:]) >= SSIM_WINDOW:
        for name, picture, role in ((f"SSIM {before_name}", before, "before"), ("SSIM now", after, "after")):
            report(1.0)
            scores.append(Score(name=name, value=round(ssim(picture, truth).item(), 3), unit="", role=role))
    return scores


def check_same_size(picture: Tensor, truth: Tensor) -> None:
    """Raise ImageError where a clean original cannot be that of the picture, both (1, 3, H, W)."""
    if truth.shape != picture.shape:
        raise ImageError(
            f"the clean original has {_size(truth)} pixels, the photo {_size(picture)}; they must be the same picture"
        )


def round_psnr(picture: Tensor, truth: Tensor) -> float:
    """PSNR in dB to two places; 99.99 stands for equal pictures, since JSON has no infinity."""
    return round(min(psnr(picture, truth).item(), 99.99), 2)


def noise_score(sigma: float) -> Score:
    """The estimated noise level, on the 0 to 255 scale that photographers and papers use."""
    return Score(name="Noise level, estimated", value=round(255 * sigma, 1), unit="of 255", role="plain")


def time_score(seconds: float) -> Score:
    """How long the work took, waiting not included."""
    return Score(name="Time", value=round(seconds, 2), unit="s", role="plain")


def notes(lines: tuple[str, ...]) -> list[Score]:
    """What the visitor should know about the file."""
    return [Score(name="Note", value=line[:1].upper() + line[1:], unit="", role="note") for line in lines]


def _size(picture: Tensor) -> str:
    return f"{picture.shape[-1]:,} x {picture.shape[-2]:,}"
