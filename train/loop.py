"""The one training loop, over Accelerate."""

import dataclasses
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed.nn  # before a process group is made, or the defaults of its functions keep that past its end
from accelerate import Accelerator
from accelerate.utils import DistributedType, InitProcessGroupKwargs, broadcast, broadcast_object_list, gather_object
from torch import Generator, Tensor, nn
from tqdm import tqdm

from restore.models.hub import HubModel
from train import checkpoint
from train.card import Training, history, save_card
from train.checkpoint import CheckpointError
from train.data import Batch, DataError, Pictures, PictureStream, View, tally, validation_pictures
from train.optimizers import OPTIMIZERS, make_state
from train.precision import keep_depthwise_in_float32
from train.publish import claim, publish
from train.recipe import Recipe, TrainingError

SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)  # which would save parts of a network
LOG_EVERY = 100  # steps
LISTEN_EVERY = 10  # steps between looks for a signal to stop
LONGEST_WAIT = timedelta(hours=2)  # of a process for the others, as while each reads past what a stream has shown before
SAMPLES = 8  # validation pictures in the log


class Task(Protocol):
    """What a script adds to the loop: its loss, and what it measures on a validation picture."""

    def loss(self, model: nn.Module, clean: Tensor, generator: Generator) -> Tensor:
        """The loss of a batch (B, 3, H, W), a scalar."""

    def measure(self, model: nn.Module, clean: Tensor, generator: Generator) -> tuple[dict[str, float], Tensor]:
        """Numbers for one picture (1, 3, H, W), and the pictures to show side by side, (1, 3, H, N * W)."""

    def summarize(self, measures: list[dict[str, float]]) -> dict[str, float]:
        """The numbers of the whole validation set, PSNR first."""


class DivergedError(TrainingError):
    """The loss or the weights are no longer numbers; the last checkpoint is kept."""


def steps_of(recipe: Recipe, pictures: int | None, processes: int) -> tuple[int, float]:
    """Optimizer steps of the whole run, and of an epoch (infinite where the number of `pictures` is not known)."""
    an_epoch = math.inf if pictures is None else pictures / (recipe.batch_size * recipe.accumulate * processes)
    if an_epoch == math.inf and (not recipe.steps or recipe.schedule == "exponential"):
        raise TrainingError(f"{recipe.dataset} does not say how many pictures it has: give --steps and --schedule cosine")
    return recipe.steps or math.ceil(recipe.epochs * an_epoch), an_epoch


def learning_rate(recipe: Recipe, step: int, steps: int, steps_an_epoch: float) -> float:
    """The rate of a step: linear warm-up, then a cosine to zero or equation 5 of the paper."""
    warm = min(1.0, (step + 1) / max(1, recipe.warmup))
    if recipe.schedule == "exponential":
        return warm * recipe.lr * math.exp(-recipe.beta * step / steps_an_epoch)
    return warm * recipe.lr * 0.5 * (1 + math.cos(math.pi * step / steps))


def seed_of(*numbers: int) -> int:
    """One seed from several numbers, well mixed."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


@contextmanager
def on_termination(act: Callable[[], None]) -> Iterator[None]:
    """Do this at SIGTERM, which a machine sends before it is taken away, instead of dying."""
    if threading.current_thread() is not threading.main_thread():  # no other may say what a signal does
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: act())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # none that Python knows of


class Ema:
    """Exponential moving average of a model's floating-point state; short at first, so that it forgets the initial weights."""

    def __init__(self, model: HubModel, decay: float):
        self.decay = decay
        self.state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: HubModel, step: int) -> None:
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                self.state[name].lerp_(tensor, weight)
            else:
                self.state[name].copy_(tensor)


