"""TURTLE against autograd, and where its answer is known."""

import math

import numpy as np
import pytest
import reference
import torch
from point_sets import blobs
from sklearn.linear_model import LogisticRegression

from itae.base.errors import UserError
from itae.measure.cluster.generalisation import generalisation
from itae.measure.cluster.kmeans import KMeans
from itae.measure.cluster.turtle import Turtle
from itae.measure.cluster.turtle_steps import Labelling, Linear, gradient, outer_loss
from itae.measure.scores import scores


def strips(n=200, width=384, seed=0):
    """Two long parallel strips with a gap between them, on a plane that is turned in a wide space."""
    random = np.random.default_rng(seed)
    labels = random.integers(2, size=n)
    along, across = random.uniform(-60, 60, n), (2 * labels - 1) * (20 + random.uniform(0, 10, n))
    turn, _ = np.linalg.qr(random.normal(size=(width, 2)))
    return (np.stack([along, across], 1) @ turn.T).astype(np.float32), labels


def acc(labels, found):
    return scores(labels, found)["acc"]


@pytest.mark.parametrize("count", [1, 2])
def test_the_gradients_by_hand_are_those_of_autograd(count):
    """Through softmax, mean over spaces, entropy and weight norm; n=5, d=3, C=2, in fp64."""
    torch.manual_seed(0)
    widths, cpu = [4, 3][:count], torch.device("cpu")
    labelling, by = Labelling(widths, 2, cpu, torch.float64), Linear(widths, 2, cpu, torch.float64)
    labelling.flat.normal_()
    labelling.renew()
    points = [torch.cat([torch.randn(width - 1, 5), torch.ones(1, 5)]).double() for width in widths]
    logits = [torch.randn(2, 5).double() for _ in widths]
    flat = labelling.flat.clone().requires_grad_()
    tau, entropies, start = 0, 0, 0
    for s, (width, z) in enumerate(zip(widths, points, strict=True)):
        v = flat[start : start + 2 * width].view(2, width)
        start += 2 * width
        gain = flat[2 * sum(widths) + 2 * s :][:2]
        weight = gain[:, None] * v[:, :-1] / v[:, :-1].norm(dim=1, keepdim=True)
        share = (weight @ z[:-1] + v[:, -1:]).softmax(0)
        mean = share.mean(1)
        tau, entropies = tau + share / count, entropies - (mean * mean.log()).sum()
    loss = sum(torch.nn.functional.cross_entropy(one.T, tau.T) for one in logits) - 10 * entropies
    loss.backward()
    shares = [(w @ z).softmax(0) for w, z in zip(labelling.weights.spaces, points, strict=True)]
    assert outer_loss(logits, shares, 10.0) == pytest.approx(float(loss.detach()), abs=1e-10)
    for one, z, by_weights in zip(gradient(logits, shares, 10.0), points, by.spaces, strict=True):
        torch.mm(one, z.T, out=by_weights)
    torch.testing.assert_close(labelling.chain(torch.empty_like(labelling.flat), by), flat.grad, rtol=1e-10, atol=1e-10)


def test_the_gradient_by_tau_is_the_formula():
    """-ln q_c(x) / n + gamma (1 + ln mean p_c) / n, through the softmax; for one space that is all."""
    random = np.random.default_rng(1)
    p, q = (random.dirichlet(np.ones(2), size=5).T for _ in range(2))
    by_tau = (-np.log(q) + 3 * (1 + np.log(p.mean(1, keepdims=True)))) / 5
    wanted = p * (by_tau - (p * by_tau).sum(0))
    (found,) = gradient([torch.from_numpy(np.log(q) + 7.0)], [torch.from_numpy(p.copy())], 3.0)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2])
