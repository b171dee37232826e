"""TEMI against autograd, and where its answer is known."""

import math

import numpy as np
import pytest
import reference
import torch
from point_sets import blobs

from itae.base.errors import UserError
from itae.measure.cluster.kmeans import KMeans
from itae.measure.cluster.temi import Temi
from itae.measure.cluster.temi_steps import Head, agreement, backward, forward, next_marginal, pair_loss, product
from itae.measure.cluster.trained import Adam, Columns
from itae.measure.knn import neighbours
from itae.measure.scores import scores

QUICK = {"heads": 4, "hidden": (32, 16), "epochs": 40, "lr": 5e-3, "batch": 16, "neighbours": 8}


def acc(labels, found):
    return scores(labels, found)["acc"]


def loss_of(p, q, beta, weight=1.0):
    p, q = (torch.tensor([one], dtype=torch.float64).clamp_min(1e-300).log() for one in (p, q))
    found, by = pair_loss(p, q, torch.tensor([0.5, 0.5]).double(), torch.tensor([weight]).double(), beta)
    return float(found), by


@pytest.mark.parametrize("beta", [0.6, 1.0])
def test_the_loss_by_hand(beta):
    """Of two clusters of one half each: sure and right, and undecided."""
    assert loss_of((1, 0), (1, 0), beta)[0] == pytest.approx(-math.log(2))
    assert loss_of((0.5, 0.5), (0.5, 0.5), beta)[0] == pytest.approx(0 if beta == 1 else -0.5545, abs=1e-4)


def test_the_marginal_forgets_by_a_tenth():
    """After n equal batches: (1 - .9^n) of theirs, and .9^n of the even one."""
    batch, marginal = torch.tensor([[0.7, 0.2, 0.1]]), torch.full((1, 3), 1 / 3)
    for n in range(1, 6):
        marginal = next_marginal(marginal, batch)
        torch.testing.assert_close(marginal, (1 - 0.9**n) * batch + 0.9**n / 3)


def test_a_pair_weighs_what_the_teachers_agree():
    sure = torch.eye(2)[torch.tensor([0, 0, 1])]
    first, second = torch.tensor([0, 0]), torch.tensor([1, 2])
    assert agreement(torch.stack([sure, sure]), first, second).tolist() == [1, 0]
    swapped = torch.eye(2)[torch.tensor([0, 1, 1])]  # for the other head the first pair is apart
    assert agreement(torch.stack([sure, swapped]), first, second).tolist() == [0.5, 0]


def test_a_step_by_hand_is_autograd():
    """Loss and gradient by all weights of two heads, in fp64; some images are in several pairs."""
    torch.manual_seed(0)
    cpu, beta, pairs = torch.device("cpu"), 0.6, [(0, 1), (1, 3), (2, 2), (4, 1)]
    heads = [Head([5, 6, 4, 3], cpu) for _ in range(2)]
    points = torch.cat([torch.randn(5, 5), torch.ones(1, 5)]).double()
    teachers = torch.randn(2, 5, 3).double()
    marginals = torch.rand(2, 3).double().softmax(1)
    weights, outputs, layers = [], [], []
    for head in heads:
        head.flat.normal_()
        layers.append([layer.double() for layer in head.layers])
        weights.append([layer.clone().requires_grad_() for layer in layers[-1]])
        values = points
        for i, layer in enumerate(weights[-1]):
            values = layer @ values
            if i < 2:
                values = torch.cat([values.relu(), torch.ones(1, 5).double()])
        outputs.append(values.T / 0.1)
    loss = sum(reference.temi_losses(outputs, teachers, marginals, pairs, beta))
    loss.backward()
    first, second = torch.tensor(pairs).T
    weight, total = agreement(teachers.softmax(2), first, second), 0.0
    for h in range(2):
        between, room = ([torch.ones(w + 1, 5).double() for w in (6, 4)] for _ in range(2))
        own = forward(layers[h], points, between).log_softmax(1)
        by = torch.zeros_like(own)
        for one, other in ((first, second), (second, first)):
            each, by_pair = pair_loss(own[one], teachers.log_softmax(2)[h][other], marginals[h], weight, beta)
            by.index_add_(0, one, by_pair, alpha=0.5 / len(pairs))
            total += float(each.mean()) / 2
        found = [torch.empty_like(layer) for layer in layers[h]]
        backward(layers[h], points, between, by, [one[:-1] for one in room], found)
        for mine, theirs in zip(found, weights[h], strict=True):
            torch.testing.assert_close(mine, theirs.grad, rtol=1e-10, atol=1e-12)
    assert total == pytest.approx(float(loss.detach()), abs=1e-10)


def test_it_is_the_plain_loop_of_torch():
    """From a seed whose best head isn't the first; teachers are far behind their students after so few steps."""
    x, _ = blobs(n=30, width=5, spread=0.6)
    settings = Temi(heads=3, hidden=(6, 4), epochs=4, lr=0.02, batch=13, neighbours=4, scale="none")
    found = settings.fit(x, 3, 1, "cpu")
    labels, losses = reference.temi(x, neighbours(x, 4, "cpu")[0], 3, settings, 1)
    assert int(np.argmin(losses)) > 0
    assert found.objective.value == pytest.approx(min(losses), abs=1e-4)
    np.testing.assert_array_equal(found.assignments, labels)