class Run:
    """A training run in progress: what a checkpoint holds, and how it is saved and found again."""

    def __init__(self, recipe: Recipe, model: HubModel, accelerator: Accelerator):
        self.recipe = dataclasses.replace(recipe, mixed_precision=accelerator.mixed_precision)  # whoever has chosen it
        self.accelerator = accelerator
        self.folder = Path(recipe.out)
        self.raw_model = on_device(model, accelerator)
        if accelerator.device.type == "cpu" and accelerator.mixed_precision == "bf16":
            keep_depthwise_in_float32(self.raw_model)
        trained = (parameter for parameter in self.raw_model.parameters() if parameter.requires_grad)
        optimizer = OPTIMIZERS[recipe.optimizer](trained, lr=recipe.lr)
        self.model, self.optimizer = accelerator.prepare(self.raw_model, optimizer)
        make_state(self.optimizer.optimizer)
        self.ema = Ema(self.raw_model, recipe.ema)
        self.before = history(recipe)  # now, since other weights may be there when it ends
        self.step = 0
        self.measures: dict[str, float] = {}
        self.losses: list[Tensor] = []  # since the last log
        self.skipped: dict[str, str] = {}  # pictures that could not be used, and why

    def set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def learn(self, task: Task, batch: Batch, number: int) -> None:
        """Learn from a batch, the `number`-th of all processes; only where gradients are due the weights change."""
        accelerator = self.accelerator
        clean = batch.clean.to(accelerator.device, non_blocking=True, memory_format=torch.channels_last)  # (B, 3, H, W) in [0, 1]
        generator = Generator(accelerator.device).manual_seed(seed_of(self.recipe.seed, number))
        with accelerator.accumulate(self.model):
            loss = task.loss(self.model, clean, generator)
            accelerator.backward(loss)
            if accelerator.sync_gradients and self.recipe.clip_norm:
                accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.losses.append(accelerator.reduce(loss.detach(), "mean"))
        self.skipped |= batch.skipped

    def log_loss(self) -> str:
        """Log the mean loss since the last log and return it as a line. Raises DivergedError where it is not a number."""
        losses = torch.stack(self.losses)
        if self.accelerator.scaler is not None:
            losses = losses[losses.isfinite()]  # the scaler skips a step that overflows; the mean of none at all is NaN
        mean = losses.mean().item()
        self._check_finite(torch.tensor(mean), "loss")
        self.losses.clear()
        self.accelerator.log({"loss": mean, "lr": self.optimizer.param_groups[0]["lr"]}, self.step)
        return " ".join([f"loss {mean:.5f}", *(f"{name} {value:.2f}" for name, value in self.measures.items())])

    @torch.inference_mode()
    def validate(self, task: Task, records: Any, view: View) -> None:
        """Measure the averaged weights on the validation pictures, shared out among the processes, each counted once."""
        model, device = self.averaged(), self.accelerator.device
        measures: list[dict[str, float]] = []
        samples: list[Tensor] = []
        indices = range(self.accelerator.process_index, len(records), self.accelerator.num_processes)
        for index, clean in validation_pictures(records, indices, view, self.skipped):
            numbers, sample = task.measure(model, clean.to(device), Generator(device).manual_seed(index))
            measures.append(numbers)
            samples += [sample] if len(samples) < SAMPLES else []
        measures, skipped = gather_object(measures), dict(gather_object(list(self.skipped.items())))
        if not measures:
            raise DataError(f"no validation picture of {self.recipe.dataset} can be used: {tally(skipped)}")
        self.measures = task.summarize(measures)
        if self.accelerator.is_main_process:
            self._log_validation(samples, {"validation pictures": len(measures), "skipped pictures": len(skipped)})
        line = "  ".join(f"{name} {value:.3f}" for name, value in self.measures.items())
        self.accelerator.print(f"\nstep {self.step:7d}  {line}{'  ' + tally(skipped) if skipped else ''}")

    def _log_validation(self, samples: list[Tensor], counts: dict[str, int]) -> None:
        self.accelerator.log(self.measures | counts, self.step)
        tracker = self.accelerator.get_tracker("tensorboard")
        for number, sample in enumerate(samples):
            tracker.log_images({f"validation {number}": sample.clamp(0, 1).cpu().numpy()}, self.step, dataformats="NCHW")

    def save(self) -> None:
        """Write a checkpoint from the main process; the others meet it again at the next step. No diverged run is saved."""
        if not self.accelerator.is_main_process:
            return
        for name, parameter in self.raw_model.named_parameters():
            self._check_finite(parameter, name)
        numbers = {
            "step": self.step,
            "measures": self.measures,
            "before": self.before,
            "scaler": self._scaler_state(),
            "pictures_a_step": self._pictures_a_step(),
            "processes": self.accelerator.num_processes,
            "config": config_of(self.raw_model),
            "recipe": dataclasses.asdict(self.recipe),
        }
        checkpoint.save(self.folder, self.step, self._tensors(), numbers)

    def resume(self) -> None:
        """Go on from the newest whole checkpoint that the main process finds; from the start where there is none."""
        found = checkpoint.load_newest(self.folder) if self.accelerator.is_main_process else None
        [found] = broadcast_object_list([found])  # machines need not share the folder
        if found is None:
            if checkpoint.holds_any(self.folder):
                raise CheckpointError(f"{self.folder} holds no checkpoint that is whole; give another --out to begin anew")
            return
        tensors, numbers = found
        if config_of(self.raw_model) != numbers["config"]:
            raise CheckpointError(
                f"{self.folder} holds another network's checkpoint: {numbers['config']}; give --network, --grow and an --init of "
                "the size that it began with"
            )
        before, now = numbers.get("pictures_a_step"), self._pictures_a_step()
        if before not in (None, now):
            if not self.recipe.steps:
                raise CheckpointError(
                    f"{self.folder} had {before} pictures a step, now {now}, so that its epochs have other steps: "
                    f"choose --batch_size and --accumulate to make it {before} again, or give --steps"
                )
            self.accelerator.print(f"note: {self.folder} had {before} pictures a step until step {numbers['step']}, now {now}")
        readers = (numbers.get("processes"), numbers["recipe"].get("workers"))
        if self.recipe.streaming and readers != (self.accelerator.num_processes, self.recipe.workers):
            self.accelerator.print(
                f"note: {self.folder} was streamed by {readers[0]} processes of {readers[1]} workers; others share the data set "
                "out in another way, so that of this epoch some pictures come again and some not at all"
            )
        if (optimizer := numbers["recipe"]["optimizer"]) != self.recipe.optimizer:
            raise CheckpointError(f"{self.folder} holds a run of --optimizer {optimizer}, not {self.recipe.optimizer}")
        own = self._tensors()
        if own.keys() != tensors.keys():
            raise CheckpointError(f"{self.folder} holds the checkpoint of a run that trained other layers")
        self.step, self.measures, self.before = numbers["step"], numbers["measures"], numbers["before"]
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
        if self.accelerator.scaler is not None and numbers["scaler"]:
            self.accelerator.scaler.load_state_dict(numbers["scaler"])

    def finish(self) -> HubModel:
        """The averaged weights, written to `final` with their card."""
        model, folder = self.averaged().cpu(), self.folder / "final"
        if self.accelerator.is_main_process:
            model.save_pretrained(folder)
            processes = self.accelerator.num_processes
            training = Training.of(self.recipe, model, self.step, self.measures, self.before, processes)
            save_card(folder, self.recipe.push_to or str(folder), training)
        return model

    def _pictures_a_step(self) -> int:
        return self.recipe.batch_size * self.recipe.accumulate * int(self.accelerator.num_processes)

    def _check_finite(self, tensor: Tensor, name: str) -> None:
        if not tensor.isfinite().all():
            raise DivergedError(f"{name} is not finite at step {self.step}; the last checkpoint in {self.folder} is kept")

    def _tensors(self) -> dict[str, Tensor]:
        """Every tensor of the run by name."""
        tensors = {f"model.{name}": tensor for name, tensor in self.raw_model.state_dict().items()}
        tensors |= {f"ema.{name}": tensor for name, tensor in self.ema.state.items()}
        for name, parameter in self.raw_model.named_parameters():
            state = self.optimizer.optimizer.state.get(parameter, {})
            tensors |= {f"optimizer.{key}.{name}": value for key, value in state.items()}
        return tensors

    def _scaler_state(self) -> dict[str, Any]:
        return {} if self.accelerator.scaler is None else self.accelerator.scaler.state_dict()

    def averaged(self) -> HubModel:
        """A copy of the model with the averaged weights, in evaluation mode; the current ones where there is no average.

        They are the main process's everywhere, since each process has its own batch statistics.
        """
        model = type(self.raw_model)(**config_of(self.raw_model))
        model.load_state_dict(broadcast(self.ema.state if self.recipe.ema else self.raw_model.state_dict()))
        return on_device(model, self.accelerator).eval()


