"""The one family of networks: an encoder, a decoder and the residual blocks that both are built from."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.models.reach import Need


def normalization(kind: str, channels: int) -> nn.Module:
    """ "none", "batch", or "group" for small batches: 8 channels a group, or more where 8 do not divide them.

    A group's statistics span the whole picture, so that with "group" the halo of a network is no bound.
    """
    match kind:
        case "none":
            return nn.Identity()
        case "batch":
            return nn.BatchNorm2d(channels)
        case "group":
            return nn.GroupNorm(math.gcd(channels, max(1, channels // 8)), channels)
    raise ValueError(f'norm must be "none", "batch" or "group", not {kind!r}')


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), each convolution 3x3 and followed by the normalisation, if any."""

    def __init__(self, channels: int, norm: str = "none"):
        super().__init__()
        bias = norm == "none"  # a normalisation brings its own
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
        self.norm1 = normalization(norm, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
        self.norm2 = normalization(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        inner = F.relu(self.norm1(self.conv1(x)), inplace=True)
        change: Tensor = self.norm2(self.conv2(inner))
        return change.add_(x)

    def become_identity(self) -> None:
        """Change nothing, until training says what to change."""
        last = list(self.norm2.parameters()) or list(self.conv2.parameters())  # of both, neither would get a gradient
        for parameter in last:
            nn.init.zeros_(parameter)


def halve(kind: str, channels: int, out_channels: int) -> nn.Module:
    """Half the size: "conv" learns a 2x2 stride, "max" pools as the paper does."""
    match kind:
        case "conv":
            return nn.Conv2d(channels, out_channels, 2, stride=2)
        case "max":
            return nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(channels, out_channels, 3, padding=1))
    raise ValueError(f'down must be "conv" or "max", not {kind!r}')


def double(kind: str, channels: int, out_channels: int) -> nn.Module:
    """Twice the size: "conv" learns a 2x2 transposed convolution, "nearest" repeats pixels and smooths."""
    match kind:
        case "conv":
            return nn.ConvTranspose2d(channels, out_channels, 2, stride=2)
        case "nearest":
            return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(channels, out_channels, 3, padding=1))
    raise ValueError(f'up must be "conv" or "nearest", not {kind!r}')


class Encoder(nn.Module):
    """A stem, then stages of residual blocks with half the size between them."""

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        depths: Sequence[int],
        stem_kernel: int = 3,
        norm: str = "none",
        down: str = "conv",
    ):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, widths[0], stem_kernel, padding=stem_kernel // 2)
        self.downs = nn.ModuleList(halve(down, c, c_next) for c, c_next in pairwise(widths))
        self.stages = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(c, norm) for _ in range(depth))) for c, depth in zip(widths, depths, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (B, C, H, W) to features, finest first: (B, widths[i], H / 2**i, W / 2**i)."""
        features = [self.stages[0](self.stem(x))]
        for down, stage in zip(self.downs, self.stages[1:], strict=True):
            features.append(stage(down(features[-1])))
        return features


class Decoder(nn.Module):
    """From the coarsest feature back up; each finer one is added on the way, or left out as in the paper (skips=False)."""

    def __init__(self, widths: Sequence[int], depths: Sequence[int], norm: str = "none", up: str = "conv", skips: bool = True):
        super().__init__()
        self.skips = skips
        self.ups = nn.ModuleList(double(up, c_next, c) for c, c_next in pairwise(widths))
        self.stages = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(c, norm) for _ in range(depth)))
            for c, depth in zip(widths[:-1], depths[:-1], strict=True)
        )

    def forward(self, features: list[Tensor], need: Need | None = None) -> Tensor:
        """Map features, finest first, to one of the finest's shape, or to what of it there is need of."""
        need = need or Need.of_all(len(self.stages))
        x = features[-1]
        levels = zip(features[:-1], self.ups, self.stages, need.doubled, need.skipped, strict=True)
        for feature, up, stage, doubled, skipped in reversed(list(levels)):
            x = up(x)[..., *doubled]
            x = stage(x + feature[..., *skipped] if self.skips else x)
        return x


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Grow (B, C, H, W) at the bottom and right to multiples, by reflection, or repetition where too little is there."""
    height, width = x.shape[-2:]
    for axis, missing in ((-2, -height % multiple), (-1, -width % multiple)):
        if missing:
            size = x.shape[axis]
            take = torch.arange(size + missing, device=x.device)
            mirrored = 2 * (size - 1) - take
            take = torch.where(take < size, take, mirrored if missing < size else size - 1)
            x = x.index_select(axis, take)
    return x
