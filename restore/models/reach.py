"""What a part of a decoder's answer depends on, so that a tile costs little more than its part.

The coarsest stage sees the farthest. So while the encoder must read a wide halo around a part, the stages of the decoder, finer
and finer, need only a few pixels around it. The rest is cut off between them, and the answer is the same.
"""

from collections.abc import Sequence
from typing import NamedTuple

from restore.tiling import Window

ALL: Window = (slice(None), slice(None))


class Reach(NamedTuple):
    """How far around a part of the answer features still matter to it."""

    halo: int  # of what enters the encoder, in pixels of the finest feature; a multiple of the coarsest one's
    margins: list[int]  # of what enters each stage of the decoder, in pixels of that stage, finest first

    @classmethod
    def of(cls, depths: Sequence[int], stem_kernel: int, down: str, up: str, tail_kernel: int) -> "Reach":
        """The reach of an `Encoder` and a `Decoder` with a convolution behind them.

        Summed from there backwards: before a stage it is what it is behind it, and a pixel more for each convolution.
        """
        reach, margins = tail_kernel // 2, []
        for depth in depths[:-1]:
            reach += 2 * depth
            margins.append(reach)
            reach = -(-(reach + (up == "nearest")) // 2)
        reach += 2 * depths[-1]
        for depth in depths[-2::-1]:
            reach = 2 * (reach + (down == "max")) + 2 * depth
        reach += stem_kernel // 2
        coarsest = 2 ** (len(depths) - 1)
        return cls(-(-reach // coarsest) * coarsest, margins)


class Need(NamedTuple):
    """What the stages of a decoder need for a part of the answer; windows, finest first."""

    skipped: Sequence[Window]  # of the encoder's features
    doubled: Sequence[Window]  # of what is doubled in the decoder
    part: Window = ALL  # where the part is in what comes out of the decoder

    @classmethod
    def of_all(cls, stages: int) -> "Need":
        """What so many stages need for the whole answer: everything."""
        return cls([ALL] * stages, [ALL] * stages)

    @classmethod
    def of_part(cls, part: Window, size: tuple[int, int], margins: Sequence[int]) -> "Need":
        """What they need for a part, with these margins around it.

        The sides of the part, and the size (H, W) that it is a part of, are in pixels of the finest feature and multiples of the
        coarsest one's.
        """
        rows, columns = (_along_axis(span, length, margins) for span, length in zip(part, size, strict=True))
        skipped, doubled = (list(zip(*spans, strict=True)) for spans in zip(rows[:2], columns[:2], strict=True))
        return cls(skipped, doubled, (rows[2], columns[2]))


def _along_axis(part: slice, length: int, margins: Sequence[int]) -> tuple[list[slice], list[slice], slice]:
    """The fields of a `Need` along one axis."""
    skipped: list[slice] = []
    doubled: list[slice] = []
    kept = slice(0, length >> len(margins))  # of the coarsest feature
    for level, margin in reversed(list(enumerate(margins))):
        whole = slice(2 * kept.start, 2 * kept.stop)
        kept = slice(max(whole.start, (part.start >> level) - margin), min(whole.stop, (part.stop >> level) + margin))
        skipped.insert(0, kept)
        doubled.insert(0, _counted_from(whole.start, kept))
    return skipped, doubled, _counted_from(kept.start, part)


def _counted_from(start: int, span: slice) -> slice:
    return slice(span.start - start, span.stop - start)
