"""Laws of the changes to training pictures."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from restore.color import lab_to_rgb, rgb_to_lab
from train.augment import some_grainy, some_grey, some_on_film, some_on_other_film, some_soft, some_toned

Change = Callable[[Tensor, float, Generator], Tensor]


@pytest.mark.parametrize("change", [some_grey, some_soft, some_on_other_film])
def test_a_share_of_the_pictures_is_changed(change: Change) -> None:
    clean = torch.rand(400, 3, 16, 16, generator=Generator().manual_seed(0))
    check_share(change, clean)


@pytest.mark.parametrize("change", [some_soft, some_toned, some_grainy])
def test_a_share_of_the_lightness_is_changed(change: Change) -> None:
    lightness = 100 * torch.rand(400, 1, 16, 16, generator=Generator().manual_seed(0))
    check_share(change, lightness)
    changed = change(lightness, 1.0, Generator().manual_seed(0))
    assert changed.amin() >= 0
    assert changed.amax() <= 100


def check_share(change: Change, pictures: Tensor) -> None:
    assert torch.equal(change(pictures, 0.0, Generator().manual_seed(0)), pictures)
    is_changed = (change(pictures, 0.25, Generator().manual_seed(0)) != pictures).flatten(1).any(1)
    assert is_changed.double().mean().item() == pytest.approx(0.25, abs=0.09)  # four standard deviations


def test_a_grey_picture_has_no_colour_and_a_soft_one_keeps_its_mean_and_loses_detail() -> None:
    clean = torch.rand(8, 3, 64, 64, generator=Generator().manual_seed(0))
    grey, other, soft = (change(clean, 1.0, Generator().manual_seed(0)) for change in (some_grey, some_on_other_film, some_soft))
    for picture in (grey, other):
        assert torch.equal(picture, picture[:, :1].expand_as(picture))
    assert torch.allclose(soft.mean((2, 3)), clean.mean((2, 3)), rtol=0, atol=0.01)
    assert (soft.diff(dim=-1).std((1, 2, 3)) < clean.diff(dim=-1).std((1, 2, 3))).all()


def test_a_grey_picture_is_the_same_on_any_film() -> None:
    lightness = 100 * torch.rand(64, 1, 16, 16, generator=Generator().manual_seed(0))
    grey = lab_to_rgb(lightness, torch.zeros(64, 2, 16, 16))
    on_film = some_on_other_film(grey, 1.0, Generator().manual_seed(0))
    torch.testing.assert_close(on_film, grey, atol=1e-4, rtol=0)


def test_a_film_may_see_one_colour_lighter_than_another_or_darker() -> None:
    red_and_blue = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]).T[None, :, :, None].expand(64, -1, -1, -1)
    seen = some_on_other_film(red_and_blue, 1.0, Generator().manual_seed(0))[:, 0, :, 0]
    assert 0.3 < (seen[:, 0] > seen[:, 1]).double().mean().item() < 0.7


def test_grain_is_as_strong_in_the_dark_as_in_the_light_and_has_no_mean() -> None:
    lightness = torch.tensor([30.0, 70.0]).repeat_interleave(32)[:, None, None, None].expand(-1, 1, 64, 64)
    grain = some_grainy(lightness, 1.0, Generator().manual_seed(0)) - lightness
    strength = grain.std((1, 2, 3))
    assert strength.max() < 5.01
    assert abs(grain.mean()) < 0.1
    assert 0.7 < strength[:32].mean() / strength[32:].mean() < 1.4


def test_a_tone_curve_keeps_the_order_of_greys() -> None:
    ramp = torch.linspace(0, 100, 256)[None, None, None].expand(64, 1, 1, -1)
    toned = some_toned(ramp, 1.0, Generator().manual_seed(0))
    assert (toned.diff(dim=-1) >= 0).all()
    assert (toned.amax((1, 2, 3)) < 99).any()  # some are faded
    assert (toned == 0).sum((1, 2, 3)).max() > 10  # and some too hard


def test_some_pictures_are_seen_as_they_are_and_some_on_film() -> None:
    rgb = torch.rand(400, 3, 16, 16, generator=Generator().manual_seed(0))
    assert torch.equal(some_on_film(rgb, 0.0, Generator().manual_seed(0)), rgb_to_lab(rgb)[0])
    is_changed = (some_on_film(rgb, 0.5, Generator().manual_seed(0)) != rgb_to_lab(rgb)[0]).flatten(1).any(1)
    assert is_changed.double().mean().item() == pytest.approx(0.5 * (1 - 0.5**4), abs=0.1)  # four standard deviations
