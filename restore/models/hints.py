"""Which cells of a prediction are alike: they share what is known of their colours, and copy those of hints."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HINT_SIGMA = 5.0  # Lab units: how softly a hint's colour falls into the bins, as the truth does in training
SHARPNESS = 2.0  # of the likeness by which cells share, of that by which they copy: less, and colours become dull
MAX_BLOCKS = 1024  # that a cell is compared with, whatever the size of the picture


class HintCopy(nn.Module):
    """Attention from every cell of the prediction to others, after the pointer networks of Vinyals et al. (2015).

    With hints, a cell's distribution over the bins becomes a mixture of the colours of the hints, each by how alike and how near
    the hinted cell is, and of the cell's own distribution, by a learned score for "none of them". What this learns of likeness
    also serves without hints: see `share`.

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

    def look(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """What likeness is judged by, (B, channels, h, w) of `size`; features are (B, widths[i], h or less, w or less)."""
        inside = (F.interpolate(merge(x), size, mode="bilinear") for merge, x in zip(self.merge, features, strict=True))
        return torch.stack(list(inside)).sum(0).relu()

    def share(self, logits: Tensor, looks: Tensor) -> Tensor:
        """Let cells that are alike, as those of a garment or a wall, have one opinion: the mean of their logits (B, Q, h, w).

        They are looked for among at most a thousand blocks of cells, 2x2 or larger, which give as good colours in less time.
        """
        height, width = logits.shape[-2:]
        block = max(2, math.ceil(math.sqrt(height * width / MAX_BLOCKS)))
        blocks = F.avg_pool2d(looks, block, ceil_mode=True), F.avg_pool2d(logits.log_softmax(1), block, ceil_mode=True)
        query, key, odds = (x.flatten(2).transpose(1, 2) for x in (self.query(looks), self.key(blocks[0]), blocks[1]))
        shared = F.scaled_dot_product_attention(query, key, odds, scale=SHARPNESS / query.shape[2] ** 0.5)
        return shared.transpose(1, 2).reshape(logits.shape)

    def forward(self, logits: Tensor, looks: Tensor, hints: Tensor, bin_centers: Tensor) -> Tensor:
        """Map logits (B, Q, h, w) to the mixture's; `looks` is from `look`, bin_centers (Q, 2).

        `hints` (B, 3, H, W) are as Colorizer takes them.
        """
        size = logits.shape[-2:]
        ab, known = pool_hints(hints, size)
        hinted = known.any(1)  # pictures
        cells = known[hinted].any(0)  # that hold a hint in any of them
        query, key = (linear(looks)[hinted].flatten(2).transpose(1, 2) for linear in (self.query, self.key))
        none = self.none(looks)[hinted].flatten(2).transpose(1, 2)  # (B, h * w, 1)
        position = positions(size).to(looks.device)

        with torch.autocast(looks.device.type, enabled=False):  # half precision holds neither small odds nor distances
            query, key, none = query.float(), key.float(), none.float()
            alike = query @ key[:, cells].transpose(1, 2) / query.shape[2] ** 0.5  # (B, h * w, M)
            score = alike - self.log_slope.float().exp() * torch.cdist(position, position[cells])
            score = score.masked_fill(~known[hinted][:, None, cells], float("-inf"))
            share = torch.cat([score, none], dim=2).softmax(2)

            distance = torch.cdist(ab[hinted][:, cells], bin_centers.float().expand(len(score), -1, -1))
            colours = (-0.5 * (distance / HINT_SIGMA) ** 2).softmax(2)  # (B, M, Q)
            own = logits[hinted].float().flatten(2).transpose(1, 2).softmax(2)
            mixture = share[..., :-1] @ colours + share[..., -1:] * own
        mixed = logits.flatten(2).transpose(1, 2).clone()  # (B, h * w, Q)
        mixed[hinted] = mixture.clamp_min(1e-9).log().to(mixed)
        return mixed.transpose(1, 2).view_as(logits)


def pool_hints(hints: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Hints (B, 3, H, W) by cell: the mean of the ab known in each (B, h * w, 2), and whether there is any (B, h * w)."""
    pooled = F.adaptive_avg_pool2d(hints.float(), (size[0], size[1])).flatten(2).transpose(1, 2)
    share = pooled[..., 2:]
    return pooled[..., :2] / share.clamp_min(1e-12), share[..., 0] > 0


def positions(size: Sequence[int]) -> Tensor:
    """Row and column of each cell, (h * w, 2)."""
    return torch.cartesian_prod(torch.arange(size[0], dtype=torch.float32), torch.arange(size[1], dtype=torch.float32))
