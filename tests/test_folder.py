"""A folder is restored by several processes as by one, and a run that was killed goes on as if it had not been."""

import csv
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive import contents, save_network, save_pictures, start
from PIL import Image

from restore.__main__ import main
from restore.engine import Share
from restore.files import replacing, sweep
from restore.folder import UsageError, plan

COUNT = 12
PROCESSES = 2
LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node", str(PROCESSES)],
    # --multi_gpu is how accelerate is told of several processes, on CPUs too; port 0 is any free one
    "accelerate": ["accelerate.commands.launch", "--multi_gpu", "--num_processes", str(PROCESSES), "--main_process_port", "0"],
}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_network(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("album")
    save_pictures(folder, COUNT)
    return folder


@pytest.fixture(scope="module")
def undisturbed(album: Path, network: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes of the album."""
    out = tmp_path_factory.mktemp("undisturbed")
    assert main(["denoise", str(album), "-o", str(out), "--model", network, "--processes", "1"]) == 0
    return contents(out)


def wait_for_results(out: Path, count: int, process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 120
    while len(list(out.rglob("*.png"))) < count:
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < end
        time.sleep(0.005)


def test_processes_do_not_change_a_bit(album: Path, network: str, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    assert main(["denoise", str(album), "-o", str(tmp_path), "--model", network, "--processes", "2"]) == 0
    assert contents(tmp_path) == undisturbed
    assert len(undisturbed) == COUNT


def test_a_killed_run_goes_on_with_nothing_lost(album: Path, network: str, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    command = ["denoise", str(album), "-o", str(tmp_path), "--model", network, "--processes", "2"]
    killed = start(*command)
    wait_for_results(tmp_path, 2, killed)
    killed.kill()
    killed.wait()
    for path in tmp_path.rglob("*.png"):
        assert path.read_bytes() == undisturbed[str(path.relative_to(tmp_path))]
    resumed = start(*command)
    _, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors
    assert contents(tmp_path) == undisturbed


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_cleanly(stop: signal.Signals, network: str, tmp_path: Path) -> None:
    """The terminal sends it to all processes, as Slurm does with the other."""
    save_pictures(tmp_path / "album", 20, side=400)
    process = start("denoise", str(tmp_path / "album"), "-o", str(tmp_path / "out"), "--model", network, "--processes", "2")
    wait_for_results(tmp_path / "out", 1, process)
    os.killpg(process.pid, stop)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped: " in errors
    assert "Traceback" not in errors
    for name in contents(tmp_path / "out"):
        assert name.endswith(".png")
        Image.open(tmp_path / "out" / name).load()


def test_a_process_that_dies_costs_its_share_in_flight(
    album: Path, network: str, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """Of three, one is killed at once; what it had to do is done by two."""
    world_size, afterwards = 3, 2
    command = ["denoise", str(album), "-o", str(tmp_path), "--model", network, "--processes", "1"]
    processes = [start(*command, rank=rank, world_size=world_size) for rank in range(world_size)]
    processes[-1].kill()
    assert [process.wait(120) for process in processes[:-1]] == [0] * (world_size - 1)
    shares = [Share(rank, world_size).of(sorted(undisturbed)) for rank in range(world_size - 1)]
    assert len(contents(tmp_path)) >= sum(map(len, shares))
    processes += [start(*command, rank=rank, world_size=afterwards) for rank in range(afterwards)]
    assert [process.wait(120) for process in processes[world_size:]] == [0] * afterwards
    assert contents(tmp_path) == undisturbed
    for process in processes:
        process.communicate()


@pytest.mark.parametrize("launcher", LAUNCHERS.values(), ids=LAUNCHERS)
def test_a_launcher_shares_it_out(
    launcher: list[str], album: Path, network: str, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.png"  # the failure of one process is no reason for the launcher to end the others
    damaged.write_bytes(b"not a picture")
    output = tmp_path / "results"
    command = [sys.executable, "-m", *launcher, "-m", "restore"]
    command += ["denoise", str(album), str(damaged), "-o", str(output), "--model", network, "--processes", "1"]
    finished = subprocess.run(  # noqa: S603  # our own words
        command, check=True, capture_output=True, timeout=120, env=os.environ | {"ACCELERATE_USE_CPU": "true"}
    )
    assert finished.stderr.count(b" done, 0 skipped, 0 failed") == PROCESSES - 1
    assert finished.stderr.count(b" done, 0 skipped, 1 failed") == 1
    assert contents(output / album.name) == undisturbed


def test_no_other_name_of_an_input_is_taken_for_a_place_of_its_result(tmp_path: Path) -> None:
    """As on disks where IMG.JPG and img.jpg are one file, of which a second name tells here."""
    (photo,) = save_pictures(tmp_path / "album", 1)
    (tmp_path / "out").mkdir()
    os.link(photo, tmp_path / "out" / photo.name)
    for output in (tmp_path / "out", tmp_path / "out" / photo.name):
        with pytest.raises(UsageError, match="take the place of an input"):
            plan([photo], output)
    (tmp_path / "out" / photo.name).unlink()
    assert len(plan([photo], tmp_path / "out").jobs) == 1


def test_shares_are_disjoint_and_complete() -> None:
    for count in (1, 2, 3, 7):
        shares = [list(Share(index, count).of(range(20))) for index in range(count)]
        assert sorted(itertools.chain(*shares)) == list(range(20))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_share_that_cannot_be_is_refused(album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["denoise", str(album), "-o", str(tmp_path)]) == 2


def test_failures_are_listed_until_they_are_none(network: str, tmp_path: Path) -> None:
    album, out = tmp_path / "album", tmp_path / "out"
    bad, *_ = save_pictures(album, 3)
    good = bad.read_bytes()
    bad.write_bytes(good[:40])
    command = ["denoise", str(album), "-o", str(out), "--model", network, "--processes", "2"]
    assert main(command) == 1
    with open(out / "failures.csv", encoding="utf-8", newline="") as file:
        (header, (picture, cause)) = csv.reader(file)
    assert header == ["picture", "cause"]
    assert picture == str(bad)
    assert cause
    bad.write_bytes(good)
    for other in ("failures-3.csv", "failures-x.csv"):
        (out / other).write_text("of the heart\n")
    assert main(command) == 0
    assert sorted(contents(out)) == [
        "00.png",
        "02.png",
        "failures-3.csv",
        "failures-x.csv",
        "more/01.png",
    ]  # none that is not ours


def test_what_is_hidden_is_left_alone_and_a_name_without_suffix_is_a_folder(network: str, tmp_path: Path) -> None:
    album, out = tmp_path / "album", tmp_path / "new"
    first, *_ = save_pictures(album, 2)
    (album / ".thumbnails").mkdir()
    for hidden in (album / ".thumbnails/a.png", album / ".b.png"):
        hidden.write_bytes(first.read_bytes())
    assert main(["denoise", str(album), "-o", str(out / "all"), "--model", network]) == 0
    assert main(["denoise", str(first), "-o", str(out / "one"), "--model", network]) == 0
    assert sorted(contents(out)) == ["all/00.png", "all/more/01.png", "one/00.png"]


def test_what_a_killed_writer_left_is_swept_and_no_other_file(tmp_path: Path) -> None:
    target, other = tmp_path / "a.png", tmp_path / "b.png"
    leftovers = []
    for path in (target, other):
        with replacing(path) as file:
            leftovers.append(path.parent / Path(file.name).name)
            file.write(b"whole")
    for leftover in leftovers:
        leftover.write_bytes(b"half")
    (tmp_path / "notes.tmp").write_bytes(b"the user's own")
    sweep([target])
    assert set(contents(tmp_path)) == {"a.png", "b.png", leftovers[1].name, "notes.tmp"}


def test_a_link_stays_one_and_permissions_stay(tmp_path: Path) -> None:
    kept, link = tmp_path / "disk" / "a.png", tmp_path / "a.png"
    kept.parent.mkdir()
    kept.write_bytes(b"old")
    kept.chmod(0o600)
    link.symlink_to(kept)
    with replacing(link) as file:
        leftover = Path(file.name)
        file.write(b"new")
    assert link.is_symlink()
    assert kept.read_bytes() == b"new"
    assert kept.stat().st_mode & 0o777 == 0o600
    leftover.write_bytes(b"half")
    sweep([link])
    assert set(contents(tmp_path)) == {"a.png", "disk/a.png"}


def test_a_folder_that_cannot_be_swept_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(_: Path) -> Iterator[Path]:
        raise PermissionError

    monkeypatch.setattr(Path, "iterdir", locked)
    sweep([tmp_path / "a.png"])


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"old")

    def write() -> None:
        with replacing(tmp_path / "a.png") as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert contents(tmp_path) == {"a.png": b"old"}