def test_adam_is_torchs():
    torch.manual_seed(0)
    mine, theirs = torch.ones(7), torch.nn.Parameter(torch.ones(7))
    adam, other = Adam(mine, 1e-2), torch.optim.Adam([theirs], lr=1e-2)
    for _ in range(20):
        theirs.grad = torch.randn(7)
        adam.step(theirs.grad)
        other.step()
    torch.testing.assert_close(mine, theirs.detach(), rtol=1e-5, atol=1e-7)
    adam.restart()
    before = mine.clone()
    adam.step(torch.full((7,), 3.0))
    torch.testing.assert_close(mine, before - 1e-2)  # a first step is of the learning rate


def test_columns_are_rows_with_ones_below():
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    columns = Columns(x, torch.device("cpu"))
    assert columns.of(torch.tensor([2, 0])).tolist() == [[6, 0], [7, 1], [8, 2], [1, 1]]
    assert columns.of()[:-1].T.tolist() == x.tolist()
    (found,) = columns.blocks()
    assert found[0] == slice(0, 4)
    assert torch.equal(found[1], columns.of())


def rings(n=300):
    """Two rings around one another, on a plane that is turned in a wider space."""
    random = np.random.default_rng(0)
    labels, angles = np.arange(n) % 2, random.uniform(0, 2 * math.pi, n)
    flat = (1 + 2 * labels)[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    return np.hstack([flat, np.full((n, 1), 1.0)]).astype(np.float32), labels


@pytest.mark.slow
def test_it_follows_rings_that_kmeans_cuts():
    """From one seed of two; the other cuts a ring, and its loss tells."""
    x, labels = rings()
    assert acc(labels, KMeans().fit(x, 2, 0).assignments) < 0.9
    settings = Temi(**(QUICK | {"hidden": (64, 32), "epochs": 80, "scale": "none"}))
    fits = [settings.fit(x, 2, seed, "cpu") for seed in range(2)]
    assert acc(labels, min(fits, key=lambda one: one.objective.cost).assignments) == 1


@pytest.mark.slow
def test_wrong_pairs_on_which_heads_disagree_hardly_count(monkeypatch):
    """A tenth of all pairs lead to another blob; the end is that of the clean graph."""
    x, labels = blobs(n=300, width=8)
    from itae.measure.cluster import temi

    clean = temi.neighbours(x, 10, "cpu")[0]
    wrong = clean.copy()
    wrong[:, 0] = (np.arange(300) + 1) % 300  # of another class: labels go round
    for near in (clean, wrong):
        monkeypatch.setattr(temi, "neighbours", lambda *_, near=near: (near, None))
        assert acc(labels, Temi(**QUICK).fit(x, 3, 0, "cpu").assignments) == 1


def test_a_seed_gives_the_same_labels_whatever_else_is_drawn():
    x, _ = blobs(n=100, spread=1.0)
    settings = Temi(**(QUICK | {"epochs": 3, "batch": 32}))
    one = settings.fit(x, 3, 7, "cpu")
    before = torch.random.get_rng_state()
    other = settings.fit(x, 3, 7, "cpu")
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(one.assignments, other.assignments)
    assert one.objective == other.objective
    assert settings.fit(x, 3, 8, "cpu").objective != one.objective


def test_what_does_not_fit_is_refused_in_a_sentence():
    x, _ = blobs(n=30)
    wrong = {
        "neighbours=30 is more than each of 30 images has; set it to at most 29": {"neighbours": 30},
        "clusterer.beta=1.5 must be a number above 0 and at most 1": {"beta": 1.5},
        "clusterer.beta=0 must be a number above 0 and at most 1": {"beta": 0},
        "clusterer.lr=0 must be a number above 0[.]": {"lr": 0},
        "A width in clusterer.hidden=0": {"hidden": (8, 0)},
        r"clusterer.hidden=512 must list the widths .* as \[512,256\]": {"hidden": 512},
        "clusterer.hidden=None must list": {"hidden": None},
        "clusterer.hidden='512' must list": {"hidden": "512"},
        "clusterer.heads": {"heads": 0},
        "clusterer.scale": {"scale": "l2"},
    }
    for said, options in wrong.items():
        with pytest.raises(UserError, match=said):
            Temi(**({"neighbours": 5} | options)).fit(x, 3, 0, "cpu")
    with pytest.raises(UserError, match="1 of 30 embeddings are NaN"):
        Temi(**QUICK).fit(np.where(np.arange(30)[:, None] == 4, np.nan, x), 3, 0, "cpu")


def test_too_little_memory_is_told(monkeypatch):
    def full(*_):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr("itae.measure.cluster.temi_steps.agreement", full)
    with pytest.raises(UserError, match=r"The GPU has too little memory for TEMI of 30 vectors; lower clusterer.batch"):
        Temi(**QUICK).fit(blobs(n=30)[0], 3, 0, "cpu")


@pytest.mark.parametrize("threads", [1, 2])
def test_products_are_numpys_in_one_thread_alone(threads, monkeypatch):
    """In several, the threads of both would spin for the same cores: four times the time."""
    called = []
    matmul = np.matmul
    monkeypatch.setattr(np, "matmul", lambda *args, **more: called.append(1) or matmul(*args, **more))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    left, right, out = torch.rand(5, 7), torch.rand(7, 11), torch.empty(5, 11)
    product(left, right, out=out)
    torch.testing.assert_close(out, left @ right)
    assert bool(called) == (threads == 1)
