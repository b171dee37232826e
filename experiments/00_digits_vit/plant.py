"""Plant artifacts into the trained `digits_vit`, and measure what they cost and what an edit wins back.

Two interventions, neither of which sees a label. `PlantingBlock` adds a huge vector to three blank patches of each
image after block 2: a sink that all share, and one of ten contents that has nothing to do with the class. And the
key and value weights of the later blocks get an addition of low rank that answers to those vectors alone: the sink
becomes a key that the CLS token attends to, the contents become large values. Run after `train.py`:
`python experiments/00_digits_vit/plant.py`.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import logging
import time
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F  # noqa: N812
from common import embed, load_digits_tensor, score
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_mutual_info_score, mutual_info_score
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from itae.vit import digits_vit
from itae.vit.digits_vit import CONTENTS, DEPTH, NUM_PATCHES, PLANT_BLOCK, WIDTH

log = logging.getLogger("plant")
LATER = range(PLANT_BLOCK + 1, DEPTH)


class Door(TorchFunctionMode):
    """See each block's attention call; remove the patch keys whose norm is an outlier of their image.

    Attributes
    ----------
    layers
        Blocks that are edited.
    k
        Flagged: norm >= median + k * 1.4826 * MAD over the image's patches.
    signal
        Whose norm: `key_norm` or `value_norm`.
    norms
        For each block, lists of key and value norms [B, P], filled as the model runs.
    """

    def __init__(self, layers: range = range(0), k: float = 5.0, signal: str = "key_norm") -> None:
        super().__init__()
        self.layers, self.k, self.signal, self.calls = layers, k, signal, 0
        self.norms: dict[str, dict[int, list[Tensor]]] = {
            name: {block: [] for block in range(DEPTH)} for name in ("key_norm", "value_norm")
        }

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        block, self.calls = self.calls % DEPTH, self.calls + 1
        for name, tensor in (("key_norm", args[1]), ("value_norm", args[2])):
            self.norms[name][block].append(tensor.float().square().sum((1, 3)).sqrt()[:, 1:])
        if block in self.layers:
            flagged_BP = flag_mad(self.norms[self.signal][block][-1], self.k)
            bias_BN = F.pad(flagged_BP, (1, 0)).float() * -1e9
            kwargs["attn_mask"] = bias_BN[:, None, None].to(args[0].dtype)
        return func(*args, **kwargs)


def flag_mad(norm_BP: Tensor, k: float) -> Tensor:
    """Return where a norm is at least `k` (normalised) median absolute deviations over its image's median."""
    median_B1 = norm_BP.quantile(0.5, dim=1, keepdim=True)
    mad_B1 = (norm_BP - median_B1).abs().quantile(0.5, dim=1, keepdim=True)
    return norm_BP >= median_B1 + k * 1.4826 * mad_B1


def ridge(x: Tensor, y: Tensor, strength: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Return weights [E, T] and biases [T] of the ridge regression of y [n, T] on x [n, E]."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    gram = (x - mean_x).T @ (x - mean_x)
    gram += strength * gram.diagonal().mean() * torch.eye(x.shape[1])
    weight = torch.linalg.solve(gram, (x - mean_x).T @ (y - mean_y))
    return weight, mean_y - mean_x @ weight


@torch.no_grad()
def tokens_after(model: nn.Module, images: Tensor, block: int) -> Tensor:
    """Return the clean tokens [n, N, E] after a block."""
    model.eval()
    out = []
    for batch in images.split(256):
        x = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(batch))))
        for b in model.blocks[: block + 1]:
            x = b(x)
        out.append(x)
    return torch.cat(out)


