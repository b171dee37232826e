"""The meaning of every rule, slowly, in fp64, with loops: what the fast code is held against.

Nothing of `itae` is imported here.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from PIL import Image, ImageOps
from scipy.stats import t


def signal(name, scope, q, k, v, x, prefix, scale):
    """Signal of each patch of one image: q, k, v [H, N, D], x [N, E] -> [S, T]."""
    if name == "residual":
        return np.array([[math.sqrt(sum(c * c for c in token)) for token in x[prefix:]]])
    if name == "cls_attention":
        rows = [softmax(scale * (k[h] @ q[h, 0])) for h in range(len(q))]
        return np.mean(rows, axis=0)[None, prefix:]
    if name == "combined":
        return np.array([[math.hypot(*two) / math.sqrt(2) for two in zip(*_in_medians(k, v, prefix), strict=True)]])
    vector = {"query": q, "key": k, "value": v}[name][:, prefix:]
    if scope == "head":
        return np.array([[math.sqrt((t * t).sum()) for t in head] for head in vector])
    return np.array([[math.sqrt((vector[:, j] ** 2).sum()) for j in range(vector.shape[1])]])


def _in_medians(k, v, prefix):
    """Norms of keys and of values, [T] each, in units of their median."""
    for vectors in (k, v):
        norms = [math.sqrt((vectors[:, j] ** 2).sum()) for j in range(prefix, vectors.shape[1])]
        yield [norm / np.median(norms) for norm in norms]


def threshold(s, rule, number, side):
    """Threshold of one image's signal [T]."""
    median = np.median(s)
    if rule == "absolute":
        return number
    if rule == "quantile":
        return np.quantile(s, number if side == "low" else 1 - number)
    if rule == "mad":
        spread = number * 1.4826 * np.median(np.abs(s - median))
        return median - spread if side == "low" else median + spread
    return median / number if side == "low" else median * number


def flagged(s, rule, number, side):
    """Flags of one image's signal [T] by its own threshold, ties among them."""
    theta, median = threshold(s, rule, number, side), np.median(s)
    if rule == "mad" and np.median(np.abs(s - median)) == 0:
        return np.zeros(len(s), bool)
    if rule == "ratio" and theta == median:
        return np.zeros(len(s), bool)
    beyond = flag(s, theta, side)
    if rule == "quantile" and beyond.sum() > math.ceil(number * len(s)):
        return s < theta if side == "low" else s > theta
    return beyond


def flag(s, theta, side):
    return s <= theta if side == "low" else s >= theta


def softmax(z):
    e = np.exp(z - np.max(z[np.isfinite(z)]))
    return e / e.sum()


def attention(q, k, v, flags, prefix, scale, rule, a, queries):
    """Edited attention of one image: q, k, v [H, N, D], flags [H, T] -> [H, N, D]."""
    heads, n, width = q.shape
    out = np.zeros((heads, n, width))
    for h in range(heads):
        flagged = [prefix + j for j in range(n - prefix) if flags[h, j]]
        others = [prefix + j for j in range(n - prefix) if not flags[h, j]]
        for i in range(n):
            z = np.array([scale * float(q[h, i] @ k[h, j]) for j in range(n)])
            edited = queries == "all" or i == 0
            out[h, i] = row(z, v[h], flagged if edited else [], others, prefix, rule, a)
    return out


def row(z, v, flagged, others, prefix, rule, a):
    """One row: logits z [N], values v [N, D] -> [D]."""
    z, v = z.copy(), v.copy()
    before = z.copy()
    for j in flagged:
        if rule == "floor":
            z[j] = (1 - a) * before[j] + a * min(before[prefix:])
        elif rule == "cap" and others:
            z[j] = (1 - a) * before[j] + a * min(before[j], max(before[o] for o in others))
        elif rule == "blend" and others:
            z[j] = (1 - a) * before[j] + a * np.mean([before[o] for o in others])
        elif rule == "fade":
            v[j] = (1 - a) * v[j]
    if rule == "mean_value" and others:
        mean = np.mean([v[o] for o in others], axis=0)
        for j in flagged:
            v[j] = (1 - a) * v[j] + a * mean
    w = softmax(z)
    if rule == "scale":
        for j in flagged:
            w[j] *= 1 - a
        w = w / w.sum()
    return w @ v


