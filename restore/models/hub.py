"""Loading and saving, the same for every network: a bundled name, a folder or a Hub id, and always strict."""

import contextlib
import hashlib
import inspect
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch
from httpx2 import HTTPError
from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from restore.files import open_to_others

WEIGHTS = Path(__file__).parents[1] / "weights"
CONFIG, SAFETENSORS, CHECKSUMS = "config.json", "model.safetensors", "SHA256SUMS"


class WeightsError(ValueError):
    """Weights that cannot be used; the message names the file and the cause."""


def bundled() -> list[str]:
    """Names of the weights that come with this package."""
    return sorted(config.parent.name for config in WEIGHTS.glob(f"*/{CONFIG}"))


class HubModel(nn.Module, PyTorchModelHubMixin, license="apache-2.0"):
    """A network whose constructor arguments are its config.json, and so must be plain: TypeError for an array or NumPy's numbers.

    `save_pretrained` and `push_to_hub` are the Hub mixin's own; `from_pretrained` is stricter than the mixin's.
    """

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        instance = super().__new__(cls, *arguments, **named)
        given = inspect.signature(cls).bind_partial(*arguments, **named).arguments
        for name, value in given.items():
            try:
                json.dumps(value)
            except TypeError as error:  # the mixin would leave it out, and config.json tell the default
                raise TypeError(f"{name} must be plain, as config.json holds it, not {value!r}: {error}") from None
        return instance

    def _save_pretrained(self, save_directory: Path) -> None:
        super()._save_pretrained(save_directory)
        open_to_others(save_directory / SAFETENSORS)

    @classmethod
    def from_pretrained(  # type: ignore[override]  # names what it takes; the mixin's signature hides strict=False
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        device: str | torch.device = "cpu",
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
    ) -> Self:
        """Load a bundled name, a folder or a Hub id ("user/repo", at `revision`), in evaluation mode and float32.

        A `Path` is always a folder. Raises WeightsError where a file is missing, damaged, or does not fit this class to the last
        key, or where what is here is asked for at a revision, and ConnectionError where a download breaks off; errors of the Hub
        itself (no such repository, no access, no network) come as huggingface_hub raises them.
        """
        if (folder := _local_folder(name)) is not None:
            if revision is not None:
                raise WeightsError(f"{name} is on this machine, where it has no revision {revision}")
            config, weights = folder / CONFIG, folder / SAFETENSORS
            if folder.is_relative_to(WEIGHTS):
                _check_sums(config, weights)
        else:
            download = {
                "revision": revision,
                "token": token,
                "cache_dir": cache_dir,
                "force_download": force_download,
                "local_files_only": local_files_only,
            }
            config = _download(str(name), CONFIG, download)
            if config.parents[1].name == "snapshots":  # of the same commit, whatever is pushed meanwhile
                download["revision"] = config.parent.name
            weights = _download(str(name), SAFETENSORS, download)
        with torch.random.fork_rng(devices=[]):  # the initial weights, which give way at once, are not to be drawn from it
            model = cls._from_config(config).float()  # whatever a program has made torch's default
        model._load_weights(weights)
        return model.to(device, torch.float32).eval()

    @classmethod
    def _from_config(cls, path: Path) -> Self:
        try:
            with _readable(path):
                config = path.read_text(encoding="utf-8")
            return cls(**json.loads(config))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise WeightsError(f"{path} is not JSON: {error}") from error
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:  # whatever odd arguments lead to
            raise WeightsError(f"{path} does not describe a {cls.__name__}: {error}") from error

    def _load_weights(self, path: Path) -> None:
        with _readable(path), path.open("rb"):  # which tells why it cannot be; safetensors says of all that it is not there
            pass
        try:
            self.load_state_dict(load_file(path), strict=True)
        except SafetensorError as error:
            raise WeightsError(f"{path} is not a whole safetensors file: {error}") from error
        except RuntimeError as error:  # missing, unexpected or misshapen keys
            raise WeightsError(f"{path} does not fit this {type(self).__name__}: {error}") from error


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say of a file which it is and what keeps it from being read."""
    try:
        yield
    except FileNotFoundError as error:
        raise WeightsError(f"{path} is missing") from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error


def local_state(name: str | Path) -> tuple[str, int] | None:
    """What tells the weights of a folder from others that were or will be there; None for those of the Hub.

    Raises WeightsError where there is no such folder.
    """
    folder = _local_folder(name)
    if folder is None:
        return None
    weights = os.path.realpath(folder / SAFETENSORS)
    return weights, os.stat(weights).st_mtime_ns if os.path.exists(weights) else 0


def _local_folder(name: str | Path) -> Path | None:
    """The folder of a bundled name or of a path; None for what can only be a Hub id."""
    if isinstance(name, str) and name in bundled():
        return WEIGHTS / name
    if name and os.path.isdir(name):  # the empty path is the current folder
        return Path(name)
    if isinstance(name, Path):
        raise WeightsError(f"there is no folder {name}")
    if str(name).count("/") != 1 or str(name).startswith((".", "/", "~")):
        raise WeightsError(f"{name} is neither a bundled name ({', '.join(bundled())}), nor a folder, nor a Hub id (user/repo)")
    return None


def _download(repo_id: str, filename: str, options: dict[str, Any]) -> Path:
    try:
        with reaching_the_hub():
            return Path(hf_hub_download(repo_id, filename, **options))
    except LocalEntryNotFoundError:  # an EntryNotFoundError too, but it says that there is no network
        raise
    except EntryNotFoundError as error:
        raise WeightsError(f"{repo_id} on the Hub has no {filename}") from error
    except HFValidationError as error:
        raise WeightsError(f"{repo_id} is not a Hub id: {error}") from error


@contextlib.contextmanager
def reaching_the_hub() -> Iterator[None]:
    """Let a connection to the Hub that fails or breaks off be an OSError, which what its client raises of it is not."""
    try:
        yield
    except HfHubHTTPError:  # the Hub has answered
        raise
    except (HTTPError, RuntimeError) as error:  # the latter of the Xet client
        raise ConnectionError(f"no connection to the Hub: {' '.join(str(error).split())}") from error


def checksum(path: Path) -> str:
    """SHA-256 of a file, as SHA256SUMS has it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_sums(*files: Path) -> None:
    """Compare bundled files with SHA256SUMS: a flipped bit in safetensors loads silently, and so does a number in JSON."""
    sums = dict(line.split("  ")[::-1] for line in (WEIGHTS / CHECKSUMS).read_text().splitlines())
    for path in files:
        if path.is_file() and checksum(path) != sums.get(path.relative_to(WEIGHTS).as_posix()):
            raise WeightsError(f"{path} is damaged: its SHA-256 is not the one in {WEIGHTS / CHECKSUMS}")
