"""Files of weights on the Hugging Face hub: from this machine if they are there, else fetched, once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itae.base.errors import UserError

OF_IMAGES, OF_BOTH_TOWERS = "model.safetensors", "open_clip_model.safetensors"
"""What repositories call timm's weights, and open_clip's, which have a tower of texts, too; pickles are left aside."""


def from_hub(repo: str, names: Sequence[str]) -> Path:
    """Return a file of a repository, the first of `names` that it has.

    Raises
    ------
    UserError
        If none is on this machine, and the hub can't be reached or has none.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    for only_local in (True, False):
        for name in dict.fromkeys(names):
            try:
                if not only_local:
                    get_hf_file_metadata(hf_hub_url(repo, name))  # at once; a download retries for a minute
                return Path(hf_hub_download(repo, name, local_files_only=only_local))
            except EntryNotFoundError as error:  # no file of this name: try the next
                reason: Exception = error
            except Exception as error:  # whatever else a network does
                reason = error
                break
    raise UserError(
        f"The weights {repo} are not on this machine and the hub gave none ({type(reason).__name__}); run "
        "`itae prepare backbone=...` where there is a network, or set backbone.checkpoint to a safetensors file."
    ) from reason
