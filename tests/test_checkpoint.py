"""Checkpoints survive: killed at random, on a full disk, damaged; and what is resumed ends the same to the bit."""

import dataclasses
import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing import active_children, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from small_training import RECIPE, TINY, StoppedError, StoppingTask, train, write_folder
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Generator, Tensor, nn

from restore.models.denoiser import Denoiser
from train import bundle, checkpoint
from train.card import TRAINING, Training
from train.checkpoint import CheckpointError
from train.data import open_pictures
from train.loop import DivergedError, Run
from train.recipe import TrainingError

FORKS = get_context("forkserver")  # a process of its own in a tenth of a second
FORKS.set_forkserver_preload([__name__])
BATCH_NORM = {**TINY, "norm": "batch"}
KILLS = 20
STEPS_OF_KILLED = 8 * KILLS  # more than they get through, so that the last of them is a step to save


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Iterator[None]:
    """Let the fork server find the modules that the tests find."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])]))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


def state(run: Path) -> dict[str, Tensor]:
    """Every tensor of a run's newest checkpoint: weights, averaged weights, optimizer."""
    found = checkpoint.load_newest(run)
    assert found is not None
    return found[0]


def step(run: Path) -> int:
    found = checkpoint.load_newest(run)
    return found[1]["step"] if found else 0


def assert_equal(tensors: dict[str, Tensor], others: dict[str, Tensor]) -> None:
    assert tensors.keys() == others.keys()
    assert not [name for name in tensors if not torch.equal(tensors[name], others[name])]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("undisturbed")
    train(run)
    return run


@pytest.mark.parametrize("stop_at", range(2, 10))
def test_a_run_stopped_anywhere_resumes_to_the_bit(stop_at: int, undisturbed: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(tmp_path, stop_at=stop_at)
    assert step(tmp_path) == stop_at - 1
    train(tmp_path, resume=True, workers=stop_at % 3)
    assert_equal(state(tmp_path), state(undisturbed))
    assert_equal(load_file(tmp_path / "final/model.safetensors"), load_file(undisturbed / "final/model.safetensors"))


def test_a_run_stopped_within_a_step_resumes_to_the_bit(tmp_path: Path) -> None:
    train(tmp_path / "whole", accumulate=2, network=BATCH_NORM)
    with pytest.raises(StoppedError):
        train(tmp_path / "parts", accumulate=2, network=BATCH_NORM, stop_at=8, workers=2)
    assert step(tmp_path / "parts") == 3
    train(tmp_path / "parts", accumulate=2, network=BATCH_NORM, resume=True)
    assert_equal(state(tmp_path / "parts"), state(tmp_path / "whole"))


def test_a_run_on_a_stream_resumes_to_the_bit(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, dataset=str(write_folder(tmp_path / "pictures")), streaming=True)
    train(tmp_path / "whole", data=open_pictures(recipe, colour=False))
    with pytest.raises(StoppedError):
        train(tmp_path / "parts", data=open_pictures(recipe, colour=False), stop_at=7)
    train(tmp_path / "parts", data=open_pictures(recipe, colour=False), resume=True)
    assert_equal(state(tmp_path / "parts"), state(tmp_path / "whole"))


def test_a_stream_that_other_readers_go_on_with_says_what_that_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = dataclasses.replace(RECIPE, dataset=str(write_folder(tmp_path / "pictures")), streaming=True)
    run: dict[str, Any] = {"out": tmp_path / "run", "streaming": True, "resume": True}
    train(**run, data=open_pictures(recipe), steps=2)
    train(**run, data=open_pictures(recipe), steps=3)
    assert "note" not in capsys.readouterr().out
    train(**run, data=open_pictures(recipe), steps=4, workers=1)
    assert "was streamed by 1 processes of 0 workers" in capsys.readouterr().out


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_that_is_told_to_end_is_saved_first(workers: int, tmp_path: Path) -> None:
    """As by a cluster, whose signal reaches every process at once."""

    def terminate() -> None:
        for process in (os.getpid(), *(child.pid for child in active_children())):
            os.kill(process or 0, signal.SIGTERM)

    few_saves = {"steps": 14, "validate_every": 60, "checkpoint_minutes": 60, "workers": workers}
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingError, match=r"stopped by SIGTERM at step 10.*--resume"):
        train(tmp_path / "parts", stop_at=4, act=terminate, **few_saves)
    assert signal.getsignal(signal.SIGTERM) == before
    assert step(tmp_path / "parts") == 10
    train(tmp_path / "parts", resume=True, **few_saves)
    train(tmp_path / "whole", **few_saves)
    assert_equal(state(tmp_path / "parts"), state(tmp_path / "whole"))


