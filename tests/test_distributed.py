"""Two processes over gloo: killed, resumed, and to the same end as one process with the same global batch."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_training import KILL_AT, SIDE, StoppedError, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from train import checkpoint

ROOT = Path(__file__).parents[1]
DEATH = signal.Signals.SIGKILL
STEPS = 100
FEW_SAVES = {"validate_every": 50, "checkpoint_minutes": 60}
LONGEST_END = 20  # seconds from a rank's death to the end of the run


def two_processes(out: Path, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the small training as two ranks on this machine."""
    settings = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    script = [str(ROOT / "tests/small_training.py"), "--out", str(out), *flags]
    return subprocess.run(  # noqa: S603
        launch + script, env=os.environ | settings | environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose second rank died in its fifth batch."""
    out = tmp_path_factory.mktemp("two")
    done = two_processes(out, "--steps", str(STEPS), **{KILL_AT: "1:5"})
    ended = time.time()
    assert done.returncode != 0
    assert f"Signal {DEATH.value}" in done.stderr, done.stderr
    assert ended - max(path.stat().st_mtime for path in out.glob("step-*/*")) < LONGEST_END
    return out


@pytest.fixture(scope="module")
def resumed(killed: Path) -> Path:
    flags = [word for name, value in FEW_SAVES.items() for word in (f"--{name}", str(value))]
    done = two_processes(killed, "--resume", "--steps", str(STEPS), *flags)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("[00:00<?") == 1  # the bar of the main process
    return killed


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same global batches in one process, undisturbed."""
    out = tmp_path_factory.mktemp("one")
    train(out, accumulate=2, steps=STEPS, **FEW_SAVES)
    return out


def test_a_killed_rank_leaves_a_whole_checkpoint(killed: Path) -> None:
    assert checkpoint.load_newest(killed) is not None


def test_two_processes_resumed_end_as_one_undisturbed(resumed: Path, alone: Path) -> None:
    tensors, numbers = checkpoint.load_newest(resumed) or pytest.fail("no checkpoint")
    others, other_numbers = checkpoint.load_newest(alone) or pytest.fail("no checkpoint")
    assert numbers["step"] == other_numbers["step"] == STEPS
    assert numbers["measures"]["psnr"] == pytest.approx(other_numbers["measures"]["psnr"], abs=0.05)
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, others[name], rtol=1e-4, atol=1e-5)


def test_the_logged_loss_is_that_of_all_processes(killed: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(tmp_path, accumulate=2, steps=STEPS, stop_at=6)
    losses = []
    for run in (killed, tmp_path):
        events = EventAccumulator(str(run / "logs"))
        events.Reload()
        losses.append([event.value for event in events.Scalars("loss")[:2]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_every_validation_picture_counts_once(resumed: Path, alone: Path) -> None:
    for run in (resumed, alone):
        events = EventAccumulator(str(run / "logs"))
        events.Reload()
        assert events.Scalars("validation pictures")[-1].value == 5
        assert events.Scalars("psnr")[-1].step == events.Scalars("loss")[-1].step == STEPS
        assert events.Images("validation 0")[-1].width == 3 * SIDE  # noisy, restored, clean
