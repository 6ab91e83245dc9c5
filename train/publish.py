"""Publish weights on the Hub: `python -m train.publish denoiser-photo user/repo`, or a run's folder `final` for the name."""

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from httpx2 import HTTPError
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

from restore.models.hub import CONFIG, SAFETENSORS, WEIGHTS, bundled
from train.card import CARD, TRAINING, model_card
from train.recipe import TrainingError

FILES = (CONFIG, SAFETENSORS, CARD, TRAINING)
REASONS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "the Hub does not know this token: run `hf auth login`, or set HF_TOKEN",
    HTTPStatus.FORBIDDEN: "this token may not write there: it needs the write role, and the right to that namespace",
    HTTPStatus.NOT_FOUND: "the repository is not there, or this token may not see it",
}


class PublishError(TrainingError):
    """Weights that could not be published, and why; they are safe on the disk."""


def claim(repo_id: str, private: bool) -> None:
    """Create the repository unless it is there, so that a run learns before its first step whether it may write.

    Raises PublishError where it may not, or where a repository that should be private is public.
    """
    api = HfApi()
    with _one_line(repo_id):
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        api.auth_check(repo_id, write=True)  # of a repository that is there already its creation says nothing
        is_public = not api.model_info(repo_id).private
    if private and is_public:
        raise PublishError(f"{repo_id} is there already and is public: name another, or publish without --private")


def publish(name: str | Path, repo_id: str) -> str:
    """Upload bundled weights, or a folder of weights, with config and card as one commit, and return its address.

    The repository must be there. Raises PublishError where the upload fails, or the weights are not there.
    """
    source = _source(name)
    remedy = f"; the weights are safe in {source}: `python -m train.publish {name} {repo_id}` sends them"
    with tempfile.TemporaryDirectory() as copy:
        for file in FILES:
            shutil.copy(source / file, copy)
        model_card(source, repo_id).save(Path(copy) / CARD)  # from_pretrained finds it by another name there
        with _one_line(repo_id, remedy):
            commit = HfApi().upload_folder(repo_id=repo_id, folder_path=copy, commit_message="Weights, configuration and card")
    return str(commit.commit_url)


def _source(name: str | Path) -> Path:
    """The folder of weights of a name. Raises PublishError where something that belongs there is missing."""
    source = WEIGHTS / name if name in bundled() else Path(name)
    if not source.is_dir():
        raise PublishError(f"there is no folder {source}; bundled are {', '.join(bundled())}")
    if missing := [file for file in FILES if not (source / file).is_file()]:
        raise PublishError(f"{source} has no {', '.join(missing)}, as a run's folder final has")
    return source


@contextmanager
def _one_line(repo_id: str, remedy: str = "") -> Iterator[None]:
    """Turn what the Hub's client raises into a PublishError of one line."""
    try:
        yield
    except LocalTokenNotFoundError as error:
        raise PublishError(f"cannot publish {repo_id}: {REASONS[HTTPStatus.UNAUTHORIZED]}{remedy}") from error
    except (HTTPError, OSError, RuntimeError, ValueError) as error:  # a bad id or card is the third, the Xet client's the second
        reason = REASONS.get(error.response.status_code) if isinstance(error, HfHubHTTPError) else None
        cause = reason or f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise PublishError(f"cannot publish {repo_id}: {cause}{remedy}") from error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="bundled name, or folder of weights as a run or train.bundle writes it")
    parser.add_argument("repo_id", help="user/repo")
    parser.add_argument("--private", action="store_true", help="keep the repository from the public")
    options = parser.parse_args()
    try:
        _source(options.name)  # before a repository is made for it
        claim(options.repo_id, options.private)
        print(publish(options.name, options.repo_id))
    except PublishError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
