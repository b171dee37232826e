"""Text towers of CLIP and SigLIP: open_clip's code and tokenizers, and the weights of a base's own file.

open_clip's model of both towers is never built: its text tower alone is a fraction of it.

Shapes: T texts, L tokens, E width of the space.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open

from itae.base.errors import UserError
from itae.search.text.both_towers import name_of, text_names, weights_of_texts
from itae.search.text.encoder import TextEncoder
from itae.search.text.towers import Tower
from itae.vit.backbone import Backbone
from itae.vit.facts import Facts

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_BATCH = 64


def require_open_clip() -> None:
    """Raise a `UserError` where open_clip isn't installed."""
    if importlib.util.find_spec("open_clip") is None:
        raise UserError("A text query in this space needs open_clip, which is not installed: pip install 'itae[text]'")


class OpenClipText(TextEncoder):
    """A text tower of open_clip's.

    Parameters
    ----------
    tower
        Which one.
    path
        The safetensors file with its weights.
    device
        Where texts are encoded, in fp32.
    """

    def __init__(self, tower: Tower, path: Path, device: torch.device) -> None:
        self.tower, self.path, self.device = tower, path, device

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        return self.encode_tokens(self._tokenizer(list(texts)))

    def encode_tokens(self, tokens_TL: Tensor) -> np.ndarray:
        """Return the tower's vectors of texts that are tokens already, float32 [T, E], of whatever length."""
        import torch

        from itae.base.device import forward_context

        with torch.inference_mode(), forward_context(self.device, "fp32"):
            some = [self._model(part.to(self.device)).float().cpu() for part in tokens_TL.split(_BATCH)]
        found: np.ndarray = torch.cat(some).numpy()
        return found

    def notes(self, text: str) -> list[str]:
        """Return whether the end of a text is left out, and whether the images have another activation."""
        out, context = [], self._config["text_cfg"]["context_length"]
        if len(self._tokens(text)) > context:
            out.append(f"The text tower reads {context} tokens, and this text has more: its end is left out.")
        if self.tower.natively_quick:
            out.append(
                "OpenAI's weights were trained with QuickGELU, and this base's images were embedded with GELU, as its "
                "texts are: backbone=clip_b16 and its like have the right one."
            )
        return out

    def _tokens(self, text: str) -> Sequence[int]:
        """Return a text's tokens, however many."""
        tokenizer = self._tokenizer
        if hasattr(tokenizer, "tokenizer"):  # Hugging Face's
            found: Sequence[int] = tokenizer.tokenizer(tokenizer.clean_fn(text)).input_ids
            return found
        return [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]

    @cached_property
    def _name(self) -> str:
        return name_of(self.tower, self.path)

    @cached_property
    def _config(self) -> dict[str, Any]:
        import open_clip

        found: dict[str, Any] = open_clip.get_model_config(self._name)
        return found

    @cached_property
    def _model(self) -> nn.Module:
        from open_clip.model import _build_text_tower

        from itae.vit.blank import blank

        told = self._config
        model = blank(lambda: _build_text_tower(told["embed_dim"], told["text_cfg"], told.get("quick_gelu", False)))
        with safe_open(self.path, framework="pt") as file:
            state = {name: file.get_tensor(there).float() for name, there in text_names(file).items()}
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(
                f"The text tower in {self.path} isn't that of open_clip's {self._name} "
                f"({' '.join(str(error).split())[:200]}); give the file that belongs to the backbone."
            ) from error
        if bad := next((name for name, tensor in state.items() if not bool(tensor.isfinite().all())), None):
            raise UserError(
                f"The text tower in {self.path} can't be used: {bad} holds NaN or infinite numbers; fetch it again."
            )
        return model.eval().requires_grad_(False).to(self.device)

    @cached_property
    def _tokenizer(self) -> Any:
        return tokenizer_of(self._name, local_files_only=True)


def tokenizer_of(name: str, local_files_only: bool) -> Any:
    """Return open_clip's tokenizer of a model: CLIP's lies in the package, SigLIP's is on the hub.

    Raises
    ------
    UserError
        If it isn't on this machine, or what reads it isn't installed.
    """
    import open_clip

    place = open_clip.get_model_config(name)["text_cfg"].get("hf_tokenizer_name")
    if not place:
        return open_clip.get_tokenizer(name)
    if importlib.util.find_spec("transformers") is None:
        raise UserError(f"The tokenizer {place} needs transformers, which is not installed: pip install 'itae[text]'")
    try:
        return open_clip.get_tokenizer(name, local_files_only=local_files_only)
    except Exception as error:  # whatever a network, or a folder that isn't whole, does
        raise UserError(
            f"The tokenizer {place} is not on this machine ({type(error).__name__}); run `itae prepare backbone=...` "
            "of this backbone where there is a network."
        ) from error


def fetch(backbone: Backbone, facts: Facts, tower: Tower) -> None:
    """Download what texts need in a backbone's space, once.

    Raises
    ------
    UserError
        As `weights_of_texts` and `tokenizer_of` do.
    """
    tokenizer_of(name_of(tower, weights_of_texts(backbone, facts, tower)), local_files_only=False)