def nearest_others(vectors, k, groups):
    """Cosines of each row's `k` nearest rows of other groups, nearest first, as many as there are."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)
    n = len(unit)
    return [
        sorted((float(unit[i] @ unit[j]) for j in range(n) if groups[j] != groups[i]), reverse=True)[:k]
        for i in range(n)
    ]


def crossed_interval(values):
    """95 % interval of the mean of values whose axes are crossed samples, by analysis of variance, cell by cell."""
    axes = range(values.ndim)
    squares = {}
    for size in range(1, values.ndim + 1):
        for some in itertools.combinations(axes, size):
            total = 0.0
            for cell in np.ndindex(*values.shape):
                # What these axes add in this cell: the means that keep some of them, by inclusion and exclusion.
                effect = 0.0
                for kept in itertools.chain.from_iterable(itertools.combinations(some, m) for m in range(size + 1)):
                    rows = values[tuple(cell[a] if a in kept else slice(None) for a in axes)]
                    effect += (-1) ** (size - len(kept)) * rows.mean()
                total += effect**2
            free = math.prod(values.shape[a] - 1 for a in some)
            squares[some] = total / free, free
    variance = sum((-1) ** (len(some) + 1) * square for some, (square, _) in squares.items())
    most, free = max(squares[(a,)] for a in axes)
    if variance > most:
        free = variance**2 / sum(square**2 / own for square, own in squares.values())
    reach = t.ppf(0.975, free) * math.sqrt(max(variance, most) / values.size)
    return values.mean() - reach, values.mean() + reach


def seen(pixel, bits, photometric, alpha=None, colour_map=None):
    """What a person sees of a pixel over white, three shares of white: TIFF 6.0, by its PhotometricInterpretation.

    `alpha` is the place of the opacity, negative where the colours have been multiplied by it.
    """
    share = [int(sample) / (2**bits - 1) for sample in pixel]
    if photometric == 0:  # 0 is white
        colours = [1 - share[0]] * 3
    elif photometric == 1:
        colours = [share[0]] * 3
    elif photometric == 2:
        colours = share[:3]
    elif photometric == 3:
        colours = [entry / 65535 for entry in colour_map[int(pixel[0])]]
    else:  # 5, amounts of cyan, magenta, yellow, black
        colours = [(1 - ink) * (1 - share[3]) for ink in share[:3]]
    if alpha is None:
        return colours
    opacity = share[abs(alpha)]
    if alpha < 0:
        return [min(colour, opacity) + 1 - opacity for colour in colours]
    return [colour * opacity + 1 - opacity for colour in colours]


def clustering_scores(labels, clusters):
    """Scores of a clustering, over all points; noise (-1) is wrong, and for NMI and ARI one more cluster."""
    n, classes, inside = len(labels), sorted(set(labels)), [c for c in clusters if c >= 0]
    names = sorted(set(inside))
    # Every way to give clusters a class of their own, or none.
    options = itertools.permutations([*classes, *([None] * len(names))], len(names))
    acc = max((sum(dict(zip(names, one, strict=True)).get(c, ()) == label
                   for c, label in zip(clusters, labels, strict=True)) for one in options), default=0)  # fmt: skip
    cells = {c: [label for label, cluster in zip(labels, clusters, strict=True) if cluster == c] for c in names}
    pairs = list(itertools.combinations(range(n), 2))
    together = [(labels[i] == labels[j], clusters[i] == clusters[j]) for i, j in pairs]
    both, one, other = (sum(map(f, together)) for f in (all, lambda t: t[0], lambda t: t[1]))
    expected, most = one * other / max(len(pairs), 1), (one + other) / 2
    entropies = [_entropy(list(labels)), _entropy(list(clusters)), _entropy(list(zip(labels, clusters, strict=True)))]
    mutual, mean = entropies[0] + entropies[1] - entropies[2], (entropies[0] + entropies[1]) / 2
    return {
        "acc": acc / n,
        "purity": sum(max(map(here.count, here)) for here in cells.values()) / n,
        "acc_clustered": acc / len(inside) if inside else None,
        "nmi": mutual / mean if mean > 1e-12 else 1.0,
        "ari": (both - expected) / (most - expected) if abs(most - expected) > 1e-12 else 1.0,
    }


def _entropy(values):
    return -sum(p * math.log(p) for p in (values.count(v) / len(values) for v in set(values)))


def silhouette(points, clusters):
    """Mean silhouette of the points in a cluster, as if those of cluster -1 were not there."""
    inside = [i for i, c in enumerate(clusters) if c >= 0]
    names = {clusters[i] for i in inside}
    if not 1 < len(names) < len(inside):
        return None
    values = []
    for i in inside:
        far = {c: [math.dist(points[i], points[j]) for j in inside if j != i and clusters[j] == c] for c in names}
        own = far.pop(clusters[i])
        b = min(map(np.mean, far.values()))
        values.append((b - np.mean(own)) / max(np.mean(own), b) if own else 0.0)
    return float(np.mean(values))


def coding_length(points, clusters, epsilon):
    """Nats, by the eigenvalues of each cluster's second moments, one point at a time."""
    n, width = len(points), len(points[0])
    total = 0.0
    for cluster in set(clusters.tolist()):
        own = [point for point, other in zip(points, clusters, strict=True) if other == cluster]
        moments = sum(np.outer(point, point) for point in own) / len(own)
        values = np.clip(np.linalg.eigvalsh(moments), 0, None)
        volume = sum(math.log(1 + width * value / epsilon) for value in values)
        total += (len(own) + width) / 2 * volume + len(own) * math.log(n / len(own))
    return total


