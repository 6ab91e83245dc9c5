"""PSNR of the peers on the sets that `train.evaluate` measures ours on, with the same noise: docs/peers.json.

    python -m benchmarks.quality --cbsd68 CBSD68/ --peers FFDNet "non-local means" "median 3x3"
    python -m benchmarks.quality --cifar10 uoft-cs/cifar10 --real-noise PAIRS/ --limit 100

All but the median are told the noise level; of real noise, that of the difference to the clean picture. BM3D takes most of a
second for a thumbnail and six for a picture of CBSD68 at one level. Rows of other methods stay, and say on how many pictures they
are where that differs.
"""

import dataclasses
from functools import partial

import torch
from torch import Tensor

from benchmarks.peers import PEERS, Method
from train import evaluate, results
from train.evaluate import rows_beside, split_caption
from train.results import Table


def one_by_one(run: Method, noisy: Tensor, sigma: float) -> Tensor:
    """A method of single pictures on a batch (B, 3, H, W)."""
    return torch.cat([run(picture[None], sigma) for picture in noisy])


def beside_known(table: Table, known: Table | None) -> Table:
    """The table with the rows that are known of other methods on the same set, in the order of PEERS."""
    if known is None:
        return table
    (subject, count), (known_subject, known_count) = split_caption(table), split_caption(known)
    if (known_subject, known.columns) != (subject, table.columns):
        return table
    parts, most = (known, table), max(count, known_count)
    rows = {str(row[0]).partition(", first")[0]: row for part in parts for row in rows_beside(part, most)}
    return dataclasses.replace(table if count == most else known, rows=tuple(rows[name] for name in PEERS if name in rows))


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
