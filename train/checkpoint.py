"""Checkpoints that survive a crash: written aside, synced, hashed, renamed; two kept; the newest whole one loaded.

A checkpoint is a folder `step-00001234` with `state.safetensors`, `state.json` and `manifest.json` (SHA-256 of the other two).
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

TENSORS, NUMBERS, MANIFEST = "state.safetensors", "state.json", "manifest.json"
KEPT = 2


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written; the message names the folder and the cause, and what was there before is whole."""


def save(folder: Path, step: int, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> Path:
    """Write the checkpoint of `step` below `folder` atomically, then drop all but the newest two."""
    folder.mkdir(parents=True, exist_ok=True)
    aside, target = folder / f"tmp-{step:08d}", folder / f"step-{step:08d}"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, aside / TENSORS)
        (aside / NUMBERS).write_text(json.dumps(numbers, indent=1))
        (aside / MANIFEST).write_text(json.dumps({name: _sha256(aside / name) for name in (TENSORS, NUMBERS)}, indent=1))
        for path in (*aside.iterdir(), aside):
            _sync(path)
        if target.exists():  # the same step written again, after a resume from an older checkpoint
            shutil.rmtree(target)
        os.replace(aside, target)
        _sync(folder)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise CheckpointError(f"cannot write a checkpoint below {folder}: {error}; the previous one is whole") from error
    for old in _newest_first(folder)[KEPT:]:
        shutil.rmtree(old)
    return target


def load_newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and numbers of the newest checkpoint that is whole; None where there is none."""
    for candidate in _newest_first(folder):
        if _is_whole(candidate):
            return load_file(candidate / TENSORS), json.loads((candidate / NUMBERS).read_text())
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _is_whole(checkpoint: Path) -> bool:
    try:
        manifest = json.loads((checkpoint / MANIFEST).read_text())
        return all(_sha256(checkpoint / name) == digest for name, digest in manifest.items())
    except (OSError, ValueError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