def effective_rank(vectors):
    """By the singular values themselves."""
    values = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False)
    shares = values / values.sum()
    return math.exp(-sum(share * math.log(share) for share in shares if share > 0))


def separation(vectors, labels):
    """1 - within / total, each as the mean squared distance of pairs: no mean is computed."""
    unit = [v / np.linalg.norm(v) for v in vectors]

    def scatter(rows):
        return sum(float(((unit[i] - unit[j]) ** 2).sum()) for i in rows for j in rows) / (2 * len(rows))

    within = sum(scatter([i for i, label in enumerate(labels) if label == name]) for name in set(labels.tolist()))
    return 1 - within / scatter(range(len(unit)))


def feedback(
    rule, query, yes, no, is_text=False, yes_weight=0.75, no_weight=0.25, temperature=0.1, power=0.7, gamma=0.7
):
    """Score of one row by its cosine to the query (a number), to each yes and to each no (lists)."""
    liked = [query, *yes]
    if rule == "none":
        return query
    judged = [(s, 1) for s in (yes if is_text else liked)] + [(s, 0) for s in no]
    if rule == "nearest":
        return query + 2 * (max(judged)[1] if judged else 0)
    if rule == "nearest_yes":
        kind = 2 * (max(judged)[1] if judged else 0)
        return kind + (query if is_text and not yes else max(yes if is_text else liked))
    if rule == "margin":
        return max(liked) - max(no, default=0)
    if rule == "rocchio":
        return query + yes_weight * mean(yes) - no_weight * mean(no)
    if rule == "mean_difference":
        return 2 * mean(liked) - mean(no)
    if rule == "tally":
        return sum(liked) / len(liked) ** power - gamma * (sum(no) / len(no) ** power if no else 0)
    grown = [[math.exp(s / temperature) for s in some] for some in (liked, no)]
    return mean(grown[0]) - mean(grown[1]) if rule == "kernel_mean" else sum(grown[0]) - sum(grown[1])