def config_of(model: HubModel) -> dict[str, Any]:
    """The arguments that the model was built with, as its config.json holds them."""
    config = model._hub_mixin_config
    if not isinstance(config, dict):
        raise TypeError(f"{type(model).__name__} must be built from plain arguments, not {config!r}")
    plain: dict[str, Any] = json.loads(json.dumps(config))  # a tuple is a list there
    return plain


def on_device(model: HubModel, accelerator: Accelerator) -> HubModel:
    """The model where it trains, in the memory layout that convolutions are fastest in."""
    return model.to(accelerator.device).to(memory_format=torch.channels_last)


def accelerator_of(recipe: Recipe) -> Accelerator:
    """The accelerator that the recipe asks for. Raises TrainingError where the launch asks for something else."""
    accelerator = Accelerator(
        gradient_accumulation_steps=recipe.accumulate,
        mixed_precision=recipe.mixed_precision or None,
        log_with="tensorboard",
        project_dir=recipe.out,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
    )
    if accelerator.num_processes != int(os.environ.get("WORLD_SIZE", accelerator.num_processes)):  # each would train by itself
        raise TrainingError("several processes were started, but none sees a GPU: set ACCELERATE_USE_CPU=true to train on CPUs")
    if accelerator.distributed_type in SHARDED:
        raise TrainingError(f"launched with {accelerator.distributed_type.value}: every process of a run holds the whole network")
    if accelerator.gradient_accumulation_steps != recipe.accumulate:  # Accelerate takes the environment's word, not its caller's
        launched = accelerator.gradient_accumulation_steps
        raise TrainingError(f"launched with {launched} gradient accumulation steps: give --accumulate {launched} as well")
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise TrainingError("--mixed_precision fp16 needs a GPU; a CPU takes bf16 or no")  # Accelerate would train in float32
    return accelerator


