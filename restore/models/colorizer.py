"""Lightness in, ab out: a U-Net whose encoder is trained with it or comes from ImageNet, and whose cells copy hints and share.

Classes over ab bins are after Zhang et al. (Colorful Image Colorization, 2016), training on random hints after Zhang et al.
(Real-Time User-Guided Image Colorization, 2017).
"""

from collections.abc import Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.color import rgb_to_lab
from restore.models.blocks import Decoder, Encoder, pad_to_multiple
from restore.models.hints import HintCopy
from restore.models.hub import HubModel

AB_SCALE = 110.0  # sRGB reaches from -107.9 to 98.3 in ab
BIN_SIZE = 10  # Lab units, as in Zhang et al. (2016)
CONTRAST = 1.85  # that a unit of vividness adds to a colour that is not known at all: nine tenths of the truth's colourfulness
CAST = 0.8  # of a picture's mean colour is what colours stand out from: the chroma shown is then on average the truth's


class Colorizer(HubModel, pipeline_tag="image-to-image"):
    """Estimate the ab channels of a picture from its lightness, and from hints if there are any.

    The paper's network is `Colorizer(widths=(64, 128, 256), depths=(1, 1, 1), stem_kernel=7, norm="batch", down="max",
    up="nearest", skips=False, bins=False, hints=False)`.

    Args:
        encoder: a timm name for a backbone pretrained on ImageNet, or "" for the U-Net's own.
        widths: channels of the decoder at each scale, finest first; of the own encoder too.
        depths: residual blocks at each scale of the decoder; of the own encoder too.
        shuffle: side of the pixel blocks folded into channels before the own encoder.
        zoom: how far the picture is enlarged before a backbone, which divides its stride; for small pictures.
        stem_kernel, norm, down, up, skips: as in Denoiser.
        bins: predict a distribution over ab bins; otherwise ab through tanh, as in the paper.
        hints: accept colour hints; only with bins.
        work_size: short side in pixels at which the network was trained to see a picture.
    """

    bin_centers: Tensor

    def __init__(
        self,
        encoder: str = "",
        widths: Sequence[int] = (32, 64, 128),
        depths: Sequence[int] = (2, 2, 2),
        shuffle: int = 1,
        zoom: int = 1,
        stem_kernel: int = 3,
        norm: str = "none",
        down: str = "conv",
        up: str = "conv",
        skips: bool = True,
        bins: bool = True,
        hints: bool = True,
        work_size: int = 64,
    ):
        super().__init__()
        if hints and not bins:
            raise ValueError("hints need bins")
        self.work_size = work_size
        self.shuffle = shuffle
        if encoder:
            self.encoder: nn.Module = Backbone(encoder, widths, zoom)
            self.stride = self.encoder.stride
        else:
            self.encoder = Encoder(shuffle**2, widths, depths, stem_kernel, norm, down)
            self.stride = shuffle
        self.decoder = Decoder(widths, depths, norm, up, skips)
        self.hint_copy = HintCopy([widths[0], *widths]) if hints else None
        self.register_buffer("bin_centers", ab_bins() if bins else torch.zeros(0, 2))
        self.tail = nn.Conv2d(widths[0], len(self.bin_centers) or 2, 1 if bins else 3, padding=0 if bins else 1)
        self.size_multiple = self.stride * 2 ** (len(widths) - 1)

    def forward(self, lightness: Tensor, hints: Tensor | None = None, vividness: float | None = 0.0) -> Tensor:
        """Map lightness (B, 1, H, W) in [0, 100] to ab (B, 2, H, W) in Lab units.

        `hints` is (B, 3, H, W): ab where a colour is known, and 1 there, all zero elsewhere. `vividness` 0 gives the mean of
        the distribution, which is the safest; towards 2 the colours grow bolder. None gives what `predict` does, for training.

        Raises:
            ValueError: The lightness is not (B, 1, H, W), as RGB is not, or the hints are of another shape.
        """
        if lightness.ndim != 4 or lightness.shape[1] != 1:
            raise ValueError(f"expected lightness (B, 1, H, W), not {tuple(lightness.shape)}; restore.color.rgb_to_lab gives it")
        batch, _, height, width = lightness.shape
        if hints is not None and hints.shape != (batch, 3, height, width):
            raise ValueError(f"expected hints {(batch, 3, height, width)}, not {tuple(hints.shape)}")
        if vividness is None:
            return self.predict(lightness, hints)
        ab = self.ab_of(self.predict_both_ways(lightness, hints), vividness)  # (B, 2, ~H / stride, ~W / stride)
        if self.stride > 1:
            ab = F.interpolate(ab, scale_factor=self.stride, mode="bilinear")
        return ab[..., :height, :width]

    def predict_both_ways(self, lightness: Tensor, hints: Tensor | None = None) -> Tensor:
        """The mean of what `predict` gives for a picture and for its mirror image, which have the same colours.

        The paper's network, which has no bins, sees the picture alone.
        """
        if len(self.bin_centers) == 0:
            return self.predict(lightness, hints)
        lightness = pad_to_multiple(lightness, self.size_multiple)
        hints = None if hints is None else pad_to_multiple(hints, self.size_multiple)
        mirrored = self.predict(lightness.flip(-1), None if hints is None else hints.flip(-1))
        return (self.predict(lightness, hints) + mirrored.flip(-1)) / 2

    def predict(self, lightness: Tensor, hints: Tensor | None = None) -> Tensor:
        """The network itself: logits over `bin_centers` (B, Q, h, w) at 1 / stride of the padded size, or ab (B, 2, h, w).

        Cells that are alike share their logits, in a network that takes hints and so knows what is alike.
        """
        x = pad_to_multiple(lightness, self.size_multiple) / 50 - 1  # (B, 1, H, W) in [-1, 1]
        features = self.encoder(F.pixel_unshuffle(x, self.shuffle))
        decoded = self.decoder(features)
        prediction: Tensor = self.tail(decoded)
        if self.hint_copy is None:
            if hints is not None:
                raise ValueError("this colorizer was built without hints")
            return prediction
        looks = self.hint_copy.look([decoded, *features], prediction.shape[-2:])
        prediction = self.hint_copy.share(prediction, looks)
        if hints is None:
            return prediction
        mixture: Tensor = self.hint_copy(prediction, looks, pad_to_multiple(hints, self.size_multiple), self.bin_centers)
        return mixture

    def ab_of(self, prediction: Tensor, vividness: float = 0.0) -> Tensor:
        """Turn what `predict` gives into ab (B, 2, h, w): the mean of the bins, or the paper's denormalised tanh.

        The mean of a distribution is duller than the colours that it is of, the more so the wider it is. `vividness` makes it
        stand out more from the picture's mean colour, by the square of the share of it that the distribution leaves open. So
        what is sure stays, as hints do, and hardly a cast grows.
        """
        if len(self.bin_centers) == 0:
            return AB_SCALE * torch.tanh(prediction)
        odds = prediction.softmax(1)  # (B, Q, h, w)
        ab = torch.einsum("bqhw,qc->bchw", odds, self.bin_centers)
        if vividness == 0:
            return ab
        variance = torch.einsum("bqhw,q->bhw", odds, self.bin_centers.square().sum(1))[:, None] - ab.square().sum(1, keepdim=True)
        contrast = ab - CAST * ab.mean((2, 3), keepdim=True)
        unknown = variance / (variance + contrast.square().sum(1, keepdim=True)).clamp(min=1)  # (B, 1, h, w) in [0, 1]
        return ab + CONTRAST * vividness * unknown.square() * contrast