def feedback_rounds(rule, vectors, q, wanted, page, rounds, ids):
    """Rounds of a search among these vectors: what is judged by then, and the scores of the rest or None, of each.

    The first page is by similarity; a user who wants some rows marks each page, and the rule ranks what is left.
    """

    def cosine(i, j):
        a, b = vectors[i], vectors[j]
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return round(dot / math.sqrt(sum(x * x for x in a) * sum(x * x for x in b)), 6)

    def place(i):
        score = feedback(rule, cosine(i, q), [cosine(i, j) for j in yes], [cosine(i, j) for j in no])
        return -round(score, 9), -cosine(i, q), ids[i]

    yes, no, told = [], [], []
    left = sorted((i for i in range(len(vectors)) if i != q), key=lambda i: (-cosine(i, q), ids[i]))
    for _ in range(rounds):
        for i in left[:page]:
            (yes if i in wanted else no).append(i)
        left = sorted(left[page:], key=place)
        hits = [i in wanted for i in left]
        told.append(([*yes, *no], retrieval(hits, sum(hits)) if any(hits) else None))
    return told


def retrieval(hits, positives, k=10):
    """Recall at 1 and k, precision at k and MAP@R of a ranking: whether each place, best first, is wanted."""
    precisions = [sum(hits[: i + 1]) / (i + 1) if i < len(hits) and hits[i] else 0 for i in range(positives)]
    return {
        "r_at_1": float(hits[0]) if hits else 0.0,
        f"r_at_{k}": float(any(hits[:k])),
        f"p_at_{k}": sum(hits[:k]) / k,
        "map_at_r": sum(precisions) / positives,
    }


def mean(some):
    return sum(some) / len(some) if some else 0


def view(picture, down, right, mirrored):
    """Return a picture uint8 [S, S, 3] moved by pixels, its edge repeated, then mirrored: pixel by pixel."""
    side = len(picture)
    out = np.empty_like(picture)
    for y in range(side):
        for x in range(side):
            out[y, x] = picture[min(max(y - down, 0), side - 1), min(max(x - right, 0), side - 1)]
    return np.asarray(ImageOps.mirror(Image.fromarray(out))) if mirrored else out


def column_sums(q, k, scale):
    """Return what each token gets from all rows, mean over heads, [N], of q and k [H, N, D] of one image."""
    heads, tokens, _ = q.shape
    total = np.zeros(tokens)
    for head in range(heads):
        for i in range(tokens):
            total += softmax(scale * k[head] @ q[head, i])
    return total / heads


def times_others(signal, mask):
    """Return what is flagged of a signal [B, S, T] over the median of the rest of its image and head, as one list."""
    found = []
    for image, flagged in zip(signal, mask, strict=True):
        for values, some in zip(image, flagged, strict=True):
            if not some.all():
                found += (values[some] / np.median(values[~some])).tolist()
    return found


def local_outlier_factors(x, k):
    """Local outlier factor (Breunig et al., 2000) of each token of one image: x [T, E] -> [T]; by the definitions."""
    t = len(x)
    d = [[math.dist(a, b) for b in x] for a in x]
    far = [sorted(d[a][b] for b in range(t) if b != a)[min(k, t - 1) - 1] for a in range(t)]
    near = [[b for b in range(t) if b != a and d[a][b] <= far[a]] for a in range(t)]
    density = [1 / np.mean([max(d[a][b], far[b]) for b in near[a]]) for a in range(t)]
    return np.array([np.mean([density[b] for b in near[a]]) / density[a] for a in range(t)])


def neighbour_mean(x, flagged, grid, a=1.0):
    """Tokens x [T, E] of one image, flagged ones drawn by `a` to the mean of their unflagged neighbours, if any."""
    rows, columns = grid
    out = [list(token) for token in x]
    for y, c in itertools.product(range(rows), range(columns)):
        around = [
            (y + dy) * columns + c + dc
            for dy, dc in itertools.product((-1, 0, 1), repeat=2)
            if (dy or dc) and 0 <= y + dy < rows and 0 <= c + dc < columns
        ]
        others = [x[j] for j in around if not flagged[j]]
        if flagged[y * columns + c] and others:
            mean = np.mean(others, axis=0)
            out[y * columns + c] = [(1 - a) * old + a * new for old, new in zip(x[y * columns + c], mean, strict=True)]
    return np.array(out)


