"""Print what trained clusterers cost beside plain loops of torch, as ratios in one run.

    python experiments/bench/clusterers.py                 all of it
    python experiments/bench/clusterers.py turtle temi     some of it
    python experiments/bench/clusterers.py turtle --rounds 9

A plain loop is what the formula is in torch: autograd, `torch.optim.Adam`, `nn.Linear`, one head after another. Both
are run in turns, some steps at a time; steps cost the same from first to last. Time is this process's on the CPU, which
a busy machine disturbs less than the clock's. Vectors are made up: 5,000 x 384, 24 clusters.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm
from turns import in_turns, ratio

from itae.measure.cluster.temi import Temi
from itae.measure.cluster.turtle import Turtle
from itae.measure.knn import neighbours

K = 24


def points(n: int = 5000, width: int = 384) -> np.ndarray:
    """Return rows of length sqrt(width) in `K` overlapping groups."""
    random = np.random.default_rng(0)
    x = 0.5 * random.normal(size=(K, width))[random.integers(K, size=n)] + random.normal(size=(n, width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True) * width**0.5).astype(np.float32)


def plain_turtle(x: torch.Tensor, steps: int, inner: int = 10, gamma: float = 10.0, lr: float = 1e-3) -> None:
    head = weight_norm(nn.Linear(x.shape[1], K))
    outer = torch.optim.Adam(head.parameters(), lr=lr)
    for _ in range(steps):
        tau = head(x).softmax(1)
        learner = nn.Linear(x.shape[1], K)
        optimiser = torch.optim.Adam(learner.parameters(), lr=lr)
        for _ in range(inner):
            loss = functional.cross_entropy(learner(x), tau.detach())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            logits = learner(x)
        mean = tau.mean(0)
        loss = functional.cross_entropy(logits, tau) + gamma * (mean * mean.log()).sum()
        outer.zero_grad()
        loss.backward()
        outer.step()


def plain_temi(x: torch.Tensor, near: torch.Tensor, epochs: int, of: Temi) -> None:
    def perceptron() -> nn.Module:
        return nn.Sequential(
            nn.Linear(x.shape[1], of.hidden[0]),
            nn.ReLU(),
            nn.Linear(of.hidden[0], of.hidden[1]),
            nn.ReLU(),
            nn.Linear(of.hidden[1], K),
        )

    students = nn.ModuleList(perceptron() for _ in range(of.heads))
    teachers = copy.deepcopy(students)
    optimiser = torch.optim.Adam(students.parameters(), lr=of.lr)
    marginal = torch.full((of.heads, K), 1 / K)
    for _ in range(epochs):
        for i in torch.randperm(len(x)).tensor_split(-(-len(x) // of.batch)):
            a, b = x[i], x[near[i, torch.randint(near.shape[1], (len(i),))]]
            with torch.no_grad():
                of_a, of_b = (torch.stack([teacher(z) for teacher in teachers]).div(0.1).softmax(2) for z in (a, b))
                marginal = 0.9 * marginal + 0.05 * (of_a.mean(1) + of_b.mean(1))
                weight = (of_a * of_b).sum(2).mean(0)
            loss = torch.zeros(())
            for h, student in enumerate(students):
                for own, other in ((a, of_b), (b, of_a)):
                    share = (student(own) / 0.1).softmax(1)
                    ratio = (share * other[h]) ** of.beta / marginal[h]
                    loss = loss - (weight * ratio.sum(1).log()).mean() / 2
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                for mean, now in zip(teachers.parameters(), students.parameters(), strict=True):
                    mean.lerp_(now, 0.004)


def turtle(rounds: int, whole: bool) -> None:
    """TURTLE, 2,000 steps: 100 at a time, or all."""
    x = points()
    steps = 2000 if whole else 100
    ours = Turtle(steps=steps, scale="none")
    times = in_turns(rounds, lambda: ours.fit(x, K, 0, "cpu"), lambda: plain_turtle(torch.from_numpy(x), steps))
    say(f"TURTLE, 5,000 x 384, k=24, {steps} steps of 2,000 a round, against a plain loop (at most 0.80)", times)


def temi(rounds: int, whole: bool) -> None:
    """TEMI, 16 heads, batches of 1,000: an epoch at a time, or twenty. Both need the neighbours: found once."""
    from itae.measure.cluster import temi as module

    x = points()
    near, _ = neighbours(x, 50, "cpu")
    module.neighbours = lambda *_: (near, None)  # type: ignore[assignment]
    epochs = 20 if whole else 1
    ours = Temi(epochs=epochs, scale="none")
    plain = lambda: plain_temi(torch.from_numpy(x), torch.from_numpy(near), epochs, ours)  # noqa: E731
    times = in_turns(rounds, lambda: ours.fit(x, K, 0, "cpu"), plain)
    say(f"TEMI, 5,000 x 384, k=24, {epochs} epochs of 100 a round, against a plain loop (at most 0.80)", times)


def say(what: str, times: list[list[float]]) -> None:
    seconds = ", ".join(f"{statistics.median(some):.2f}" for some in times)
    print(f"{what:92} {ratio(*times)}; CPU s a round: {seconds}", flush=True)


PARTS: dict[str, Callable[[int, bool], None]] = {"turtle": turtle, "temi": temi}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help=f"some of {', '.join(PARTS)}; default all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--whole", action="store_true", help="whole fits a round; an hour and more on a busy machine")
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}", flush=True)
    for name in args.parts or PARTS:
        PARTS[name](args.rounds, args.whole)


if __name__ == "__main__":
    main()
