"""Train the text tower of `digits_clip` and the projection of its images, with the image tower locked.

Locked-image tuning (Zhai et al., LiT, arXiv 2111.07991): `digits_vit` stays as it is to the last bit. What is trained
is a linear projection of its CLS token and a text tower, so that a sentence lies beside the images that it is true of.
Images are those of the split `train` alone, sentences are drawn from the grammar in `sentences.py`; the thirty
wordings of `wordings.csv` are left out wherever the grammar makes one of them.
Run: `python experiments/08_text_tower/train.py`.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file, save_file
from sentences import BEFORE, BEHIND, Core, cores, framed
from torch import Tensor, nn

from itae.base.device import forward_context
from itae.base.runtime import Runtime
from itae.embed.encoder import Encoder
from itae.images.datasets import Digits
from itae.search.text.word_tower import WordTower, words_of
from itae.store.store import Store
from itae.vit.backbone import Backbone
from itae.vit.digits_clip import JOINT, TEXT
from itae.vit.digits_vit import WEIGHTS, WIDTH

log = logging.getLogger("train")
HERE = Path(__file__).parent
KINDS = {"singles": 0.4, "related": 0.2, "sums": 0.1, "sets": 0.3}
"""How often a core of each kind is drawn."""
FRAMED = 0.75
"""How often each half of a frame is there."""


def wordings() -> list[Core]:
    """Return the wordings that are never trained on, each with what it means."""
    with (HERE / "wordings.csv").open(encoding="utf-8", newline="") as file:
        return [(row["text"], frozenset(map(int, row["labels"].split()))) for row in csv.DictReader(file)]


def vocabulary() -> list[str]:
    """Return all words of the grammar."""
    told = [core for some in cores().values() for core, _ in some]
    return sorted({word for text in (*told, *BEFORE, *BEHIND) for word in words_of(text)})


class Sentences:
    """Sentences drawn from the grammar, none of them one of the wordings."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.cores = cores()
        self.left_out = {tuple(words_of(text)) for text, _ in wordings()}

    def draw(self, count: int) -> list[tuple[list[str], frozenset[int]]]:
        """Return so many sentences as words, each with what it means."""
        kinds = self.rng.choice(list(KINDS), count, p=list(KINDS.values()))
        out: list[tuple[list[str], frozenset[int]]] = []
        for kind in kinds:
            core, meant = self.cores[kind][self.rng.integers(len(self.cores[kind]))]
            halves = [
                some[self.rng.integers(len(some))] if self.rng.random() < FRAMED else "" for some in (BEFORE, BEHIND)
            ]
            words = words_of(framed(core, *halves))
            out.append((words_of(core) if tuple(words) in self.left_out else words, meant))
        return [each for each in out if tuple(each[0]) not in self.left_out]


def images(split: str, cache: Path) -> tuple[Tensor, Tensor]:
    """Return the CLS tokens [n, 96] of the locked image tower, and labels."""
    backbone = Backbone("digits_vit", "pkg://itae/weights/digits_vit.safetensors", 32, module="itae.digits_vit")
    store, found = Store(cache), Digits(split=split).open()
    encoder = Encoder(backbone, backbone.facts(cache / ".facts"), "squash", "full", None, store, Runtime("cpu"))
    return torch.from_numpy(encoder(found)), torch.tensor(np.asarray(found.labels))


def truth(meant: Sequence[frozenset[int]]) -> Tensor:
    """Return which texts are true of which digits, [T, 10]."""
    return torch.tensor([[digit in some for digit in range(10)] for some in meant])


def loss_of(image_NE: Tensor, text_TE: Tensor, true_TN: Tensor, scale: Tensor) -> Tensor:
    """Return InfoNCE both ways with several positives: the target is spread evenly over what is true.

    An image of which no sentence of the batch is true has no say.
    """
    logits_TN = scale.exp() * text_TE @ image_NE.T
    of_texts = -(true_TN / true_TN.sum(1, keepdim=True) * logits_TN.log_softmax(1)).sum(1).mean()
    of_images = -(true_TN / true_TN.sum(0).clamp_min(1) * logits_TN.log_softmax(0)).sum(0).mean()
    return (of_texts + of_images) / 2