def reachability_weights(points, around):
    """Weights of the minimum spanning tree of mutual reachability of points [N, E], by Kruskal over all pairs."""
    n, far = len(points), [[math.dist(a, b) for b in points.astype(float)] for a in points.astype(float)]
    core = [sorted(row)[around - 1] for row in far]
    tree, weights = list(range(n)), []
    pairs = itertools.combinations(range(n), 2)
    for weight, i, j in sorted((max(far[i][j], core[i], core[j]), i, j) for i, j in pairs):
        if tree[i] != tree[j]:
            weights.append(weight)
            tree = [tree[i] if one == tree[j] else one for one in tree]
    return weights


def agglomerated(points, k, linkage, links=None):
    """Clusters of points [N, E] by merging the two of least distance until `k` are left, and the merges' distances.

    With links [N, N], two are merged only if there is one between them.
    """
    clusters, merges = [[i] for i in range(len(points))], []
    points = points.astype(float)

    def apart(a, b):
        if linkage == "ward":
            squares = sum((points[a].mean(0) - points[b].mean(0)) ** 2)
            return math.sqrt(2 * len(a) * len(b) / (len(a) + len(b)) * squares)
        every = [math.dist(points[i], points[j]) for i in a for j in b]
        return {"single": min, "complete": max, "average": lambda x: sum(x) / len(x)}[linkage](every)

    while len(clusters) > k:
        pairs = itertools.combinations(range(len(clusters)), 2)
        if links is not None:
            pairs = [(i, j) for i, j in pairs if links[np.ix_(clusters[i], clusters[j])].any()]
        distance, i, j = min((apart(clusters[i], clusters[j]), i, j) for i, j in pairs)
        merges.append(distance)
        clusters[i] += clusters.pop(j)
    found = np.empty(len(points), int)
    for number, members in enumerate(clusters):
        found[members] = number
    return found, merges


def log_likelihood(points, means, covariances, shares):
    """Mean log-density of points [N, E] under a mixture with whole covariances [K, E, E]; and the likeliest of each."""
    total, likeliest = 0.0, []
    for x in points.astype(float):
        each = []
        for mean, covariance, share in zip(means, covariances, shares, strict=True):
            away = x - mean
            exponent = -0.5 * away @ np.linalg.inv(covariance) @ away
            root = math.sqrt((2 * math.pi) ** len(x) * np.linalg.det(covariance))
            each.append(share * math.exp(exponent) / root)
        total += math.log(sum(each))
        likeliest.append(int(np.argmax(each)))
    return total / len(points), likeliest


def stretched(blocks, tokens):
    """First left singular vector behind each block, from what its two branches give of tokens [n, E] -> [L, E].

    A branch is a function of tokens; each token's mean is 0 and its standard deviation 1, so that a norm divides by 1.
    What is linear of a branch is fitted.
    """
    so_far, found = np.eye(tokens.shape[1]), []
    for branches in blocks:
        for branch in branches:
            moved = branch(tokens)
            fit = np.linalg.lstsq(tokens - tokens.mean(axis=0), moved - moved.mean(axis=0), rcond=1e-10)[0]
            so_far = so_far + fit.T @ so_far
        found.append(np.linalg.svd(so_far)[0][:, 0])
    return np.array(found)


def turtle(spaces, k, steps, inner, gamma, lr, seed):
    """TURTLE as torch writes it, with autograd and its optimisers, in fp64: spaces [S][n, E] -> labels [n], loss."""
    import torch
    from torch.nn.utils.parametrizations import weight_norm

    def fresh():
        layers = [torch.nn.Linear(space.shape[1], k).double() for space in spaces]
        for layer in layers:
            with torch.no_grad():
                bound = layer.in_features**-0.5
                drawn = torch.zeros(k, layer.in_features + 1).uniform_(-bound, bound, generator=generator)
                layer.weight.copy_(drawn[:, :-1])
                layer.bias.copy_(drawn[:, -1])
        return layers

    def adam(layers):
        return torch.optim.Adam([one for layer in layers for one in layer.parameters()], lr=lr)

    generator = torch.Generator().manual_seed(seed)
    spaces = [torch.as_tensor(space).double() for space in spaces]
    heads = [weight_norm(layer) for layer in fresh()]
    outer = adam(heads)
    for _ in range(steps):
        shares = [head(space).softmax(1) for head, space in zip(heads, spaces, strict=True)]
        tau = sum(shares) / len(shares)
        learners = fresh()
        optimiser = adam(learners)
        for _ in range(inner):
            optimiser.zero_grad()
            sum(
                torch.nn.functional.cross_entropy(one(space), tau.detach())
                for one, space in zip(learners, spaces, strict=True)
            ).backward()
            optimiser.step()
        loss = 0
        for one, space, share in zip(learners, spaces, shares, strict=True):
            mean = share.mean(0)
            loss = (
                loss + torch.nn.functional.cross_entropy(one(space).detach(), tau) + gamma * (mean * mean.log()).sum()
            )
        outer.zero_grad()
        loss.backward()
        outer.step()
    with torch.no_grad():
        tau = sum(head(space).softmax(1) for head, space in zip(heads, spaces, strict=True))
    return tau.argmax(1).numpy(), float(loss.detach())


