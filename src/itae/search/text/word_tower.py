"""A text tower of known words: an embedding of each, a small transformer, and a projection into the joint space.

It reads whole words and knows those that it was trained on. What it doesn't know it leaves out, and whoever asks is
told; nothing is guessed from letters.

Shapes: T texts, L words of the longest, W width, E width of the joint space.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors import safe_open
from torch import Tensor, nn

from itae.base.errors import UserError

WIDTH, HEADS, DEPTH = 64, 4, 2
LONGEST = 24
"""Words of a text that are read; later ones are not."""
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*|\d+")
_PADDING = 0


def words_of(text: str) -> list[str]:
    """Return the words and numbers of a text in lower case, without punctuation."""
    return _WORD.findall(text.lower().replace("\u2019", "'"))


class WordTower(nn.Module):
    """Texts in, vectors of the joint space out.

    Parameters
    ----------
    vocabulary
        The words that are known.
    joint
        E.
    """

    def __init__(self, vocabulary: Sequence[str], joint: int) -> None:
        super().__init__()
        self.vocabulary = tuple(vocabulary)
        self._numbers = {word: i for i, word in enumerate(self.vocabulary, start=1)}
        self.words = nn.Embedding(len(self.vocabulary) + 1, WIDTH, padding_idx=_PADDING)
        self.places = nn.Parameter(torch.randn(LONGEST, WIDTH) * 0.02)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 2 * WIDTH, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, DEPTH, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.projection = nn.Linear(WIDTH, joint, bias=False)

    def known(self, text: str) -> list[str]:
        """Return the words of a text that are known, in their order."""
        return [word for word in words_of(text) if word in self._numbers]

    def unknown(self, text: str) -> list[str]:
        """Return the words of a text that are not known, each once, in their order."""
        return list(dict.fromkeys(word for word in words_of(text) if word not in self._numbers))

    def too_long(self, text: str) -> int:
        """Return how many known words of a text are read if that is not all of them, else 0."""
        return LONGEST if len(self.known(text)) > LONGEST else 0

    def tokens(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """Return the numbers of known words, [T, L], with 0 behind the end."""
        numbers = [[self._numbers[word] for word in words[:LONGEST]] for words in texts]
        longest = max((len(row) for row in numbers), default=0)
        return torch.tensor([row + [_PADDING] * (longest - len(row)) for row in numbers])

    def forward(self, tokens_TL: Tensor) -> Tensor:
        """Return unit vectors [T, E] of the words that `tokens` names, of which every text has one at least."""
        padding_TL = tokens_TL == _PADDING
        x_TLW = self.words(tokens_TL) + self.places[: tokens_TL.shape[1]]
        x_TLW = self.norm(self.blocks(x_TLW, src_key_padding_mask=padding_TL))
        read_TL1 = (~padding_TL).unsqueeze(-1).float()
        mean_TW = (x_TLW * read_TL1).sum(1) / read_TL1.sum(1)
        return F.normalize(self.projection(mean_TW), dim=-1)


def load(path: Path, prefix: str) -> WordTower:
    """Read a tower from a safetensors file, whose metadata has its words.

    Parameters
    ----------
    path
        The file.
    prefix
        What the names of its weights begin with there.

    Raises
    ------
    UserError
        If there is none in it.
    """
    with safe_open(path, framework="pt") as file:
        if "words" not in (file.metadata() or {}):
            raise UserError(f"{path} holds no text tower; backbone=digits_clip without a checkpoint has one.")
        state = {name[len(prefix) :]: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118
        tower = WordTower(json.loads(file.metadata()["words"]), len(state["projection.weight"]))
    tower.load_state_dict(state)
    return tower.eval().requires_grad_(False)