def test_the_log_of_a_resumed_run_has_every_step_once(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(tmp_path, stop_at=7)
    shutil.rmtree(tmp_path / "step-00000006")  # as if it had been logged, and not saved
    train(tmp_path, resume=True)
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 10))


def test_a_launch_for_another_kind_of_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as launch:
        launch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
        with pytest.raises(TrainingError, match="4 gradient accumulation steps: give --accumulate 4"):
            train(tmp_path)
    monkeypatch.setattr(Accelerator, "distributed_type", DistributedType.FSDP)
    with pytest.raises(TrainingError, match="FSDP"):
        train(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_of_muon_resumes_to_the_bit(tmp_path: Path) -> None:
    train(tmp_path / "whole", optimizer="muon")
    with pytest.raises(StoppedError):
        train(tmp_path / "parts", optimizer="muon", stop_at=5)
    train(tmp_path / "parts", optimizer="muon", resume=True)
    assert_equal(state(tmp_path / "parts"), state(tmp_path / "whole"))


def test_a_run_resumed_with_another_optimizer_is_refused(tmp_path: Path) -> None:
    train(tmp_path, steps=2, optimizer="muon")
    with pytest.raises(TrainingError, match="of --optimizer muon, not adamw"):
        train(tmp_path, steps=3, resume=True)


def test_a_run_without_a_whole_checkpoint_does_not_begin_anew(tmp_path: Path) -> None:
    train(tmp_path, steps=2)
    for manifest in tmp_path.glob("step-*/manifest.json"):
        manifest.write_text("{}")
    before = sorted(tmp_path.glob("step-*"))
    with pytest.raises(TrainingError, match="no checkpoint that is whole"):
        train(tmp_path, steps=2, resume=True)
    assert sorted(tmp_path.glob("step-*")) == before


def test_a_checkpoint_that_cannot_be_read_is_no_damaged_one(undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(checkpoint, "_sha256", refuse)
    with pytest.raises(TrainingError, match="cannot read the checkpoint"):
        checkpoint.load_newest(undisturbed)


def test_a_run_resumed_with_another_global_batch_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, steps=2)
    train(tmp_path, steps=3, resume=True)
    assert "pictures a step" not in capsys.readouterr().out
    train(tmp_path, steps=4, resume=True, accumulate=4)
    assert "had 3 pictures a step until step 3, now 12" in capsys.readouterr().out


def test_epochs_of_another_global_batch_are_not_gone_on_with(tmp_path: Path) -> None:
    train(tmp_path, steps=2)
    with pytest.raises(TrainingError, match=r"had 3 pictures a step, now 12.* to make it 3 again, or give --steps"):
        train(tmp_path, steps=0, epochs=5, resume=True, accumulate=4)


def test_a_finished_run_resumes_to_nothing(undisturbed: Path) -> None:
    before = state(undisturbed)
    train(undisturbed, resume=True)
    assert_equal(state(undisturbed), before)


def test_a_step_that_overflows_is_skipped_and_resumed_from(tmp_path: Path) -> None:
    """As the first steps of float16 are, until the scale of the loss fits; a checkpoint may come before any was taken."""
    runs = []
    for scale in (4096.0, 2.0):
        accelerator = Accelerator(cpu=True)
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        run = Run(RECIPE, Denoiser(**TINY), accelerator)
        run.folder = tmp_path
        runs.append(run)
    before = {name: tensor.clone() for name, tensor in runs[0].raw_model.state_dict().items()}
    loss = sum(parameter.sum() for parameter in runs[0].raw_model.parameters()) * 1e38
    runs[0].accelerator.backward(loss)  # times the scale, more than float32 holds
    runs[0].optimizer.step()
    runs[0].step = 1
    runs[0].save()
    runs[1].resume()
    assert_equal(runs[1].raw_model.state_dict(), before)
    assert runs[1].accelerator.scaler.get_scale() == 2048

    runs[1].losses = [torch.tensor(math.inf), torch.tensor(3.0), torch.tensor(1.0)]
    assert "loss 2.00000" in runs[1].log_loss()
    runs[1].losses = [torch.tensor(math.nan)] * 2
    with pytest.raises(DivergedError):
        runs[1].log_loss()


def reporting_run(run: Path, saved: Connection) -> None:
    """Train on, and tell of each checkpoint when it is said to be safe."""
    save = checkpoint.save

    def save_and_tell(folder: Path, step: int, *content: dict[str, Tensor]) -> Path:
        path = save(folder, step, *content)
        saved.send(step)
        return path

    checkpoint.save = save_and_tell
    train(run, resume=True, steps=STEPS_OF_KILLED)


def test_runs_killed_at_random_lose_nothing_that_was_saved(tmp_path: Path) -> None:
    chance = random.Random(0)  # noqa: S311
    run = tmp_path / "killed"
    for _ in range(KILLS):
        ours, theirs = FORKS.Pipe(duplex=False)
        process = FORKS.Process(target=reporting_run, args=(run, theirs))
        process.start()
        theirs.close()
        reached = step(run)
        if ours.poll(60):  # it is saving, one checkpoint after another
            time.sleep(chance.uniform(0, 0.1))
        process.kill()
        process.join()
        while ours.poll():
            try:
                reached = ours.recv()
            except EOFError:
                break
        assert step(run) >= reached
    train(run, resume=True, steps=STEPS_OF_KILLED)
    train(tmp_path / "whole", steps=STEPS_OF_KILLED)
    assert_equal(state(run), state(tmp_path / "whole"))
    assert len(list(run.glob("step-*"))) == checkpoint.KEPT
    assert not list(run.glob("tmp-*"))


def run_on_a_full_disk(run: Path, outcome: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))  # bytes a file; a checkpoint has more
    try:
        train(run, resume=True)
    except CheckpointError as error:
        outcome.send(str(error))


