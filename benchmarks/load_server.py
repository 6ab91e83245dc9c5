"""The server of `benchmarks.load`: the app as it is, but that it counts the jobs at work, and maybe with an idle network."""

import argparse
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import app
from restore import pipeline
from restore.models.denoiser import Denoiser
from restore.models.hub import local_state
from web import gpu, jobs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("record", type=Path, help="file for the most jobs that were at work at once")
    parser.add_argument("--queue-size", type=int, default=jobs.QUEUE_SIZE)
    parser.add_argument("--identity", action="store_true", help="a denoiser that changes nothing")
    options = parser.parse_args()
    gpu.run = counting(gpu.run, options.record)
    if options.identity:
        pipeline._loaded["Denoiser", "denoiser-photo"] = local_state("denoiser-photo"), identity()
    app.launch(app.build(options.queue_size), server_name="127.0.0.1", server_port=options.port)


def counting(run: Callable[..., Any], record: Path) -> Callable[..., Any]:
    """Let `run` work, and write down how many of its calls were under way at once."""
    most, now, lock = 0, 0, threading.Lock()
    record.write_text("0")

    def counted(work: Any, report: Any) -> Any:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
            record.write_text(str(most))
        try:
            return run(work, report)
        finally:
            with lock:
                now -= 1

    return counted


def identity() -> Denoiser:
    """A network that finds no noise."""
    network = Denoiser(widths=(4,), depths=(0,)).eval()
    for parameter in network.tail.parameters():
        parameter.data.zero_()
    return network


if __name__ == "__main__":
    main()