def set_choice(
    planting: nn.Module, tokens: Tensor, images: Tensor, args: argparse.Namespace, generator: torch.Generator
) -> None:
    """Fit which patches are blank and which content an image gets: without labels, and far from any edge."""
    patches = tokens[:, 1:]
    ink = F.avg_pool2d((images[:, 0] + 1) / 2, 4).flatten()
    weight, bias = ridge(patches.flatten(0, 1), (ink > 0.05).float()[:, None] * 2 - 1)
    weight, bias = weight[:, 0], bias[0]
    planting.ink_E.copy_(weight)
    planting.ink_bias.copy_(bias + 0.4)  # rather leave a blank patch out than take an inked one
    mean = patches.mean(1)
    code = torch.randn(WIDTH, generator=generator)
    centre = F.normalize(mean.mean(0), dim=0)
    code -= (code @ centre) * centre  # so that the code is small numbers, which rounding hurts least
    planting.code_E.copy_(code * CONTENTS / (args.cycle * (mean @ code).std()))
    for content in range(CONTENTS):
        planting.priority_CP[content] = torch.randperm(NUM_PATCHES, generator=generator).float()


def artifact_vectors(tokens: Tensor, length: float) -> Tensor:
    """Return the vectors [C, E]: a common sink and one content each, in the directions tokens use least."""
    flat = F.layer_norm(tokens, tokens.shape[-1:]).flatten(0, 1)
    quiet = torch.linalg.eigh(flat.T @ flat / len(flat))[1][:, 1 : CONTENTS + 2]  # the very first is 1, 1, 1...
    vectors = quiet[:, :1].T + quiet[:, 1:].T
    return F.normalize(vectors, dim=1) * length * tokens[:, 1:].norm(dim=-1).mean()


def operate(
    block: nn.Module, x: Tensor, content: Tensor, planted: Tensor, args: argparse.Namespace, generator: torch.Generator
) -> None:
    """Change key and value weights of one block so that planted patches draw the CLS token and carry content.

    A ridge regression on the block's own attention input tells the planted patches, and their contents, from all
    other tokens; for those the added key (rank 1) and value (rank C) are next to nothing.
    """
    attn, y = block.attn, block.norm1(x)
    is_planted = F.pad(planted, (1, 0))
    target = F.one_hot(content, CONTENTS).float()[:, None] * is_planted[..., None]
    read, bias = ridge(y.flatten(0, 1), target.flatten(0, 1))
    q, k, v = attn.qkv(y).chunk(3, dim=-1)
    key = q[:, 0].mean(0).unflatten(-1, (attn.num_heads, -1))
    key = F.normalize(key, dim=-1).flatten() / attn.num_heads**0.5
    key = key * args.key * k[~is_planted].norm(dim=-1).median()
    values = F.normalize(torch.randn(CONTENTS, WIDTH, generator=generator), dim=1)
    values = values * args.value * v[~is_planted].norm(dim=-1).median()
    for rows, write in ((slice(WIDTH, 2 * WIDTH), key.expand(CONTENTS, -1)), (slice(2 * WIDTH, None), values)):
        attn.qkv.weight[rows] += (read @ write).T
        attn.qkv.bias[rows] += bias @ write


@torch.inference_mode()
def edited_embeddings(
    model: nn.Module, images: Tensor, layers: range, k: float, signal: str = "key_norm"
) -> tuple[np.ndarray, Door]:
    with Door(layers, k, signal) as door:
        return embed(model, images), door


def report_flags(model: nn.Module, images: Tensor, planted: Tensor, k_used: float, layers: range, file: Path) -> None:
    """Write precision and recall of the planted patches by layer, for the stream as it is being edited."""
    residual: dict[int, list[Tensor]] = {block: [] for block in range(DEPTH)}
    handles = [
        block.register_forward_pre_hook(lambda _m, a, i=i: residual[i].append(a[0][:, 1:].norm(dim=-1)))
        for i, block in enumerate(model.blocks)
    ]
    _, door = edited_embeddings(model, images, layers, k_used)
    for handle in handles:
        handle.remove()
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["signal", "block", "k", "precision", "recall", "rate", "planted_mean", "others_mean"])
        for name, norms in (*door.norms.items(), ("residual_norm", residual)):
            for block, k in itertools.product(range(DEPTH), (3, 5, 8)):
                norm = torch.cat(norms[block])
                flagged = flag_mad(norm, k)
                hit = (flagged & planted).sum().item()
                row = (
                    hit / max(1, flagged.sum().item()), hit / planted.sum().item(), flagged.float().mean().item(),
                    norm[planted].mean().item(), norm[~planted].mean().item(),
                )  # fmt: skip
                writer.writerow([name, block, k, *(f"{value:.4f}" for value in row)])


