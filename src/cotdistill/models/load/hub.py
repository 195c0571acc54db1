"""Models by name from the Hugging Face hub, pinned to a commit, or from the local cache if the hub cannot be
reached."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from cotdistill.config import ModelConfig
from cotdistill.errors import ModelError

TIMEOUT = 10.0
"""Seconds to wait for the hub's first answer."""
ELSEWHERE = "give a folder with config.json and model.safetensors, or builtin:smollm2-135m"


class Unreachable(ModelError):
    """The hub cannot be reached, and the model is not in its cache."""


@cache
def resolve_commit(name: str, revision: str | None) -> str:
    """The commit that ``name`` at ``revision`` means now or, if the hub cannot be reached, meant when cached.

    Asked once per process, so that a run sees one version. Raises ModelError if neither has it.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if revision and re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    try:
        commit = HfApi().model_info(name, revision=revision, timeout=TIMEOUT).sha
        assert commit is not None
        return commit
    except GatedRepoError:
        raise ModelError(
            "the hub gives this model only to accounts that have accepted its terms",
            where=name,
            remedy="accept them on its page and log in with `hf auth login`",
        ) from None
    except RevisionNotFoundError:
        raise ModelError(
            f"there is no revision {revision!r} on the hub", where=name, remedy="check the revision"
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            "there is no such model on the hub", where=name, remedy=f"check the name, or {ELSEWHERE}"
        ) from None
    except Exception as error:  # the class of a failed connection differs between the hub library's HTTP clients
        cached = try_to_load_from_cache(name, "config.json", revision=revision)
        if isinstance(cached, str):
            return Path(cached).parent.name
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise Unreachable(
            f"it is not in the local cache, and the hub cannot be reached ({reason})", where=name, remedy=ELSEWHERE
        ) from None


def fetch(config: ModelConfig, suffixes: tuple[str, ...]) -> Path:
    """The folder of the model's snapshot: its top-level files with these endings, downloaded where missing."""
    from huggingface_hub import snapshot_download

    commit = resolve_commit(config.model, config.revision)
    try:
        folder = snapshot_download(
            config.model,
            revision=commit,
            allow_patterns=[*(f"*{suffix}" for suffix in suffixes), "README.md"],  # its card says the licence
            ignore_patterns=["*/*"],
            etag_timeout=TIMEOUT,
        )
    except Exception as error:  # as above
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelError(f"cannot be fetched from the hub ({reason})", where=config.model, remedy=ELSEWHERE) from None
    return Path(folder)
