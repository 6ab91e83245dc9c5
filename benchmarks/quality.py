"""PSNR of the peers on the sets that `train.evaluate` measures ours on, with the same noise: docs/peers.json.

    python -m benchmarks.quality --cbsd68 CBSD68/ --peers FFDNet "non-local means" "median 3x3"
    python -m benchmarks.quality --cifar10 uoft-cs/cifar10 --real-noise PAIRS/ --limit 100

All but the median are told the noise level; of real noise, the estimate that the library makes. BM3D takes two seconds for a
thumbnail and half a minute for a picture of CBSD68. Rows of other methods on the same pictures stay.
"""

import dataclasses
from functools import partial

import torch
from torch import Tensor

from benchmarks.peers import PEERS, Method
from train import evaluate, results
from train.results import Table


def one_by_one(run: Method, noisy: Tensor, sigma: float) -> Tensor:
    """A method of single pictures on a batch (B, 3, H, W)."""
    return torch.cat([run(picture[None], sigma) for picture in noisy])


def beside_known(table: Table, known: Table | None) -> Table:
    """The table with the rows that are known of other methods on the same pictures, in the order of PEERS."""
    if known is None or (known.caption, known.columns) != (table.caption, table.columns):
        return table
    rows = {row[0]: row for row in (*known.rows, *table.rows)}
    return dataclasses.replace(table, rows=tuple(rows[name] for name in PEERS if name in rows))


def main() -> None:
    parser = evaluate.parser(__doc__)
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    options = parser.parse_args()
    methods = {name: partial(one_by_one, PEERS[name]) for name in options.peers}
    for table in evaluate.denoising_tables(options, lambda _: methods):
        print(table.markdown(), end="\n\n", flush=True)
        results.write([beside_known(table, results.read(results.PEERS).get(table.name))], results.PEERS)


if __name__ == "__main__":
    main()
