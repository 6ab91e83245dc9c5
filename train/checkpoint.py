"""Checkpoints that survive a crash: written aside, synced, hashed, renamed; two kept; the newest whole one loaded.

A checkpoint is a folder `step-00001234` with `state.safetensors`, `state.json` and `manifest.json` (SHA-256 of the other two).
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from restore.files import open_to_others
from train.recipe import TrainingError

TENSORS, NUMBERS, MANIFEST = "state.safetensors", "state.json", "manifest.json"
KEPT = 2


class CheckpointError(TrainingError):
    """A checkpoint that cannot be written or gone on from; the message names the folder and the cause."""


def save(folder: Path, step: int, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> Path:
    """Write the checkpoint of `step` below `folder` atomically, then drop all but it and the newest before it.

    Raises CheckpointError where the disk refuses; what was there before is whole then.
    """
    aside, target = folder / f"tmp-{step:08d}", folder / f"step-{step:08d}"
    try:
        _remove(aside)
        aside.mkdir(parents=True)
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, aside / TENSORS)
        open_to_others(aside / TENSORS)
        (aside / NUMBERS).write_text(json.dumps(numbers, indent=1))
        (aside / MANIFEST).write_text(json.dumps({name: _sha256(aside / name) for name in (TENSORS, NUMBERS)}, indent=1))
        for path in (*aside.iterdir(), aside):
            _sync(path)
        _remove(target)  # only a damaged one can be there: a whole one would have been gone on from
        os.replace(aside, target)
        _sync(folder)
    except (OSError, SafetensorError) as error:  # safetensors has its own error for a full disk
        _remove(aside)
        raise CheckpointError(f"cannot write a checkpoint below {folder}: {error}; the previous one is whole") from error
    _prune(folder, target)
    return target


def load_newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and numbers of the newest checkpoint that is whole; None where there is none."""
    for candidate in _newest_first(folder):
        if _is_whole(candidate):
            return load_file(candidate / TENSORS), json.loads((candidate / NUMBERS).read_text())
    return None


def holds_any(folder: Path) -> bool:
    """Whether a run has been saved below `folder`."""
    return bool(_newest_first(folder))


def _prune(folder: Path, target: Path) -> None:
    """Keep `target` and the newest whole one before it; what claims to be newer is damaged, and tmp-* was cut off."""
    before = [checkpoint for checkpoint in _newest_first(folder) if checkpoint < target and _is_whole(checkpoint)]
    kept = [target, *before[: KEPT - 1]]
    for path in (*folder.glob("step-*"), *folder.glob("tmp-*")):
        if path not in kept:
            _remove(path)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _is_whole(checkpoint: Path) -> bool:
    """Whether it is undamaged. Raises CheckpointError where that cannot be told, for it may well be."""
    try:
        manifest = json.loads((checkpoint / MANIFEST).read_text())
        return bool(manifest == {name: _sha256(checkpoint / name) for name in (TENSORS, NUMBERS)})
    except (FileNotFoundError, ValueError):
        return False
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {checkpoint}: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows opens no folders, and writes their entries itself
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
