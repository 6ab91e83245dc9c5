"""Every measure agrees with the library or the publication that defines it, picture by picture."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Generator, Tensor
from torchmetrics.image import PeakSignalNoiseRatio

from restore import metrics
from restore.noise import gaussian

# Lab and Lab, CIEDE2000: table 1 of Sharma, Wu and Dalal, "The CIEDE2000 Color-Difference Formula" (2005)
SHARMA = np.array(
    [
        [50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425],
        [50.0000, 3.1571, -77.2803, 50.0000, 0.0000, -82.7485, 2.8615],
        [50.0000, 2.8361, -74.0200, 50.0000, 0.0000, -82.7485, 3.4412],
        [50.0000, -1.3802, -84.2814, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, -1.1848, -84.8006, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, -0.9009, -85.5211, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669],
        [50.0000, -1.0000, 2.0000, 50.0000, 0.0000, 0.0000, 2.3669],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0010, 7.1792],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0011, 7.2195],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0012, 7.2195],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0009, -2.4900, 4.8045],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0010, -2.4900, 4.8045],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0011, -2.4900, 4.7461],
        [50.0000, 2.5000, 0.0000, 50.0000, 0.0000, -2.5000, 4.3065],
        [50.0000, 2.5000, 0.0000, 73.0000, 25.0000, -18.0000, 27.1492],
        [50.0000, 2.5000, 0.0000, 61.0000, -5.0000, 29.0000, 22.8977],
        [50.0000, 2.5000, 0.0000, 56.0000, -27.0000, -3.0000, 31.9030],
        [50.0000, 2.5000, 0.0000, 58.0000, 24.0000, 15.0000, 19.4535],
        [50.0000, 2.5000, 0.0000, 50.0000, 3.1736, 0.5854, 1.0000],
        [50.0000, 2.5000, 0.0000, 50.0000, 3.2972, 0.0000, 1.0000],
        [50.0000, 2.5000, 0.0000, 50.0000, 1.8634, 0.5757, 1.0000],
        [50.0000, 2.5000, 0.0000, 50.0000, 3.2592, 0.3350, 1.0000],
        [60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644],
        [63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630],
        [61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731],
        [35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645],
        [22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373],
        [36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146],
        [90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441],
        [90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381],
        [6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377],
        [2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082],
    ]
)


@pytest.fixture
def noisy(photos: Tensor, generator: Generator) -> Tensor:
    """Each of `photos` with another amount of noise."""
    return gaussian(photos, torch.tensor([0.01, 0.05, 0.2]).view(3, 1, 1, 1), generator, clip=True)


def channels_last(pictures: Tensor) -> np.ndarray:
    return pictures.permute(0, 2, 3, 1).double().numpy()


def test_psnr_agrees_with_scikit_image(photos: Tensor, noisy: Tensor) -> None:
    theirs = [
        peak_signal_noise_ratio(truth, picture, data_range=1)
        for truth, picture in zip(photos.numpy(), noisy.numpy(), strict=True)
    ]
    assert metrics.psnr(noisy, photos).tolist() == pytest.approx(theirs, abs=1e-4)


def test_psnr_agrees_with_torchmetrics(photos: Tensor, noisy: Tensor) -> None:
    theirs = PeakSignalNoiseRatio(data_range=1.0, reduction="none", dim=(1, 2, 3))(noisy, photos)
    assert torch.allclose(metrics.psnr(noisy, photos), theirs, rtol=0, atol=1e-4)


def test_pooled_psnr_is_that_of_the_mean_error(photos: Tensor, noisy: Tensor) -> None:
    pooled = metrics.psnr_of_mse(metrics.mse(noisy, photos).mean())
    assert pooled.item() == pytest.approx(peak_signal_noise_ratio(photos.numpy(), noisy.numpy(), data_range=1), abs=1e-4)


def test_ssim_agrees_with_scikit_image(photos: Tensor, noisy: Tensor) -> None:
    theirs = [
        structural_similarity(
            truth, picture, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=-1
        )
        for truth, picture in zip(channels_last(photos), channels_last(noisy), strict=True)
    ]
    assert metrics.ssim(noisy, photos).tolist() == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("measure", [metrics.ssim, metrics.ciede2000])
def test_a_measure_by_strips_is_that_of_the_whole(
    measure: Callable[[Tensor, Tensor], Tensor], photos: Tensor, noisy: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure(noisy, photos)
    monkeypatch.setattr(metrics, "STRIP_PIXELS", 13 * photos.shape[-1])
    torch.testing.assert_close(measure(noisy, photos), whole)


def test_ssim_refuses_a_picture_below_its_window() -> None:
    with pytest.raises(ValueError, match="at least 11x11 pixels, not 20x10"):
        metrics.ssim(torch.zeros(1, 3, 10, 20), torch.zeros(1, 3, 10, 20))


def test_colorfulness_agrees_with_its_formula(photos: Tensor) -> None:
    theirs = []
    for red, green, blue in photos.double().numpy() * 255:
        rg, yb = red - green, 0.5 * (red + green) - blue  # Hasler and Suesstrunk (2003), equations 1 to 4
        theirs.append(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))
    assert metrics.colorfulness(photos).tolist() == pytest.approx(theirs, abs=1e-3)


def test_a_grey_picture_is_not_colourful(photos: Tensor) -> None:
    assert metrics.colorfulness(photos[:, :1].expand_as(photos)).max() < 1e-4


def test_ciede2000_agrees_with_its_publication() -> None:
    lab1, lab2 = (torch.from_numpy(SHARMA[:, columns].T).reshape(1, 3, -1, 1) for columns in ([0, 1, 2], [3, 4, 5]))
    ours = metrics._ciede2000_map(lab1[:, :1], lab1[:, 1:], lab2[:, :1], lab2[:, 1:]).flatten()
    assert ours.tolist() == pytest.approx(SHARMA[:, 6].tolist(), abs=1e-4)


def test_ciede2000_agrees_with_scikit_image(photos: Tensor, noisy: Tensor) -> None:
    theirs = deltaE_ciede2000(rgb2lab(channels_last(photos)), rgb2lab(channels_last(noisy))).mean(axis=(1, 2))
    assert metrics.ciede2000(noisy, photos).tolist() == pytest.approx(theirs.tolist(), rel=2e-3)


@pytest.mark.parametrize("measure", [metrics.mse, metrics.psnr, metrics.ssim, metrics.colorfulness, metrics.ciede2000])
def test_half_precision_measures_as_float_does(measure: Callable[..., Tensor], photos: Tensor, noisy: Tensor) -> None:
    pictures = (noisy,) if measure is metrics.colorfulness else (noisy, photos)
    assert torch.allclose(measure(*(each.half() for each in pictures)).float(), measure(*pictures), rtol=5e-3)


@pytest.mark.parametrize(
    ("measure", "best"), [(metrics.mse, 0), (metrics.psnr, np.inf), (metrics.ssim, 1), (metrics.ciede2000, 0)]
)
def test_a_picture_equals_itself(measure: Callable[[Tensor, Tensor], Tensor], best: float, photos: Tensor) -> None:
    assert measure(photos, photos).tolist() == pytest.approx([best] * 3, abs=1e-5)


@pytest.mark.parametrize("measure", [metrics.mse, metrics.psnr, metrics.ssim, metrics.ciede2000])
def test_measures_are_symmetric_and_take_each_picture_by_itself(
    measure: Callable[[Tensor, Tensor], Tensor], photos: Tensor, noisy: Tensor
) -> None:
    together = measure(noisy, photos)
    assert torch.allclose(measure(photos, noisy), together)
    alone = torch.cat([measure(noisy[i : i + 1], photos[i : i + 1]) for i in range(3)])
    assert torch.allclose(alone, together)