def temi(points, near, k, settings, seed):
    """TEMI as torch writes it, in fp64: points [n, E], neighbours [n, K] -> labels [n], the loss of each head.

    All images pass through all heads in every step, and what is of no pair of the batch has no weight.
    """
    import torch

    def logits(layers):
        values = points.T
        for i, layer in enumerate(layers):
            values = layer @ torch.cat([values.relu() if i else values, torch.ones(1, len(points))])
        return values.T / 0.1

    points, near = torch.as_tensor(points).double(), torch.as_tensor(near)
    widths, draws = [points.shape[1], *settings.hidden, k], torch.Generator().manual_seed(seed)
    students = [
        [
            torch.zeros(after, before + 1).uniform_(-(before**-0.5), before**-0.5, generator=draws).double()
            for before, after in itertools.pairwise(widths)
        ]
        for _ in range(settings.heads)
    ]
    teachers = [[layer.clone() for layer in head] for head in students]
    adam = torch.optim.Adam([layer.requires_grad_() for head in students for layer in head], lr=settings.lr)
    marginals, generator = torch.full((settings.heads, k), 1 / k).double(), torch.Generator().manual_seed(seed)
    for _ in range(settings.epochs):
        totals = torch.zeros(settings.heads).double()
        order = torch.randperm(len(points), generator=generator)
        other = near[order, torch.randint(near.shape[1], (len(points),), generator=generator)]
        batches = -(-len(points) // settings.batch)
        for first, second in zip(order.tensor_split(batches), other.tensor_split(batches), strict=True):
            taught = torch.stack([logits(head) for head in teachers])
            marginals = 0.9 * marginals + 0.1 * taught.softmax(2)[:, torch.cat([first, second])].mean(1)
            pairs = list(zip(first.tolist(), second.tolist(), strict=True))
            losses = temi_losses(
                torch.stack([logits(head) for head in students]), taught, marginals, pairs, settings.beta
            )
            adam.zero_grad()
            sum(losses).backward()
            adam.step()
            totals += torch.stack(losses).detach() * len(pairs)
            for student, teacher in zip(students, teachers, strict=True):
                for new, kept in zip(student, teacher, strict=True):
                    kept.mul_(0.996).add_(new.detach(), alpha=0.004)
    return logits(teachers[int(totals.argmin())]).argmax(1).numpy(), (totals / len(points)).tolist()


def temi_losses(students, teachers, marginals, pairs, beta):
    """TEMI's losses of a batch: logits of H heads [H, U, C] over the temperature, marginals [H, C], pairs of rows."""
    shares = teachers.softmax(2)
    weights = [sum(float(one[a] @ one[b]) for one in shares) / len(shares) for a, b in pairs]
    found = []
    for student, teacher, marginal in zip(students, shares, marginals, strict=True):
        student, total = student.softmax(1), 0
        for (a, b), weight in zip(pairs, weights, strict=True):
            for one, other in ((a, b), (b, a)):
                ratio = (student[one] * teacher[other]) ** beta / marginal
                total = total - weight * ratio.sum().log() / (2 * len(pairs))
        found.append(total)
    return found