def test_it_is_the_plain_loop_of_torch(count):
    """As long as rounding is small: 30 steps in fp32 against fp64."""
    x, _ = blobs(n=90)
    spaces = [x, np.ascontiguousarray(x[:, ::2]) + 1][:count]
    settings = Turtle(steps=30, lr=1e-2, scale="none", gamma=2.0)
    (seed,) = np.random.SeedSequence(5).generate_state(1) >> 1
    labels, loss = reference.turtle(spaces, 3, 30, 10, 2.0, 1e-2, int(seed))
    found = settings.fit(spaces, 3, 5, "cpu")
    assert found.objective.value == pytest.approx(loss, abs=2e-5)
    assert (found.assignments == labels).mean() > 0.98


def test_the_entropy_keeps_all_clusters():
    x, labels = blobs(width=128)
    found = Turtle(steps=300, folds=10).fit(x, 3, 0, "cpu")
    assert acc(labels, found.assignments) == 1
    shares = np.bincount(found.assignments) / len(x)
    assert -(shares * np.log(shares)).sum() > 0.99 * math.log(3)
    assert (found.objective.name, found.objective.value, found.objective.better) == ("generalisation", 1.0, "higher")
    assert found.info.keys() == {"outer_loss"}


def test_without_the_entropy_one_cluster_is_left():
    x, _ = blobs(width=128)
    assert Turtle(steps=700, lr=1e-2, gamma=0.0).fit(x, 3, 1, "cpu").clusters == 1


def test_it_finds_a_gap_that_kmeans_cuts_across():
    """From one start in a few; the others cut across, too, and the loss tells them apart."""
    x, labels = strips()
    assert acc(labels, KMeans().fit(x, 2, 0).assignments) < 0.6
    settings = Turtle(steps=400, scale="none")
    best, *others = sorted((settings.fit(x, 2, seed, "cpu") for seed in range(5)), key=lambda one: one.objective.cost)
    assert acc(labels, best.assignments) == 1
    assert max(acc(labels, one.assignments) for one in others) < 0.6


def test_the_order_of_spaces_means_nothing_and_one_twice_is_one():
    widths, cpu = [5, 4], torch.device("cpu")
    torch.manual_seed(0)
    logits, shares = ([torch.randn(3, 7).softmax(0) for _ in widths] for _ in range(2))
    one = gradient(logits, [share.clone() for share in shares], 10.0)
    other = gradient(logits[::-1], [share.clone() for share in shares[::-1]], 10.0)
    for a, b in zip(one, other[::-1], strict=True):
        torch.testing.assert_close(a, b)
    labelling = Labelling([5, 5], 3, cpu)
    labelling.flat.normal_()
    labelling.directions[1].copy_(labelling.directions[0])
    labelling.gains[1] = labelling.gains[0]
    labelling.renew()
    torch.testing.assert_close(*labelling.weights.spaces)


def test_a_seed_gives_the_same_labels_whatever_else_is_drawn():
    x, _ = blobs(n=60)
    settings = Turtle(steps=20, batch=25)  # batches are drawn, too
    one = settings.fit(x, 3, 7, "cpu")
    before = torch.random.get_rng_state()
    torch.rand(5)
    other = settings.fit(x, 3, 7, "cpu")
    np.testing.assert_array_equal(one.assignments, other.assignments)
    assert one.objective == other.objective
    torch.random.set_rng_state(before)
    settings.fit(x, 3, 8, "cpu")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_batches_of_a_map_give_what_all_points_give(tmp_path):
    """A read-only map is left as it is."""
    x, labels = blobs(width=128)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for scale in ("unit", "none"):
        found = Turtle(steps=300, batch=64, scale=scale).fit(mapped, 3, 0, "cpu")
        assert acc(labels, found.assignments) == 1
    np.testing.assert_array_equal(mapped, x)


def test_lengths_mean_nothing_but_for_scale_none():
    x, _ = blobs(n=60)
    lengths = np.random.default_rng(1).choice([0.25, 4.0], size=(60, 1)).astype(np.float32)  # exact in fp32
    for scale, same in (("unit", True), ("none", False)):
        settings = Turtle(steps=20, scale=scale)
        one, other = (settings.fit(rows, 3, 0, "cpu").objective.value for rows in (x, x * lengths))
        assert (one == pytest.approx(other, abs=1e-4)) is same


