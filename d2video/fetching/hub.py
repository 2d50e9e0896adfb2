"""Files of the Hugging Face Hub, through its own library and cache."""

import os
from pathlib import Path

from d2video.fetching.addresses import HUB_WEIGHTS, HubFile
from d2video.fetching.cache import FetchFault

_CONFIG = "config.json"


def fetch_from_hub(address: HubFile) -> Path:
    """The file in the Hub's cache; ``config.json`` is fetched beside it, where there is one.

    ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``, ``HF_HOME`` and a stored token count as everywhere.

    Raises:
        FetchFault: huggingface_hub is not installed, or the file cannot be fetched.
    """
    try:
        from huggingface_hub import errors, get_hf_file_metadata, hf_hub_download, hf_hub_url
    except ImportError as error:
        raise FetchFault(
            "files of the Hugging Face Hub need the package huggingface_hub: pip install 'd2video[zoo]'"
        ) from error
    revision = address.revision or None
    endpoint = os.getenv("HF_ENDPOINT") or None  # also where it was set after the Hub's import

    def get(name: str) -> Path | None:
        try:
            # Asked first, because the download tries a dead connection for 20 seconds.
            url = hf_hub_url(address.repo, name, revision=revision, endpoint=endpoint)
            get_hf_file_metadata(url, endpoint=endpoint)
            return Path(hf_hub_download(address.repo, name, revision=revision, endpoint=endpoint))
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
            raise
        except errors.HfHubHTTPError as error:
            if error.response.status_code != 404:
                raise
            return None

    try:
        names = [address.file] if address.file else HUB_WEIGHTS
        found = next(filter(None, map(get, names)), None)
        if found is None:
            raise FetchFault(f"{address.repo} has no {' or '.join(names)}", elsewhere=True)
        get(_CONFIG)
        return found
    except errors.GatedRepoError as error:
        raise FetchFault(
            f"{address.repo} is gated: ask for access on its page and log in with 'hf auth login'"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FetchFault(
            f"there is no {address.repo} on the Hub, or it is private: log in with 'hf auth login'",
            elsewhere=True,
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FetchFault(f"{address.repo} has no revision {revision}", elsewhere=True) from error
    except errors.OfflineModeIsEnabled as error:
        raise FetchFault("the Hub is not asked, since HF_HUB_OFFLINE is set") from error
    except (ValueError, errors.HfHubHTTPError) as error:
        raise FetchFault(f"the Hub refuses it: {' '.join(str(error).split())[:200]}") from error
    except (errors.HTTPError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise FetchFault(f"no connection to the Hub: {reason[:200]}") from error


def cached_from_hub(address: HubFile) -> Path | None:
    """The file in the Hub's cache, without network; None: it is not there."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    for name in [address.file] if address.file else HUB_WEIGHTS:
        try:
            found = try_to_load_from_cache(address.repo, name, revision=address.revision or None)
        except ValueError:  # no name of the Hub, or no path
            return None
        if isinstance(found, str):
            return Path(found)
    return None