def test_a_full_disk_leaves_the_previous_checkpoint_whole(undisturbed: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(tmp_path, stop_at=4)
    before = state(tmp_path)
    ours, theirs = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=run_on_a_full_disk, args=(tmp_path, theirs))
    process.start()
    process.join()
    assert ours.poll()
    message = ours.recv()
    assert "cannot write a checkpoint" in message
    assert "File too large" in message
    assert "\n" not in message
    assert_equal(state(tmp_path), before)
    assert not list(tmp_path.glob("tmp-*"))
    train(tmp_path, resume=True)
    assert_equal(state(tmp_path), state(undisturbed))


@pytest.mark.parametrize("name", [checkpoint.TENSORS, checkpoint.NUMBERS, checkpoint.MANIFEST])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(name: str, undisturbed: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(tmp_path, stop_at=7)
    damaged = tmp_path / "step-00000006" / name
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    assert step(tmp_path) == 5
    train(tmp_path, resume=True)
    assert_equal(state(tmp_path), state(undisturbed))


def test_a_checkpoint_without_a_file_is_not_whole(tmp_path: Path) -> None:
    target = checkpoint.save(tmp_path, 1, {"weight": torch.ones(2)}, {"step": 1})
    (target / checkpoint.MANIFEST).write_text(json.dumps({}))
    (target / checkpoint.NUMBERS).unlink()
    assert checkpoint.load_newest(tmp_path) is None


def test_pruning_keeps_a_whole_one_beside_the_newest(tmp_path: Path) -> None:
    for number in (1, 2):
        checkpoint.save(tmp_path, number, {"weight": torch.ones(2)}, {"step": number})
    (tmp_path / "step-00000002" / checkpoint.NUMBERS).write_text("{}")
    checkpoint.save(tmp_path, 3, {"weight": torch.ones(2)}, {"step": 3})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000003"]


def test_a_new_run_does_not_go_over_an_old_one(undisturbed: Path) -> None:
    with pytest.raises(TrainingError, match="--resume"):
        train(undisturbed)


def test_a_run_remembers_what_it_began_with_though_other_weights_take_its_place(tmp_path: Path) -> None:
    start, out = tmp_path / "start", tmp_path / "run"
    start.mkdir()
    training = Training("Denoiser", "the first run", "photos", 1000, 5, {})
    (start / TRAINING).write_text(json.dumps(dataclasses.asdict(training)))
    with pytest.raises(StoppedError):
        train(out, stop_at=4, init=str(start))
    (start / TRAINING).write_text(json.dumps(dataclasses.asdict(training) | {"command": "another run"}))
    train(out, init=str(start), resume=True)
    assert Training.read(out / "final").before == ["the first run  # 1,000 steps"]


def test_another_network_does_not_resume(undisturbed: Path) -> None:
    with pytest.raises(CheckpointError, match="another network"):
        train(undisturbed, resume=True, network=BATCH_NORM)


@pytest.mark.parametrize(("changes", "what"), [({"lr": 1e38, "checkpoint_minutes": 60}, "loss"), ({"lr": math.inf}, "weight")])
def test_a_run_that_diverges_keeps_the_last_good_checkpoint(changes: dict[str, float], what: str, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(tmp_path, stop_at=4)
    before = state(tmp_path)
    with pytest.raises(DivergedError, match=f"{what}.*kept"):
        train(tmp_path, resume=True, clip_norm=0, validate_every=100, **changes)
    assert_equal(state(tmp_path), before)


def test_a_gradient_that_is_no_number_ends_the_run_before_it_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoppedError):
        train(tmp_path, stop_at=4)
    before, loss_of = state(tmp_path), StoppingTask.loss

    def loss(task: StoppingTask, model: nn.Module, clean: Tensor, generator: Generator) -> Tensor:
        good = loss_of(task, model, clean, generator)
        return good + (good - good).sqrt()  # adds nothing but the slope of a root at zero

    monkeypatch.setattr(StoppingTask, "loss", loss)
    with pytest.raises(DivergedError, match=r"weight is not finite.*kept"):
        train(tmp_path, resume=True, validate_every=100)
    assert_equal(state(tmp_path), before)


def test_bundled_weights_are_the_mean_of_the_runs_that_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path / "weights")
    for seed, name in enumerate(("one", "other")):
        train(tmp_path / name, network=BATCH_NORM, steps=2, seed=seed)
    for flags in (["alone"], ["mean", "--mean", str(tmp_path / "other/final")]):
        monkeypatch.setattr(sys, "argv", ["train.bundle", str(tmp_path / "one"), *flags])
        bundle.main()

    one, other = (load_file(tmp_path / name / "final/model.safetensors") for name in ("one", "other"))
    means = {name: (one[name] + other[name]) / 2 for name in one if one[name].is_floating_point()}
    assert_equal(
        {name: mean.half() for name, mean in means.items()} | counts_of(one),
        load_file(tmp_path / "weights/mean/model.safetensors"),
    )
    alone, mean = (Training.read(tmp_path / "weights" / name) for name in ("alone", "mean"))
    assert mean.mean_with == [Training.read(tmp_path / "other/final").stage]
    assert mean.mean_with[0] in (tmp_path / "weights/mean/README.md").read_text()
    assert dataclasses.replace(mean, mean_with=[]) == alone

    Denoiser(**TINY | {"depths": (2, 1)}, norm="batch").save_pretrained(tmp_path / "larger")
    monkeypatch.setattr(sys, "argv", ["train.bundle", str(tmp_path / "one"), "mean", "--mean", str(tmp_path / "larger")])
    before = tree(tmp_path / "weights")
    with pytest.raises(SystemExit, match=r"error: .*more blocks"):
        bundle.main()
    assert tree(tmp_path / "weights") == before


def tree(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def counts_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """How many batches a normalization has seen."""
    return {name: tensor for name, tensor in tensors.items() if not tensor.is_floating_point()}
