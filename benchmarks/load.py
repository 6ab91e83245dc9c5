"""The app under load: `python -m benchmarks.load SCENARIO...`, each against a server that it starts on 127.0.0.1.

visitors  16 for 50 s, 512-pixel photos, a network that changes nothing: what the server itself costs
joins     50 visitors at once where 8 may wait: some finish, the others are told to try again
requests  500, one after the other: what stays in memory, and in the folder after the sweep
photos    20 visitors for 3 minutes, photos of a megapixel, the real networks
kill      kill -9 while visitors wait, then a start: what is left, and whether it serves

Each answer is compared with its visitor's photo, so that a lost or a crossed one is an error.
"""

import argparse
import collections
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import numpy as np
from gradio_client import Client, handle_file
from PIL import Image

from restore.color import rgb_to_lab
from restore.images import open_picture

BUSY = "full"  # in what a visitor is told when the queue is
START_SECONDS = 60
MOST = "most"  # the file that the server counts in


@dataclass
class Server:
    """A running app: its address, its process, its folder of pictures, and the most jobs that it had at work at once."""

    address: str
    process: subprocess.Popen[bytes]
    folder: Path

    def memory(self, key: str = "VmRSS") -> float:
        """In MB; "VmHWM" is the most so far."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(key)).split()[1]) / 1e3

    def files(self) -> list[Path]:
        return list((self.folder / "pictures").rglob("*"))

    def most_at_work(self) -> int:
        return int((self.folder / MOST).read_text())


@contextmanager
def serving(folder: Path, *, identity: bool = False, queue_size: int = 0) -> Iterator[Server]:
    """Start the app as a process of its own; kill it in the end."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.load_server", str(port), str(folder / MOST)]
    command += ["--queue-size", str(queue_size)] if queue_size else []
    command += ["--identity"] if identity else []
    environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "pictures")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)  # noqa: S603  # its own words
    server = Server(f"http://127.0.0.1:{port}", process, folder)
    try:
        _wait_for(server)
        yield server
    finally:
        process.kill()
        process.wait()


def _wait_for(server: Server) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            httpx.get(server.address).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise SystemExit(f"the server did not answer within {START_SECONDS} s")


@dataclass
class Visits:
    """What the visitors met: seconds of each answered request, and the others by what was said."""

    seconds: list[float] = field(default_factory=list)
    errors: collections.Counter[str] = field(default_factory=collections.Counter)

    def visit(self, ask: Callable[[], None]) -> None:
        start = time.monotonic()
        try:
            ask()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is what the visitor saw
            self.errors[" ".join(str(error).split())[:80] or type(error).__name__] += 1
        else:
            self.seconds.append(time.monotonic() - start)

    def quantile(self, share: float) -> float:
        return sorted(self.seconds)[math.ceil(share * len(self.seconds)) - 1] if self.seconds else math.nan


def ask(client: Client, photo: Path, api: str, tolerance: float) -> None:
    """One request; its answer must be of the size of the photo and nearly as light, which no other visitor's photo is.

    Lightness is that of Lab, which colorizing keeps.
    """
    _, png, _, _ = client.predict(photo=handle_file(photo), api_name=api)
    before, after = (rgb_to_lab(open_picture(path).rgb)[0] for path in (photo, png))
    Path(png).unlink()
    if before.shape != after.shape or abs(before.mean() - after.mean()) > tolerance:
        raise RuntimeError("crossed: this is not the visitor's photo")


def write_photos(folder: Path, count: int, side: int, mode: str) -> list[Path]:
    """Photos that differ in brightness by 10 levels, 3 units of L or more, from one to the next, with some texture."""
    texture = np.random.default_rng(0).normal(0, 8, (side, side, 1 if mode == "L" else 3))
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        levels = (texture + 30 + 10 * number).clip(0, 255).round().astype(np.uint8)
        Image.fromarray(levels.squeeze()).save(path)
    return paths


def crowd(server: Server, photos: list[Path], seconds: float, api: str, tolerance: float) -> Visits:
    """A visitor for each photo, who asks again and again."""
    visits, clients = Visits(), [Client(server.address, verbose=False) for _ in photos]
    clients[0].predict(photo=handle_file(photos[0]), api_name=api)  # the networks are loaded
    end = time.monotonic() + seconds

    def stay(client: Client, photo: Path) -> None:
        while time.monotonic() < end:
            visits.visit(partial(ask, client, photo, api, tolerance))

    with ThreadPoolExecutor(len(photos)) as visitors:
        list(visitors.map(stay, clients, photos))
    return visits


