"""Networks trained for the same wall-clock time, in turns of some seconds, so that a busy machine slows all alike."""

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Generator, Tensor, nn

from train.data import Pictures

TURN = 15.0  # seconds
PEAK_LR, WARMUP, EMA = 1e-3, 100, 0.998
Model = TypeVar("Model", bound=nn.Module)


@dataclasses.dataclass
class Trial(Generic[Model]):
    """One candidate in training; its learning rate falls to zero with its own time."""

    name: str
    model: Model
    loss: Callable[[nn.Module, Tensor, Generator], Tensor]
    batches: Iterator[Tensor]
    minutes: float
    seconds: float = 0.0
    steps: int = 0

    def __post_init__(self) -> None:
        self.model = self.model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=PEAK_LR)
        self.average = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    @property
    def is_done(self) -> bool:
        return self.seconds >= 60 * self.minutes

    def train(self) -> None:
        """Train for one turn."""
        start = time.perf_counter()
        before = self.seconds
        while self.seconds - before < TURN and not self.is_done:
            self._step(next(self.batches))
            self.seconds = before + time.perf_counter() - start

    def _step(self, clean: Tensor) -> None:
        share = min(1.0, self.seconds / (60 * self.minutes))
        for group in self.optimizer.param_groups:
            group["lr"] = PEAK_LR * min(1.0, (self.steps + 1) / WARMUP) * (1 + math.cos(math.pi * share)) / 2
        self.loss(self.model, clean, Generator().manual_seed(self.steps)).backward()  # type: ignore[no-untyped-call]  # of torch
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        weight = 1 - min(EMA, (1 + self.steps) / (10 + self.steps))
        for name, tensor in self.model.state_dict().items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor, weight)


def train_in_turns(trials: list[Trial[Model]]) -> list[Model]:
    """Train all to the end of their time and return their averaged networks, in evaluation mode."""
    for trial in itertools.cycle(trials):
        trial.train()
        if all(trial.is_done for trial in trials):
            break
    for trial in trials:
        trial.model.load_state_dict(trial.average)
    return [trial.model.eval() for trial in trials]


def training_batches(pictures: Pictures, batch_size: int) -> Iterator[Tensor]:
    """Batches (B, 3, H, W) without end."""
    for batch in pictures.batches(range(10**9), batch_size):
        yield batch.clean.contiguous(memory_format=torch.channels_last)
