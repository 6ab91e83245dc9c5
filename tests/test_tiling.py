"""Tiles cover a picture once, start on the grid, and keep to their limit; the eight turns are those of a square."""

import pytest
import torch
from torch import Generator, Tensor

from restore.tiling import TURNS, Turn, Window, read, split, strips

HALO, MULTIPLE = 24, 8
SIZES = [(1, 1), (7, 5), (64, 64), (97, 203), (480, 640), (1, 2000), (2000, 3), (8, 4096)]
LIMITS = [1, 10_000, 40_000, 10**6]


def area(window: Window) -> int:
    rows, columns = window
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("size", SIZES)
def test_inner_windows_cover_every_pixel_once(size: tuple[int, int], limit: int) -> None:
    seen = torch.zeros(size)
    for tile in split(*size, halo=HALO, multiple=MULTIPLE, max_pixels=limit):
        seen[tile.inner] += 1
    assert bool((seen == 1).all())


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("size", SIZES)
def test_outer_windows_start_on_the_grid_and_reach_a_halo_further(size: tuple[int, int], limit: int) -> None:
    for tile in split(*size, halo=HALO, multiple=MULTIPLE, max_pixels=limit):
        for inner, outer, side in zip(tile.inner, tile.outer, size, strict=True):
            assert outer.start % MULTIPLE == 0
            assert (outer.start, outer.stop) == (max(inner.start - HALO, 0), min(inner.stop + HALO, side))


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("size", SIZES)
def test_no_tile_reads_more_than_the_limit_or_three_halos_a_side(size: tuple[int, int], limit: int) -> None:
    tiles = split(*size, halo=HALO, multiple=MULTIPLE, max_pixels=limit)
    assert max(area(tile.outer) for tile in tiles) <= max(limit, (3 * HALO) ** 2)


def test_a_picture_within_the_limit_is_one_tile() -> None:
    (tile,) = split(100, 90, halo=HALO, multiple=MULTIPLE, max_pixels=9000)
    assert tile.inner == tile.outer == tile.crop == (slice(0, 100), slice(0, 90))


def test_a_halo_off_the_grid_is_rounded_up() -> None:
    tiles = split(300, 300, halo=17, multiple=8, max_pixels=10_000)
    assert all(span.start % 8 == 0 for tile in tiles for span in tile.outer)


def test_the_layout_reads_little_twice() -> None:
    """12 megapixels, tiles of 1.5: less than a third more is read than there is."""
    tiles = split(3000, 4000, halo=104, multiple=8, max_pixels=1_500_000)
    assert sum(area(tile.outer) for tile in tiles) < 1.33 * 12e6


@pytest.mark.parametrize("size", SIZES)
def test_crops_of_outer_windows_join_to_the_picture(size: tuple[int, int], generator: Generator) -> None:
    picture = torch.rand(size, generator=generator)
    joined = torch.empty(size)
    for tile in split(*size, halo=HALO, multiple=MULTIPLE, max_pixels=10_000):
        joined[tile.inner] = picture[tile.outer][tile.crop]
    assert torch.equal(joined, picture)


@pytest.mark.parametrize("size", SIZES)
def test_tiles_read_the_picture_as_it_was_while_it_is_overwritten(size: tuple[int, int], generator: Generator) -> None:
    picture = torch.rand(2, 3, *size, generator=generator)
    before = picture.clone()
    tiles = split(*size, halo=HALO, multiple=MULTIPLE, max_pixels=1)
    for tile, seen in zip(tiles, read(picture, tiles), strict=True):
        assert torch.equal(seen, before[:, :, *tile.outer])
        picture[:, :, *tile.inner] = -1
    assert bool((picture == -1).all())


@pytest.mark.parametrize(("size", "limit"), [((1, 1), 1), ((10, 7), 1), ((10, 7), 30), ((100, 7), 10**6)])
def test_strips_cover_every_row_once(size: tuple[int, int], limit: int) -> None:
    assert [row for rows in strips(*size, limit) for row in range(rows.start, rows.stop)] == list(range(size[0]))


@pytest.fixture
def oblong(generator: Generator) -> Tensor:
    return torch.rand(3, 5, 7, generator=generator)


@pytest.mark.parametrize("turn", TURNS)
def test_a_turn_can_be_undone(turn: Turn, oblong: Tensor) -> None:
    assert torch.equal(turn.undo(turn.apply(oblong)), oblong)
    assert turn.apply(oblong).shape[1:] == turn.size(5, 7)


def test_the_turns_are_eight_and_include_the_quarter_turns(oblong: Tensor) -> None:
    turned = [turn.apply(oblong) for turn in TURNS]
    assert all(any(torch.equal(oblong.rot90(k, (1, 2)), other) for other in turned) for k in range(4))
    assert len({tuple(other.flatten().tolist()) for other in turned}) == 8


@pytest.mark.parametrize("turn", TURNS)
def test_the_source_of_a_window_is_what_the_turn_brings_there(turn: Turn, oblong: Tensor) -> None:
    window = slice(1, 4), slice(2, 5)
    rows, columns = turn.source(window, 5, 7)
    assert torch.equal(turn.apply(oblong[:, rows, columns]), turn.apply(oblong)[:, *window])