# The scenarios; each gives the cells of its row


def visitors(folder: Path, count: int = 16, seconds: float = 50) -> str:
    with serving(folder, identity=True) as server:
        visits = crowd(server, write_photos(folder, count, 512, "RGB"), seconds, "/denoise", tolerance=0.01)
        each = seconds / max(1, len(visits.seconds))
        return (
            f"{told(visits)}; {each:.2f} s each; p95 {visits.quantile(0.95) / visits.quantile(0.5):.2f} of p50; {load_of(server)}"
        )


def photos(folder: Path, count: int = 20, seconds: float = 180) -> str:
    with serving(folder) as server:
        visits = crowd(server, write_photos(folder, count, 1000, "L"), seconds, "/restore", tolerance=1)
        return f"{told(visits)}; {load_of(server)}"


def joins(folder: Path, count: int = 50, queue_size: int = 8) -> str:
    visits, photo = Visits(), write_photos(folder, 1, 512, "RGB")[0]
    with serving(folder, identity=True, queue_size=queue_size) as server:
        clients = [Client(server.address, verbose=False) for _ in range(count)]
        clients[0].predict(photo=handle_file(photo), api_name="/denoise")
        gate = threading.Barrier(count)

        def arrive(client: Client) -> None:
            uploaded = handle_file(photo)
            gate.wait()
            visits.visit(lambda: client.predict(photo=uploaded, api_name="/denoise"))

        with ThreadPoolExecutor(count) as crowd_of_all:
            list(crowd_of_all.map(arrive, clients))
        busy = sum(number for words, number in visits.errors.items() if BUSY in words)
        return (
            f"{len(visits.seconds)} finish, {busy} are told that it is busy, {visits.errors.total() - busy} meet something else"
        )


def requests(folder: Path, count: int = 500) -> str:
    from web.server import sweep

    with serving(folder, identity=True) as server:
        client, photo, visits = Client(server.address, verbose=False), write_photos(folder, 1, 512, "RGB")[0], Visits()
        for _ in range(20):
            visits.visit(partial(ask, client, photo, "/denoise", 0.01))
        before = server.memory()
        for _ in range(count):
            visits.visit(partial(ask, client, photo, "/denoise", 0.01))
        growth, files = server.memory() - before, len(server.files())
        for _ in range(3):  # files, then the folders that held them
            sweep(folder / "pictures", keep_seconds=-1)
        return f"{told(visits)}; memory {growth:+.0f} MB; {files} files and folders, {len(server.files())} after the sweep"


def kill(folder: Path) -> str:
    from web.server import sweep

    photo, visits = write_photos(folder, 1, 1000, "L")[0], Visits()
    with serving(folder) as server:
        jobs = [Client(server.address, verbose=False).submit(photo=handle_file(photo), api_name="/restore") for _ in range(4)]
        while not server.most_at_work():
            time.sleep(0.05)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        left = len(server.files())
        del jobs
    with serving(folder) as server:
        client = Client(server.address, verbose=False)
        visits.visit(partial(ask, client, photo, "/restore", 4))
        for _ in range(3):
            sweep(folder / "pictures", keep_seconds=-1)
        return f"{left} files and folders left by the killed one, {len(server.files())} after the sweep; then {told(visits)}"


def told(visits: Visits) -> str:
    errors = ", ".join(f"{number} x {words}" for words, number in visits.errors.items()) or "no error"
    middle = statistics.median(visits.seconds) if visits.seconds else math.nan
    return f"{len(visits.seconds)} done, {errors}; p50 {middle:.2f} s, p95 {visits.quantile(0.95):.2f} s"


def load_of(server: Server) -> str:
    return f"at most {server.most_at_work()} at work; {server.memory('VmHWM'):.0f} MB at the peak"


SCENARIOS: dict[str, Callable[[Path], str]] = {
    scenario.__name__: scenario for scenario in (visitors, joins, requests, photos, kill)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="+", choices=list(SCENARIOS))
    options = parser.parse_args()
    print("| scenario | what came of it |\n| --- | --- |")
    for name in options.scenario:
        with tempfile.TemporaryDirectory(prefix="load-") as folder:
            print(f"| {name} | {SCENARIOS[name](Path(folder))} |", flush=True)


if __name__ == "__main__":
    main()
