"""Points whose clusters are known, for the tests of clusterers."""

from __future__ import annotations

import numpy as np


def blobs(each=60, width=8, k=3, spread=0.3, seed=0):
    """Balls of one size, far apart."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(k), each)
    points = 4 * np.eye(k, width)[labels] + spread * random.normal(size=(len(labels), width))
    order = random.permutation(len(labels))
    return points[order].astype(np.float32), labels[order]


def rings(n=600, noise=0.05, seed=0):
    """A ring in a ring: to k-means, which cuts by a straight line, each half is half of both."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    angle, radius = random.uniform(0, 2 * np.pi, n), np.where(labels, 1, 3)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1) + noise * random.normal(size=(n, 2))
    return points.astype(np.float32), labels


def strips(each=200, seed=0):
    """Two long, thin Gaussians side by side, aslant."""
    random = np.random.default_rng(seed)
    labels = np.repeat([0, 1], each)
    points = np.stack([2 * random.normal(size=2 * each), 0.3 * random.normal(size=2 * each) + 2 * labels], 1)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    return (points @ turn).astype(np.float32), labels