def train(args: argparse.Namespace) -> tuple[WordTower, nn.Linear]:
    """Return the text tower and the projection of images."""
    torch.manual_seed(args.seed)
    tower, head = WordTower(vocabulary(), JOINT), nn.Linear(WIDTH, JOINT, bias=False)
    nn.init.orthogonal_(head.weight)
    scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    cls_NW, labels_N = images("train", args.cache)
    drawn = Sentences(args.seed)
    weights = [*tower.parameters(), *head.parameters(), scale]
    optimiser = torch.optim.AdamW(weights, lr=args.lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / args.steps))
    )
    for step in range(args.steps):
        words, meant = zip(*drawn.draw(args.batch_size), strict=True)
        true_TN = truth(meant)[:, labels_N].float()
        image_NE = F.normalize(head(F.dropout(cls_NW, 0.1)), dim=1)
        loss = loss_of(image_NE, tower(tower.tokens(words)), true_TN, scale)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        scale.data.clamp_(max=math.log(100))
        if step % 200 == 0 or step == args.steps - 1:
            log.info(f"step {step}: loss {loss.item():.4f}, temperature {(-scale).exp().item():.4f}")
    return tower.eval().requires_grad_(False), head.requires_grad_(False)


def save(tower: WordTower, head: nn.Linear, path: Path) -> None:
    """Write both towers into one file, which has the words in its metadata."""
    state = load_file(WEIGHTS / "digits_vit.safetensors")
    state |= {"head.weight": head.weight.data, "head.bias": torch.zeros(JOINT)}
    state |= {f"{TEXT}{name}": tensor.contiguous() for name, tensor in tower.state_dict().items()}
    save_file(state, path, {"words": json.dumps(list(tower.vocabulary))})  # one entry: their order would be random


def precision_at_10(text_TE: Tensor, image_NE: Tensor, true_TN: Tensor) -> np.ndarray:
    """Return the share of the ten most similar images of which each text is true, [T]."""
    best_TK = (text_TE @ image_NE.T).topk(10, dim=1).indices
    return true_TN.gather(1, best_TK).float().mean(1).numpy()


def asked() -> dict[str, list[Core]]:
    """Return what the towers are asked: each core bare and in a frame drawn once, by kind, and the wordings."""
    rng, out = np.random.default_rng(1), {}
    for kind, some in cores().items():
        out[kind] = some
        out[f"{kind}, framed"] = [(framed(core, *(str(rng.choice(half)) for half in (BEFORE, BEHIND))), meant)
                                  for core, meant in some]  # fmt: skip
    return out | {"wordings": wordings()}


def report(tower: WordTower, head: nn.Linear, cache: Path, folder: Path) -> None:
    """Write precision at 10 of each kind of sentence, and of each wording, on the images of each split."""
    told, each = [], [{"text": text, "labels": " ".join(map(str, sorted(meant)))} for text, meant in wordings()]
    for split in ("train", "test", "all"):
        cls_NW, labels_N = images(split, cache)
        image_NE = F.normalize(head(cls_NW), dim=1)
        for kind, some in asked().items():
            texts, meant = zip(*some, strict=True)
            text_TE = tower(tower.tokens([tower.known(text) for text in texts]))
            found = precision_at_10(text_TE, image_NE, truth(meant)[:, labels_N])
            told.append({"split": split, "sentences": kind, "n": len(found),
                         "p_at_10": f"{found.mean():.4f}", "lowest": f"{found.min():.1f}"})  # fmt: skip
            if kind == "wordings":
                each = [row | {split: f"{value:.1f}"} for row, value in zip(each, found, strict=True)]
    for name, rows in (("results.csv", told), ("wordings_found.csv", each)):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS / "digits_clip.safetensors")
    parser.add_argument("--results", type=Path, default=HERE, help="the folder of the two tables")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    start = time.time()
    with forward_context(torch.device("cpu"), "fp32"), torch.inference_mode(False):
        tower, head = train(args)
    log.info(f"trained in {time.time() - start:.0f} s")
    save(tower, head, args.out)
    report(tower, head, args.cache, args.results)


if __name__ == "__main__":
    main()