def fit(recipe: Recipe, model: HubModel, pictures: Pictures | PictureStream, validation: Any, task: Task) -> HubModel:
    """Train `model` as the recipe says and return its averaged weights, which are also in `recipe.out`/final.

    Batches are numbered through all processes, and each draws its noise from a generator seeded by its number. So a resumed run
    repeats an undisturbed one, on a CPU to the bit, and N processes see what one sees that accumulates N times as many batches
    (but of a stream, which each process reads for itself). A run that is told to end by SIGTERM is saved first.
    """
    accelerator = accelerator_of(recipe)
    run = Run(recipe, model, accelerator)
    if recipe.resume:
        run.resume()
    elif checkpoint.holds_any(run.folder):
        raise CheckpointError(f"{run.folder} holds a run: give --resume to go on with it, or another --out")
    if recipe.push_to and accelerator.is_main_process:
        claim(recipe.push_to, recipe.private)
    accelerator.init_trackers("logs", dataclasses.asdict(recipe), {"tensorboard": {"purge_step": run.step + 1}})
    with on_termination(accelerator.set_trigger):
        take_steps(run, pictures, validation, task)
    final = run.finish()
    if recipe.push_to and accelerator.is_main_process:
        print(publish(run.folder / "final", recipe.push_to))
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return final


def take_steps(run: Run, pictures: Pictures | PictureStream, validation: Any, task: Task) -> None:
    """Take the steps that are left; log, validate and save on the way."""
    recipe, accelerator = run.recipe, run.accelerator
    world = accelerator.num_processes
    steps, steps_an_epoch = steps_of(recipe, pictures.count, world)
    batches_a_step = recipe.accumulate * world
    numbers = range(run.step * batches_a_step + accelerator.process_index, steps * batches_a_step, world)
    batches = pictures.batches(numbers, recipe.batch_size, recipe.workers)
    progress = tqdm(total=steps, initial=run.step, disable=not accelerator.is_main_process, mininterval=5)
    saved_at = time.monotonic()

    run.model.train()
    for number, batch in zip(numbers, batches, strict=True):
        run.set_learning_rate(learning_rate(recipe, run.step, steps, steps_an_epoch))
        run.learn(task, batch, number)
        if not accelerator.sync_gradients:
            continue

        run.ema.update(run.raw_model, run.step)
        run.step += 1
        progress.update()
        is_last = run.step == steps
        is_saving = is_last or time.monotonic() - saved_at > 60 * recipe.checkpoint_minutes
        if run.step % LOG_EVERY == 0 or is_saving:
            progress.set_postfix_str(run.log_loss())
        if run.step % recipe.validate_every == 0 or is_last:
            run.validate(task, validation, pictures.view)
        if is_saving:
            run.save()
            saved_at = time.monotonic()
        if run.step % LISTEN_EVERY == 0 and accelerator.check_trigger():
            run.save()
            raise TrainingError(f"stopped by SIGTERM at step {run.step}, which is saved: --resume goes on from there")
