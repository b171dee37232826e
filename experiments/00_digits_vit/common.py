"""What `train.py` and `plant.py` share: the digits as the framework feeds them, embeddings, scores."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor

from itae.measure.cluster.kmeans import KMeans
from itae.measure.scores import scores
from itae.vit.digits_vit import IMAGE_SIZE


def load_digits_tensor() -> tuple[Tensor, np.ndarray]:
    """Return the digits as images [1797, 3, 32, 32] in [-1, 1], resized as PIL pictures, and labels."""
    digits = load_digits()
    stack = []
    for picture in np.rint(digits.images * 255 / 16).astype(np.uint8):
        resized = Image.fromarray(picture).convert("RGB").resize((IMAGE_SIZE,) * 2, Image.Resampling.BICUBIC)
        stack.append(np.asarray(resized))
    images = torch.from_numpy(np.stack(stack)).permute(0, 3, 1, 2).float() / 255
    return (images - 0.5) / 0.5, digits.target


@torch.inference_mode()
def embed(model: torch.nn.Module, images: Tensor, batch_size: int = 256) -> np.ndarray:
    """Return the CLS tokens [n, E] after the final norm, in fp32."""
    model.eval()
    return torch.cat([model.forward_features(x)[:, 0] for x in images.split(batch_size)]).float().numpy()


def score(vectors: np.ndarray, labels: np.ndarray, seeds: int = 10) -> dict[str, np.ndarray]:
    """Return ACC, NMI and ARI of k-means (k = 10, the package's own defaults) for each seed, from 0 on."""
    kmeans = KMeans()
    rows = [scores(labels, kmeans.fit(vectors, 10, seed, "cpu").assignments) for seed in range(seeds)]
    return {name: np.array([row[name] for row in rows]) for name in ("acc", "nmi", "ari")}
