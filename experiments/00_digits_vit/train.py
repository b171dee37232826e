"""Train `digits_vit` on scikit-learn's 1,797 digits, without labels.

The ViT learns, from augmented views, to give each image its place in a *spectral embedding* of the graph of
nearest neighbours (a parametric spectral embedding). The graph is made of pixels at first and made again from
the ViT's own embeddings, which know more about strokes than pixels do. No label is read before the last line
of the report. Run: `python experiments/00_digits_vit/train.py`.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import timm
import torch
import torch.nn.functional as F  # noqa: N812
from common import embed, load_digits_tensor, score
from safetensors.torch import save_file
from scipy.sparse.linalg import eigsh
from torch import Tensor

from itae.vit import digits_vit

log = logging.getLogger("train")


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return each image [B, 1, 32, 32] in [0, 1] turned, scaled, sheared, shifted, bent and re-lit."""
    count, size = len(images), images.shape[-1]

    def uniform(*shape: int, to: float) -> Tensor:
        return (torch.rand(*shape, generator=generator) * 2 - 1) * to

    angle, shear = uniform(2, count, to=0.25)
    scale_x, scale_y = 1 + uniform(2, count, to=0.2)
    shift_x, shift_y = uniform(2, count, to=0.15)
    cos, sin = angle.cos(), angle.sin()
    theta = torch.stack(
        [
            torch.stack([cos * scale_x, (shear * cos - sin) * scale_y, shift_x], 1),
            torch.stack([sin * scale_x, (shear * sin + cos) * scale_y, shift_y], 1),
        ],
        1,
    )
    bend = torch.randn(count, 2, 5, 5, generator=generator) * 0.06
    bend = F.interpolate(bend, size=(size, size), mode="bicubic").permute(0, 2, 3, 1)
    grid = F.affine_grid(theta, [count, 1, size, size], align_corners=False) + bend
    views = F.grid_sample(images, grid, align_corners=False)
    return views.clamp(1e-4, 1) ** uniform(count, 1, 1, 1, to=0.5).exp()


def pixel_distances(gray: Tensor) -> Tensor:
    """Return squared distances [n, n] between blurred images, the smallest over shifts of one source pixel."""
    small = F.avg_pool2d(gray, 3, stride=2, padding=1)  # [n, 1, 16, 16]: two pixels for one of the 8 x 8
    flat = small.flatten(1)
    best = torch.full((len(gray), len(gray)), torch.inf)
    for down in (-2, 0, 2):
        for right in (-2, 0, 2):
            moved = small.roll((down, right), (2, 3)).flatten(1)
            best = torch.minimum(best, torch.cdist(flat, moved) ** 2)
    return torch.minimum(best, best.T)


def spectral_embedding(distances: Tensor, k: int, dimensions: int) -> np.ndarray:
    """Return unit vectors [n, dimensions]: leading eigenvectors of the normalised k-neighbour graph.

    Edges are weighted by the share of common neighbours (Jarvis and Patrick 1973), rows are normalised as in
    Ng, Jordan and Weiss (2001).
    """
    n = len(distances)
    near = distances.clone().fill_diagonal_(torch.inf).topk(k, largest=False).indices.numpy()
    graph = sp.csr_matrix((np.ones(n * k), (np.repeat(np.arange(n), k), near.ravel())), shape=(n, n))
    graph_either = graph.maximum(graph.T)
    weights = graph_either.multiply(graph @ graph.T) / k + 0.05 * graph_either
    root = sp.diags(np.asarray(weights.sum(1)).ravel() ** -0.5)
    _, vectors = eigsh(root @ weights @ root, k=dimensions, which="LA", v0=np.ones(n))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def place(target: np.ndarray, before: Tensor | None) -> Tensor:
    """Return the target as unit vectors of the ViT's width, turned to lie as near as can be to `before`."""
    padded = torch.zeros(len(target), digits_vit.WIDTH)
    padded[:, : target.shape[1]] = torch.from_numpy(target.copy()).float()
    turn = torch.randn(2 * (digits_vit.WIDTH,)) if before is None else padded.T @ before
    u, _, vt = torch.linalg.svd(turn)
    return padded @ u @ vt


@dataclass(frozen=True)
class Stage:
    """Epochs that share one graph: `k` neighbours, an embedding of so many dimensions."""

    epochs: int
    k: int = 10
    dimensions: int = 16


# The first three share one learning-rate schedule; the last settles in as many dimensions as k-means has means.
STAGES = (Stage(14), Stage(11), Stage(11))
SETTLE = (Stage(12, k=15, dimensions=10),)


class Trainer:
    """A model, the images it learns from, and the two sources of chance."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.args = args
        self.generator = torch.Generator().manual_seed(args.seed)
        self.images, self.labels = load_digits_tensor()
        self.gray = (self.images[:, :1] + 1) / 2
        self.model = timm.create_model("digits_vit", patch_drop_rate=args.drop)
        self.target: Tensor | None = None

    def make_target(self, stage: Stage) -> Tensor:
        """Return where each image is to go: the graph is of pixels at first, then of embeddings."""
        if self.target is None:
            return place(spectral_embedding(pixel_distances(self.gray), stage.k, stage.dimensions), None)
        found = F.normalize(torch.from_numpy(embed(self.model, self.images)), dim=1)
        return place(spectral_embedding(1 - found @ found.T, stage.k, stage.dimensions), found)

    def run(self, stages: tuple[Stage, ...], lr: float) -> None:
        """Train through the stages with one cosine schedule."""
        optimiser = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=0.05)
        total = sum(stage.epochs for stage in stages) * (len(self.gray) // self.args.batch_size)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser,
            lambda step: min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / total)),
        )
        for stage in stages:
            self.target = self.make_target(stage)
            for epoch in range(stage.epochs):
                start = time.time()
                loss = self.epoch(optimiser, schedule)
                log.info(f"{stage} epoch {epoch + 1}: loss {loss:.4f}, {time.time() - start:.1f} s")
            if self.args.watch:
                log.info(f"acc {score(embed(self.model, self.images), self.labels, seeds=3)['acc'].mean():.4f}")

    def epoch(self, optimiser: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LambdaLR) -> float:
        """Show each image once, augmented; return the mean of 1 - cosine to its target."""
        assert self.target is not None
        self.model.train()
        losses = []
        order = torch.randperm(len(self.gray), generator=self.generator)
        for rows in order.split(self.args.batch_size)[:-1]:
            views = augment(self.gray[rows], self.generator)
            z = self.model.forward_features(((views - 0.5) / 0.5).expand(-1, 3, -1, -1))[:, 0]
            loss = (1 - F.cosine_similarity(z, self.target[rows])).mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        return float(np.mean(losses))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=digits_vit.WEIGHTS / "digits_vit.safetensors")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--drop", type=float, default=0.5, help="share of patches left out in training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="one is reproducible and hardly slower")
    parser.add_argument("--watch", action="store_true", help="log ACC after each stage; it changes nothing")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(args.threads)
    start = time.time()
    trainer = Trainer(args)
    trainer.run(STAGES, args.lr)
    trainer.run(SETTLE, args.lr / 3)
    model = trainer.model.eval()
    log.info(f"trained in {time.time() - start:.0f} s")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, args.out)
    scores = score(embed(model, trainer.images), trainer.labels)
    log.info({name: f"{values.mean():.4f} +- {values.std():.4f}" for name, values in scores.items()})


if __name__ == "__main__":
    main()
