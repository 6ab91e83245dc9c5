"""The one training loop, over Accelerate."""

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Generator, Tensor, nn
from tqdm import tqdm

from restore.models.hub import HubModel
from train import checkpoint
from train.data import Pictures, train_loader
from train.recipe import Recipe

Loss = Callable[[nn.Module, Tensor, Generator], Tensor]  # model, clean (B, 3, H, W), generator -> scalar
Validate = Callable[[HubModel], dict[str, float]]  # measures by name, PSNR first


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

    def save(self) -> None:
        """Write a checkpoint; only the main process does, the others wait."""
        if self.accelerator.is_main_process:
            numbers = {
                "step": self.step,
                "measures": self.measures,
                "scaler": self._scaler_state(),
                "config": self.raw_model._hub_mixin_config,
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
            for parameter in self.raw_model.parameters():
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
        model = type(self.raw_model)(**self.raw_model._hub_mixin_config)
        model.load_state_dict(self.ema.state if self.recipe.ema else self.raw_model.state_dict())
        return on_device(model, self.accelerator).eval()


def on_device(model: HubModel, accelerator: Accelerator) -> HubModel:
    """The model where it trains, in the memory layout that convolutions are fastest in."""
    return model.to(accelerator.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub is narrower


def fit(recipe: Recipe, model: HubModel, pictures: Pictures, loss_of: Loss, validate: Validate) -> HubModel:
    """Train `model` as the recipe says and return its averaged weights, which are also in `recipe.out`/final.

    Every batch draws from a generator of its own, seeded by (seed, batch, process): a resumed run repeats an undisturbed one.
    """
    accelerator = Accelerator(gradient_accumulation_steps=recipe.accumulate, mixed_precision=recipe.mixed_precision or None)
    set_seed(recipe.seed)
    run = Run(recipe, model, accelerator)
    if recipe.resume:
        run.resume()

    pictures_a_step = recipe.batch_size * recipe.accumulate * accelerator.num_processes
    steps_an_epoch = len(pictures.split) / pictures_a_step
    steps = recipe.steps or math.ceil(recipe.epochs * steps_an_epoch)
    batches_a_step = recipe.accumulate * accelerator.num_processes
    loader = accelerator.prepare(
        train_loader(pictures, recipe.batch_size, steps * batches_a_step, run.step * batches_a_step, recipe.workers)
    )
    progress = tqdm(total=steps, initial=run.step, disable=not accelerator.is_main_process, mininterval=5)
    saved_at, losses = time.monotonic(), []

    run.model.train()
    for batch, clean in enumerate(loader, run.step * recipe.accumulate):  # (B, 3, H, W) in [0, 1]
        generator = Generator(accelerator.device).manual_seed(seed_of(recipe.seed, batch, accelerator.process_index))
        with accelerator.accumulate(run.model), accelerator.autocast():
            loss = loss_of(run.model, clean.contiguous(memory_format=torch.channels_last), generator)
            accelerator.backward(loss)
            if accelerator.sync_gradients and recipe.clip_norm:
                accelerator.clip_grad_norm_(run.model.parameters(), recipe.clip_norm)
            for group in run.optimizer.param_groups:
                group["lr"] = learning_rate(recipe, run.step, steps, steps_an_epoch)
            run.optimizer.step()
            run.optimizer.zero_grad()
        losses.append(loss.detach())
        if not accelerator.sync_gradients:
            continue

        run.ema.update(run.raw_model, run.step)
        run.step += 1
        progress.update()
        if run.step % 100 == 0:
            mean = torch.stack(losses).mean().item()
            if not math.isfinite(mean):
                raise DivergedError(f"the loss is {mean} at step {run.step}; the last checkpoint in {run.folder} is kept")
            progress.set_postfix_str(" ".join([f"loss {mean:.5f}", *(f"{k} {v:.2f}" for k, v in run.measures.items())]))
            losses.clear()
        if run.step % recipe.validate_every == 0 or run.step == steps:
            run.measures = validate(run.averaged())
            accelerator.print(f"\nstep {run.step:7d}  " + "  ".join(f"{k} {v:.3f}" for k, v in run.measures.items()))
        if time.monotonic() - saved_at > 60 * recipe.checkpoint_minutes or run.step == steps:
            run.save()
            saved_at = time.monotonic()

    final = run.averaged()
    if accelerator.is_main_process:
        final.cpu().save_pretrained(run.folder / "final")
    accelerator.wait_for_everyone()
    return final