class Backbone(nn.Module):
    """A timm backbone from stride 4 on, its features brought to the decoder's widths; takes one channel in [-1, 1].

    The picture is enlarged `zoom` times first, so that the strides are those of the enlarged one divided by `zoom`.
    """

    def __init__(self, name: str, widths: Sequence[int], zoom: int = 1):
        super().__init__()
        try:
            from timm import create_model  # here, since it takes as long to load as torch, and no denoiser needs it
        except RuntimeError as error:
            raise ImportError(f"timm cannot be loaded; do torch and torchvision fit each other? {error}") from error
        body: Any = create_model(name, pretrained=False, features_only=True, out_indices=range(1, len(widths) + 1))
        self.body: nn.Module = body
        self.zoom = zoom
        stride: int = body.feature_info.reduction()[0]
        if zoom < 1 or stride % zoom:
            raise ValueError(f"zoom must divide the backbone's stride, {stride}, and {zoom} does not")
        self.stride = stride // zoom
        channels: list[int] = body.feature_info.channels()
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1) for c, width in zip(channels, widths, strict=True))

    def train(self, mode: bool = True) -> Self:
        """Train the laterals; the batch statistics of the backbone stay ImageNet's."""
        super().train(mode)
        self.body.eval()
        return self

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (B, 1, H, W) to features, finest first: (B, widths[i], H / stride / 2**i, W / stride / 2**i)."""
        if self.zoom > 1:
            x = F.interpolate(x, scale_factor=self.zoom, mode="bicubic")
        features = self.body(x.expand(-1, 3, -1, -1))
        return [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]


def ab_bins() -> Tensor:
    """Centres (Q, 2) of the 260 bins of 10 Lab units that hold a colour of sRGB, in the order of a, then b.

    Zhang et al. keep 313, some of which no colour of sRGB falls into.
    """
    levels = torch.linspace(0, 1, 52, dtype=torch.float32)  # every fifth 8-bit level
    cube = torch.cartesian_prod(levels, levels, levels).T[None, :, :, None]  # (1, 3, N, 1)
    _, ab = rgb_to_lab(cube)
    bins: Tensor = torch.unique((ab[0, :, :, 0].T / BIN_SIZE).round(), dim=0)
    return bins * BIN_SIZE
