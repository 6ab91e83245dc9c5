"""What a part of a network's answer depends on, stage by stage, so that a tile costs little more than its part.

The coarsest stage sees the farthest. So of what a tile reads, the stages of the encoder need almost all, but those of the decoder
only the part and a few pixels around it; the rest is cut off between the stages, and the answer is the same.
"""

from collections.abc import Sequence
from typing import NamedTuple

from restore.tiling import Window

ALL: Window = (slice(None), slice(None))


class Reach(NamedTuple):
    """How far around a part of the answer what enters each stage still matters, in pixels of that stage; finest first."""

    encoder: list[int]  # the first is of what enters the stem; each is a multiple of the coarsest feature's pixel
    decoder: list[int]  # of all but the coarsest, which belongs to the encoder

    @classmethod
    def of(cls, depths: Sequence[int], stem_kernel: int, down: str, up: str, tail_kernel: int) -> "Reach":
        """The reach of an `Encoder` and a `Decoder` with a convolution behind them: that of all convolutions from there on."""
        margin = tail_kernel // 2
        decoder = []
        for depth in depths[:-1]:
            margin += 2 * depth
            decoder.append(margin)
            margin = -(-(margin + (up == "nearest")) // 2)
        margin += 2 * depths[-1]
        encoder = [margin]
        for depth in depths[-2::-1]:
            margin = 2 * (margin + (down == "max")) + 2 * depth
            encoder.insert(0, margin)
        encoder[0] += stem_kernel // 2
        coarsest = [2 ** (len(depths) - 1 - level) for level in range(len(depths))]
        encoder = [-(-margin // pixel) * pixel for margin, pixel in zip(encoder, coarsest, strict=True)]
        return cls(encoder, decoder)


class Need(NamedTuple):
    """What a part of the answer needs of each feature that passes from one stage to the next, as windows; finest first."""

    halved: Sequence[Window]  # of the features that the encoder has halved
    skipped: Sequence[Window]  # of the encoder's features that the decoder adds
    doubled: Sequence[Window]  # of the features that the decoder has doubled
    part: Window = ALL  # where the part is in what comes out of the decoder

    @classmethod
    def of_all(cls, scales: int) -> "Need":
        """What the whole answer of so many scales needs: everything."""
        everything = [ALL] * (scales - 1)
        return cls(everything, everything, everything)

    @classmethod
    def of_part(cls, part: Window, size: tuple[int, int], reach: Reach) -> "Need":
        """What a part needs. Its sides, and the size (H, W) that it is a part of, are in pixels of the finest feature.

        All of them are multiples of the coarsest feature's pixel.
        """
        axes = (_spans(span, length, reach) for span, length in zip(part, size, strict=True))
        halved, skipped, doubled, (inner,) = (list(zip(*spans, strict=True)) for spans in zip(*axes, strict=True))
        return cls(halved, skipped, doubled, inner)


def _spans(part: slice, length: int, reach: Reach) -> tuple[list[slice], list[slice], list[slice], list[slice]]:
    """The fields of a `Need` along one axis; the part alone in a list."""
    parts = [slice(part.start >> level, part.stop >> level) for level in range(len(reach.encoder))]
    features = [slice(0, length)]  # where each feature lies in the whole of its scale
    halved: list[slice] = []
    skipped: list[slice] = []
    doubled: list[slice] = []
    for span, margin in zip(parts[1:], reach.encoder[1:], strict=True):
        whole = slice(features[-1].start // 2, features[-1].stop // 2)
        features.append(_around(span, margin, whole))
        halved.append(_within(features[-1], whole))
    x = features[-1]
    for feature, span, margin in reversed(list(zip(features[:-1], parts[:-1], reach.decoder, strict=True))):
        whole = slice(2 * x.start, 2 * x.stop)
        x = _around(span, margin, whole)
        doubled.insert(0, _within(x, whole))
        skipped.insert(0, _within(x, feature))
    return halved, skipped, doubled, [_within(part, x)]


def _around(span: slice, margin: int, whole: slice) -> slice:
    """A span and a margin on both sides, as far as the whole goes."""
    return slice(max(whole.start, span.start - margin), min(whole.stop, span.stop + margin))


def _within(span: slice, whole: slice) -> slice:
    """A span, counted from where the whole begins."""
    return slice(span.start - whole.start, span.stop - whole.start)
