"""The one training loop, over Accelerate."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, set_seed
from datasets import Dataset
from torch import Generator, Tensor, nn
from tqdm import tqdm

from restore.models.hub import HubModel
from train import checkpoint
from train.data import Pictures, train_loader, validation_picture
from train.recipe import Recipe

LOG_EVERY = 100  # steps
SAMPLES = 8  # validation pictures in the log


class Task(Protocol):
    """What a script adds to the loop: its loss, and what it measures on a validation picture."""

    def loss(self, model: nn.Module, clean: Tensor, generator: Generator) -> Tensor:
        """The loss of a batch (B, 3, H, W), a scalar."""

    def measure(self, model: nn.Module, clean: Tensor, generator: Generator) -> tuple[dict[str, float], Tensor]:
        """Numbers for one picture (1, 3, H, W), and the pictures to show side by side, (1, 3, H, N * W)."""

    def summarize(self, measures: list[dict[str, float]]) -> dict[str, float]:
        """The numbers of the whole validation set, PSNR first."""


class DivergedError(RuntimeError):
    """The loss is no longer a number; the last checkpoint is kept."""


def learning_rate(recipe: Recipe, step: int, steps: int, steps_an_epoch: float) -> float:
    """The rate of a step: linear warm-up, then a cosine to zero or equation 5 of the paper."""
    warm = min(1.0, (step + 1) / max(1, recipe.warmup))
    if recipe.schedule == "exponential":
        return warm * recipe.lr * math.exp(-recipe.beta * step / steps_an_epoch)
    return warm * recipe.lr * 0.5 * (1 + math.cos(math.pi * step / steps))


def seed_of(*numbers: int) -> int:
    """One seed from several numbers, well mixed."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


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
        self.recipe, self.accelerator = recipe, accelerator
        self.folder = Path(recipe.out)
        kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
        optimizer = kinds[recipe.optimizer](model.parameters(), lr=recipe.lr)
        self.raw_model = on_device(model, accelerator)
        self.model, self.optimizer = accelerator.prepare(self.raw_model, optimizer)
        self.ema = Ema(self.raw_model, recipe.ema)
        self.step = 0
        self.measures: dict[str, float] = {}
        self.losses: list[Tensor] = []  # since the last log

    def set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def log_loss(self) -> str:
        """Log the mean loss since the last log and return it as a line; nothing is saved from a run that has diverged."""
        mean = torch.stack(self.losses).mean().item()
        if not math.isfinite(mean):
            raise DivergedError(f"the loss is {mean} before step {self.step}; the last checkpoint in {self.folder} is kept")
        self.losses.clear()
        self.accelerator.log({"loss": mean, "lr": self.optimizer.param_groups[0]["lr"]}, self.step)
        return " ".join([f"loss {mean:.5f}", *(f"{name} {value:.2f}" for name, value in self.measures.items())])

    @torch.inference_mode()
    def validate(self, task: Task, validation: Dataset) -> None:
        """Measure the averaged weights on the validation pictures, shared out among the processes, each counted once."""
        model, device = self.averaged(), self.accelerator.device
        measures: list[dict[str, float]] = []
        samples: list[Tensor] = []
        chosen = range(min(len(validation), self.recipe.validation_pictures))
        for index in chosen[self.accelerator.process_index :: self.accelerator.num_processes]:
            clean = validation_picture(validation, index, self.recipe.resize).to(device)
            numbers, sample = task.measure(model, clean, Generator(device).manual_seed(index))
            measures.append(numbers)
            samples += [sample] if len(samples) < SAMPLES else []
        self.measures = task.summarize(gather_object(measures))
        self.accelerator.log(self.measures, self.step)
        for number, sample in enumerate(samples):
            tracker = self.accelerator.get_tracker("tensorboard")
            tracker.log_images({f"validation {number}": sample.clamp(0, 1).cpu().numpy()}, self.step, dataformats="NCHW")
        line = "  ".join(f"{name} {value:.3f}" for name, value in self.measures.items())
        self.accelerator.print(f"\nstep {self.step:7d}  {line}")

    def save(self) -> None:
        """Write a checkpoint; only the main process does, the others wait."""
        if self.accelerator.is_main_process:
            numbers = {
                "step": self.step,
                "measures": self.measures,
                "scaler": self._scaler_state(),
                "config": config_of(self.raw_model),
                "recipe": dataclasses.asdict(self.recipe),
            }
            checkpoint.save(self.folder, self.step, self._tensors(), numbers)
        self.accelerator.wait_for_everyone()

    def resume(self) -> None:
        """Go on from the newest whole checkpoint; from the start where there is none."""
        found = checkpoint.load_newest(self.folder)
        if found is None:
            return
        tensors, numbers = found
        self.step, self.measures = numbers["step"], numbers["measures"]
        for name, tensor in self._tensors(fill=True).items():
            tensor.copy_(tensors[name])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(numbers["scaler"])

    def _tensors(self, fill: bool = False) -> dict[str, Tensor]:
        """Every tensor of the run by name; with `fill`, the optimizer's state is made first, to be copied into."""
        raw_optimizer = self.optimizer.optimizer
        if fill:
            for parameter in (each for each in self.raw_model.parameters() if each.requires_grad):
                raw_optimizer.state[parameter] = {
                    "step": torch.zeros(()),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        tensors = {f"model.{name}": tensor for name, tensor in self.raw_model.state_dict().items()}
        tensors |= {f"ema.{name}": tensor for name, tensor in self.ema.state.items()}
        for name, parameter in self.raw_model.named_parameters():
            tensors |= {f"optimizer.{key}.{name}": value for key, value in raw_optimizer.state.get(parameter, {}).items()}
        return tensors

    def _scaler_state(self) -> dict[str, Any]:
        return {} if self.accelerator.scaler is None else self.accelerator.scaler.state_dict()

    def averaged(self) -> HubModel:
        """A copy of the model with the averaged weights, in evaluation mode; the current ones where there is no average."""
        model = type(self.raw_model)(**config_of(self.raw_model))
        model.load_state_dict(self.ema.state if self.recipe.ema else self.raw_model.state_dict())
        return on_device(model, self.accelerator).eval()


def config_of(model: HubModel) -> dict[str, Any]:
    """The arguments that the model was built with, as its config.json holds them."""
    config = model._hub_mixin_config
    if not isinstance(config, dict):
        raise TypeError(f"{type(model).__name__} must be built from plain arguments, not {config!r}")
    return config


def on_device(model: HubModel, accelerator: Accelerator) -> HubModel:
    """The model where it trains, in the memory layout that convolutions are fastest in."""
    return model.to(accelerator.device).to(memory_format=torch.channels_last)


def fit(recipe: Recipe, model: HubModel, pictures: Pictures, validation: Dataset, task: Task) -> HubModel:
    """Train `model` as the recipe says and return its averaged weights, which are also in `recipe.out`/final.

    Every batch draws from a generator of its own, seeded by (seed, batch, process): a resumed run repeats an undisturbed one.
    """
    accelerator = Accelerator(
        gradient_accumulation_steps=recipe.accumulate,
        mixed_precision=recipe.mixed_precision or None,
        log_with="tensorboard",
        project_dir=recipe.out,
    )
    accelerator.init_trackers("logs", dataclasses.asdict(recipe))
    set_seed(recipe.seed)
    run = Run(recipe, model, accelerator)
    if recipe.resume:
        run.resume()

    batches_a_step = recipe.accumulate * accelerator.num_processes
    steps_an_epoch = len(pictures.split) / (recipe.batch_size * batches_a_step)
    steps = recipe.steps or math.ceil(recipe.epochs * steps_an_epoch)
    loader = train_loader(pictures, recipe.batch_size, steps * batches_a_step, run.step * batches_a_step, recipe.workers)
    loader = accelerator.prepare(loader)
    progress = tqdm(total=steps, initial=run.step, disable=not accelerator.is_main_process, mininterval=5)
    saved_at = time.monotonic()

    run.model.train()
    for batch, clean in enumerate(loader, run.step * recipe.accumulate):  # (B, 3, H, W) in [0, 1]
        generator = Generator(accelerator.device).manual_seed(seed_of(recipe.seed, batch, accelerator.process_index))
        with accelerator.accumulate(run.model), accelerator.autocast():
            loss = task.loss(run.model, clean.contiguous(memory_format=torch.channels_last), generator)
            accelerator.backward(loss)
            if accelerator.sync_gradients and recipe.clip_norm:
                accelerator.clip_grad_norm_(run.model.parameters(), recipe.clip_norm)
            run.set_learning_rate(learning_rate(recipe, run.step, steps, steps_an_epoch))
            run.optimizer.step()
            run.optimizer.zero_grad()
        run.losses.append(loss.detach())
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
            run.validate(task, validation)
        if is_saving:
            run.save()
            saved_at = time.monotonic()

    accelerator.end_training()
    final = run.averaged()
    if accelerator.is_main_process:
        final.cpu().save_pretrained(run.folder / "final")
    accelerator.wait_for_everyone()
    return final
