"""PSNR of the peers on the sets that `train.evaluate` measures ours on, with the same noise: docs/peers.json.

    python -m benchmarks.quality --cifar10 uoft-cs/cifar10 --imagenet64 benjamin-paine/imagenet-1k-64x64 \\
        --cbsd68 CBSD68/ --real-noise PAIRS/ --limit 1000

All but the median are told the noise level; of real noise, the estimate that the library makes. BM3D takes seconds a picture.
"""

from functools import partial

import torch
from torch import Tensor

from benchmarks.peers import PEERS, Method
from train import evaluate, results


def one_by_one(run: Method, noisy: Tensor, sigma: float) -> Tensor:
    """A method of single pictures on a batch (B, 3, H, W)."""
    return torch.cat([run(picture[None], sigma) for picture in noisy])


def main() -> None:
    options = evaluate.parser(__doc__).parse_args()
    methods = {name: partial(one_by_one, run) for name, run in PEERS.items()}
    for table in evaluate.denoising_tables(options, lambda _: methods):
        print(table.markdown(), end="\n\n", flush=True)
        results.write([table], results.PEERS)


if __name__ == "__main__":
    main()