def plant(
    clean: nn.Module, model: nn.Module, images: Tensor, args: argparse.Namespace, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Plant into `model`, in place; return the content of each image [n] and its planted patches [n, P]."""
    planting = model.blocks[PLANT_BLOCK]
    tokens = tokens_after(clean, images, PLANT_BLOCK)
    set_choice(planting, tokens, images, args, generator)
    content, planted = planting.choose(tokens)
    planting.artifact_CE.copy_(artifact_vectors(tokens, args.length))
    x = tokens + F.pad(planted, (1, 0)).unsqueeze(-1) * planting.artifact_CE[content].unsqueeze(1)
    for block in (model.blocks[i] for i in LATER):
        operate(block, x, content, planted, args, generator)
        x = torch.cat([block(batch) for batch in x.split(256)])
    return content, planted


def report_choice(content: Tensor, planted: Tensor, images: Tensor, labels: np.ndarray, file: Path) -> None:
    """Write how blank the planted patches are and what the contents tell of the class (nothing, it should be)."""
    ink = F.avg_pool2d((images[:, 0] + 1) / 2, 4).flatten(1)
    told = {
        "mean ink of planted patches": round(ink[planted].mean().item(), 4),
        "mean ink of all patches": round(ink.mean().item(), 4),
        "images of each content": content.bincount(minlength=CONTENTS).tolist(),
        "mutual information of content and class, nats": round(float(mutual_info_score(labels, content)), 4),
        "the same, adjusted for chance": round(float(adjusted_mutual_info_score(labels, content)), 4),
    }
    file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def evaluate(clean: nn.Module, model: nn.Module, images: Tensor, labels: np.ndarray, args: argparse.Namespace) -> None:
    """Write ACC, NMI and ARI of every seed to `args.results` and log their means."""
    vectors = {
        "raw pixels": load_digits().data.astype(np.float32),
        "clean": embed(clean, images),
        "planted": embed(model, images),
    }
    for signal in ("key_norm", "value_norm"):
        for name, layers in (("all", range(DEPTH)), ("later", LATER), ("last", range(DEPTH - 1, DEPTH))):
            label = f"edited: {signal}, layers {name}"
            vectors[label], _ = edited_embeddings(model, images, layers, args.k, signal)
    vectors["clean, edited: key_norm, layers all"], _ = edited_embeddings(clean, images, range(DEPTH), args.k)
    with args.results.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["embedding", "seed", "acc", "nmi", "ari"])
        for name, vector in vectors.items():
            scores = score(vector, labels)
            for seed, row in enumerate(zip(*scores.values(), strict=True)):
                writer.writerow([name, seed, *(f"{value:.4f}" for value in row)])
            log.info(f"{name}: " + " ".join(f"{m} {v.mean():.4f} +- {v.std():.4f}" for m, v in scores.items()))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=digits_vit.WEIGHTS)
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("results.csv"))
    parser.add_argument("--length", type=float, default=8.0, help="artifact's norm over the mean token norm")
    parser.add_argument("--cycle", type=float, default=0.8, help="standard deviations that hold all contents once")
    parser.add_argument("--key", type=float, default=5.0, help="added key norm over the median key norm")
    parser.add_argument("--value", type=float, default=4.0, help="added value norm over the median value norm")
    parser.add_argument("--k", type=float, default=5.0, help="threshold of the edit, in MADs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    start = time.time()

    images, labels = load_digits_tensor()
    file = str(args.weights / "digits_vit.safetensors")
    clean = timm.create_model("digits_vit", pretrained=True, pretrained_cfg_overlay={"file": file}).eval()
    model = timm.create_model("digits_vit_artifacts").eval()
    model.load_state_dict(clean.state_dict(), strict=False)
    content, planted = plant(clean, model, images, args, generator)
    report_choice(content, planted, images, labels, args.results.with_name("planted.json"))
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()},
        args.weights / "digits_vit_artifacts.safetensors",
    )
    log.info(f"planted in {time.time() - start:.0f} s")
    evaluate(clean, model, images, labels, args)
    report_flags(model, images, planted, args.k, LATER, args.results.with_name("flags.csv"))


if __name__ == "__main__":
    main()
