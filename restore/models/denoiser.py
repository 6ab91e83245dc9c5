"""A blind U-Net denoiser on half-resolution features, after FFDNet (Zhang et al., 2018) and DRUNet (Zhang et al., 2021)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from restore.models.blocks import Decoder, Encoder, pad_to_multiple
from restore.models.hub import HubModel
from restore.models.reach import ALL, Need, Reach
from restore.tiling import Window


class Denoiser(HubModel, pipeline_tag="image-to-image"):
    """Estimate the clean picture from a noisy one.

    The defaults are the network that is shipped. The paper's is
    `Denoiser(widths=(64, 128, 256), depths=(1, 1, 1), shuffle=1, stem_kernel=7, norm="batch", down="max", up="nearest",
    skips=False, residual=False)`.

    Args:
        widths: channels at each scale, finest first.
        depths: residual blocks at each scale, in the encoder and, but for the coarsest, again in the decoder.
        shuffle: side of the pixel blocks folded into channels before the first convolution (1 keeps full resolution).
        stem_kernel: side of the first convolution, odd.
        norm: "none", "batch", or "group", with which tiles of a picture do not agree with the whole.
        down, up: "conv" for learned resampling; "max" and "nearest" as in the paper.
        skips: add the encoder's features in the decoder.
        residual: predict the noise and subtract it (DnCNN, Zhang et al., 2017) rather than the picture.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128),
        depths: Sequence[int] = (3, 4),
        shuffle: int = 2,
        stem_kernel: int = 3,
        norm: str = "none",
        down: str = "conv",
        up: str = "conv",
        skips: bool = True,
        residual: bool = True,
    ):
        super().__init__()
        self.shuffle = shuffle
        self.residual = residual
        self.encoder = Encoder(3 * shuffle**2, widths, depths, stem_kernel, norm, down)
        self.decoder = Decoder(widths, depths, norm, up, skips)
        self.tail = nn.Conv2d(widths[0], 3 * shuffle**2, 3, padding=1)
        self.size_multiple = shuffle * 2 ** (len(widths) - 1)
        self.reach = Reach.of(depths, stem_kernel, down, up, tail_kernel=3)
        self.halo = shuffle * self.reach.halo  # pixels around a part that can influence it; a multiple of size_multiple

    def forward(self, noisy: Tensor, part: Window = ALL) -> Tensor:
        """Map noisy (B, 3, H, W) in [0, 1] to an estimate of the same shape, or of a part of it.

        The estimate is not clamped: the loss must see overshoot, and the pipeline clamps once. In evaluation mode a part is what
        it is in the whole estimate (with any `norm` but "group"), at less cost, for the decoder computes little else; the encoder
        reads all it is given, of which only `halo` pixels around the part matter.

        A trace of it (torch.jit.trace) is for pictures of the size that it was traced with.

        Raises ValueError for a picture without three channels, and for a part that is empty or does not start at multiples of
        `size_multiple`.
        """
        if noisy.ndim != 4 or noisy.shape[1] != 3:
            raise ValueError(f"expected noisy (B, 3, H, W), not {tuple(noisy.shape)}")
        rows, columns = (self._checked(span, side) for span, side in zip(part, noisy.shape[-2:], strict=True))
        x = F.pixel_unshuffle(pad_to_multiple(noisy, self.size_multiple), self.shuffle)  # (B, 3 s^2, H / s, W / s)
        need = Need.of_part((self._folded(rows), self._folded(columns)), (x.shape[-2], x.shape[-1]), self.reach.margins)
        x = self.tail(self.decoder(self.encoder(x), need))[..., *need.part]
        estimate = F.pixel_shuffle(x, self.shuffle)[..., : rows.stop - rows.start, : columns.stop - columns.start]
        return noisy[..., rows, columns] - estimate if self.residual else estimate

    def _checked(self, span: slice, side: int) -> slice:
        """The rows or columns of a part in numbers from 0 on."""
        start, stop, step = span.indices(side)
        if start % self.size_multiple or start >= stop or step != 1:
            raise ValueError(f"a part starts at multiples of {self.size_multiple} and ends beyond; not {start}:{stop}:{step}")
        return slice(start, stop)

    def _folded(self, span: slice) -> slice:
        """A span in pixels of the finest feature, its end on the coarsest grid."""
        stop = -(-span.stop // self.size_multiple) * self.size_multiple
        return slice(span.start // self.shuffle, stop // self.shuffle)
