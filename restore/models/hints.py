"""Colour hints: each cell of a prediction copies the colours of the hints that it is like, or keeps what was predicted."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HINT_SIGMA = 5.0  # Lab units: how softly a hint's colour falls into the bins, as the truth does in training


class HintCopy(nn.Module):
    """Attention from every cell of the prediction to the hinted ones, after the pointer networks of Vinyals et al. (2015).

    A cell's distribution over the bins becomes a mixture of the colours of the hints, each by how alike and how near the hinted
    cell is, and of the cell's own distribution, by a learned score for "none of them". A prediction without hints stays as it is.

    Args:
        widths: channels of the features that likeness is judged by.
        channels: of the queries and keys.
    """

    def __init__(self, widths: Sequence[int], channels: int = 64):
        super().__init__()
        self.merge = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.none = nn.Conv2d(channels, 1, 1)
        self.log_slope = nn.Parameter(torch.tensor(-2.0))  # of the score's fall with the distance in cells

    def forward(self, logits: Tensor, features: Sequence[Tensor], hints: Tensor, bin_centers: Tensor) -> Tensor:
        """Map logits (B, Q, h, w) to the mixture's; features are (B, widths[i], h or less, w or less), bin_centers (Q, 2).

        `hints` (B, 3, H, W) are as Colorizer takes them.
        """
        size = logits.shape[-2:]
        inside = (F.interpolate(merge(x), size, mode="bilinear") for merge, x in zip(self.merge, features, strict=True))
        merged = torch.stack(list(inside)).sum(0).relu()
        ab, known = pool_hints(hints, size)
        hinted = known.any(1)  # pictures
        cells = known[hinted].any(0)  # that hold a hint in any of them
        query, key = (linear(merged)[hinted].flatten(2).transpose(1, 2) for linear in (self.query, self.key))
        none = self.none(merged)[hinted].flatten(2).transpose(1, 2)  # (B, h * w, 1)
        position = positions(size).to(merged)

        alike = query @ key[:, cells].transpose(1, 2) / query.shape[2] ** 0.5  # (B, h * w, M)
        score = alike - self.log_slope.exp() * torch.cdist(position, position[cells])
        score = score.masked_fill(~known[hinted][:, None, cells], float("-inf"))
        share = torch.cat([score, none], dim=2).softmax(2)

        distance = torch.cdist(ab[hinted][:, cells], bin_centers.expand(len(score), -1, -1))
        colours = (-0.5 * (distance / HINT_SIGMA) ** 2).softmax(2)  # (B, M, Q)
        mixture = share[..., :-1] @ colours + share[..., -1:] * logits[hinted].flatten(2).transpose(1, 2).softmax(2)
        mixed = logits.flatten(2).transpose(1, 2).clone()  # (B, h * w, Q)
        mixed[hinted] = mixture.clamp_min(1e-9).log().to(mixed)
        return mixed.transpose(1, 2).view_as(logits)


def pool_hints(hints: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Hints (B, 3, H, W) by cell: the mean of the ab known in each (B, h * w, 2), and whether there is any (B, h * w)."""
    pooled = F.adaptive_avg_pool2d(hints, (size[0], size[1])).flatten(2).transpose(1, 2)
    share = pooled[..., 2:]
    return pooled[..., :2] / share.clamp_min(1e-12), share[..., 0] > 0


def positions(size: Sequence[int]) -> Tensor:
    """Row and column of each cell, (h * w, 2)."""
    return torch.cartesian_prod(torch.arange(size[0], dtype=torch.float32), torch.arange(size[1], dtype=torch.float32))