def test_the_best_restart_is_kept():
    x, _ = blobs(n=60, spread=1.5)
    four = Turtle(steps=20, restarts=4).fit(x, 4, 3, "cpu")
    words = [int(one) >> 1 for one in np.random.SeedSequence(3).generate_state(4)]
    singles = [float(reference.turtle([_unit(x)], 4, 20, 10, 10.0, 1e-3, word)[1]) for word in words]
    assert four.objective.value == pytest.approx(min(singles), abs=1e-3)
    assert max(singles) > min(singles) + 5e-3


def _unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True) * math.sqrt(x.shape[1])


def test_generalisation_is_high_for_what_can_be_learnt():
    x, labels = blobs()
    random = np.random.default_rng(0).integers(3, size=len(x))
    assert generalisation([x], labels, 10, 0) == 1
    assert generalisation([x], random, 10, 0) < 0.6
    assert generalisation([x], np.zeros(len(x), int), 10, 0) == 0, "one cluster is learnt by everybody"
    two = generalisation([x, x[:, :1]], labels, 5, 0)
    assert two == pytest.approx((generalisation([x], labels, 5, 0) + generalisation([x[:, :1]], labels, 5, 0)) / 2)


def test_of_many_points_a_draw_is_judged(monkeypatch):
    """And by their own labels, whatever their order: what is learnt is learnt from any of them."""
    x, labels = blobs()
    seen, fit = [], LogisticRegression.fit
    monkeypatch.setattr(
        LogisticRegression, "fit", lambda self, rows, own: seen.append(len(own)) or fit(self, rows, own)
    )
    monkeypatch.setattr("itae.measure.cluster.generalisation.MOST", 60)
    assert generalisation([x], labels, 3, 0) == 1
    assert seen == [40, 40, 40]


def test_what_does_not_fit_is_refused_in_a_sentence():
    x, _ = blobs(n=30)
    wrong = {
        "batch=2 is fewer points than there are clusters": {"batch": 2},
        "folds=1 leaves nothing": {"folds": 1},
        "folds=31 is more folds than": {"folds": 31},
        "folds=5001 must be a whole number of at least 0 and at most 5,000": {"folds": 5001},
        "clusterer.lr": {"lr": 0.0},
        "clusterer.gamma": {"gamma": -1.0},
        "clusterer.spaces": {"spaces": "all"},
        "clusterer.scale": {"scale": "l2"},
        "clusterer.steps": {"steps": 0},
    }
    for said, options in wrong.items():
        with pytest.raises(UserError, match=said):
            Turtle(**options).fit(x, 3, 0, "cpu")
    quick = Turtle(steps=1)
    with pytest.raises(UserError, match="more clusters than"):
        quick.fit(x, 31, 0, "cpu")
    with pytest.raises(UserError, match=r"batch=5 is fewer points than there may be clusters \(6\)"):
        Turtle("auto", batch=5).check(30, None)
    with pytest.raises(UserError, match="1 of 30 embeddings are NaN"):
        quick.fit(np.where(np.arange(30)[:, None] == 4, np.nan, x), 3, 0, "cpu")
    with pytest.raises(UserError, match=r"zero length, which has no direction for clusterer\.scale=unit"):
        quick.fit(x * (np.arange(30) != 4)[:, None], 3, 0, "cpu")
    with pytest.raises(UserError, match="same points"):
        quick.fit([x, x[1:]], 3, 0, "cpu")


def test_too_little_memory_is_told(monkeypatch):
    def full(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("itae.measure.cluster.turtle_steps.outer_loss", full)
    with pytest.raises(UserError, match=r"too little memory for TURTLE of 30 vectors; lower clusterer.batch"):
        Turtle(steps=1).fit(blobs(n=30)[0], 3, 0, "cpu")
