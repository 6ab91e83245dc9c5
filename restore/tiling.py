"""Cut a picture into tiles that a network answers exactly as it would answer the whole.

A network whose receptive field is fixed gives a pixel the same value whatever lies beyond that field. So a tile is read with a
halo of that width, and the network is asked for the tile alone: nothing is blended, and no seam can show. Tiles start at
multiples of the network's stride, so that tile and whole fall on the same grid.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from torch import Tensor

Window = tuple[slice, slice]  # rows and columns of a picture


@dataclass(frozen=True)
class Tile:
    """A part of a picture, and what must be read to answer it."""

    inner: Window  # whose answer is kept; the inner windows of a split cover the picture once
    outer: Window  # what the network reads: inner and a halo around it, as far as the picture goes

    @property
    def crop(self) -> Window:
        """Where inner lies within outer."""
        rows, columns = (
            slice(inner.start - outer.start, inner.stop - outer.start)
            for inner, outer in zip(self.inner, self.outer, strict=True)
        )
        return rows, columns


def split(height: int, width: int, *, halo: int, multiple: int, max_pixels: int) -> list[Tile]:
    """Cut a picture into tiles, row by row, such that the least is read twice.

    Args:
        height, width: of the picture, in pixels.
        halo: how many pixels beyond a tile influence it.
        multiple: tiles start at multiples of this.
        max_pixels: the most that a tile reads, its halo included; but never less than three halos a side.
    """
    halo = _round_up(halo, multiple)
    shortest = max(halo, multiple)
    max_pixels = max(max_pixels, (shortest + 2 * halo) ** 2)
    layouts = (
        (rows, columns)
        for columns in range(1, -(-width // shortest) + 1)
        if (rows := _fewest(height, max_pixels // _widest(width, columns, halo, multiple), halo, multiple))
    )
    rows, columns = min(layouts, key=lambda count: _read(height, count[0], halo) * _read(width, count[1], halo))
    return [
        Tile((inner_rows, inner_columns), (outer_rows, outer_columns))
        for inner_rows, outer_rows in _spans(height, rows, halo, multiple)
        for inner_columns, outer_columns in _spans(width, columns, halo, multiple)
    ]


def read(picture: Tensor, tiles: Sequence[Tile]) -> Iterator[Tensor]:
    """Give what each tile reads of a picture (B, C, H, W), in the order of `split`; it lasts until the next is asked for.

    The answers may take the place of the picture meanwhile: what a tile overwrites and a later one reads is kept aside.
    """
    batch, channels, _, width = picture.shape
    height = max(tile.outer[0].stop - tile.outer[0].start for tile in tiles)
    rows = picture.new_empty(batch, channels, height, width)  # the picture as it was, from row `start` to row `stop`
    start = stop = 0
    for (top, bottom), band in groupby(tiles, key=lambda tile: (tile.outer[0].start, tile.outer[0].stop)):
        rows[:, :, : stop - top] = rows[:, :, top - start : stop - start].clone()
        rows[:, :, stop - top : bottom - top] = picture[:, :, stop:bottom]
        start, stop = top, bottom
        for tile in band:
            yield rows[:, :, : stop - start, tile.outer[1]]


def strips(height: int, width: int, max_pixels: int) -> Iterator[slice]:
    """Cut a picture into full rows, for what needs no halo."""
    rows = max(1, max_pixels // width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _spans(length: int, count: int, halo: int, multiple: int) -> Iterator[tuple[slice, slice]]:
    """Cut `length` into at most `count` nearly equal spans: each without and with its halo."""
    step = _round_up(-(-length // count), multiple)
    for start in range(0, length, step):
        stop = min(start + step, length)
        yield slice(start, stop), slice(max(start - halo, 0), min(stop + halo, length))


def _widest(length: int, count: int, halo: int, multiple: int) -> int:
    """The longest of `count` spans with its halo."""
    return min(length, _round_up(-(-length // count), multiple) + min(count - 1, 2) * halo)


def _fewest(length: int, limit: int, halo: int, multiple: int) -> int:
    """The fewest spans that are no longer than `limit` with their halos; 0 if none are."""
    if length <= limit:
        return 1
    longest = (limit - 2 * halo) // multiple * multiple
    return -(-length // longest) if longest > 0 else 0


def _read(length: int, count: int, halo: int) -> int:
    """How much `count` spans read together."""
    return length + 2 * halo * (count - 1)


@dataclass(frozen=True)
class Turn:
    """One of the eight ways to lay a square onto itself: transpose or not, then flip rows or columns or both or none."""

    transpose: bool = False
    flip: tuple[int, ...] = ()  # of the dimensions -2 and -1

    def apply(self, x: Tensor) -> Tensor:
        """Turn (..., H, W)."""
        x = x.mT if self.transpose else x
        return x.flip(self.flip) if self.flip else x

    def undo(self, x: Tensor) -> Tensor:
        """Turn back."""
        x = x.flip(self.flip) if self.flip else x
        return x.mT if self.transpose else x

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The size of a turned picture."""
        return (width, height) if self.transpose else (height, width)

    def source(self, window: Window, height: int, width: int) -> Window:
        """Where a window of the turned picture lies in the picture of the given size."""
        sides = self.size(height, width)
        rows, columns = (
            slice(side - span.stop, side - span.start) if axis in self.flip else span
            for axis, side, span in zip((-2, -1), sides, window, strict=True)
        )
        return (columns, rows) if self.transpose else (rows, columns)


TURNS = tuple(Turn(transpose, flip) for transpose in (False, True) for flip in ((), (-1,), (-2,), (-2, -1)))
