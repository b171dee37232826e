"""The rule of ours: chosen on development settings, and looked at once on held-out ones. README.md is the protocol.

    python experiments/07_feedback/choose_rule.py --checkpoint WEIGHTS.safetensors --images PICTURES
    python experiments/07_feedback/choose_rule.py --checkpoint WEIGHTS.safetensors --images PICTURES --held-out
    python experiments/07_feedback/choose_rule.py --quick         does it run? the digits alone, few queries

The first is development, and chooses. WEIGHTS are those of DINOv2 ViT-S/14, PICTURES are a sub-folder a class, each
file called NAME-VENDOR.png. Out come rule_development.csv or rule_held_out.csv with a row for each setting and rule,
and rule_scores_development.csv or rule_scores_held_out.csv with a row a rule; of development rule_choice.csv, too, with
a row for each pair of numbers that was tried.

Shapes: N images of a collection, F images of a page, J judged with the query, R rows that are left.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
sys.path.append(str(HERE))

from rule_tables import by_rule, by_setting, choice  # noqa: E402
from wishes import Collection, collections  # noqa: E402

from itae.app.compose import compose, plain_values  # noqa: E402
from itae.base.construct import construct  # noqa: E402
from itae.search.judged import Judged  # noqa: E402
from itae.search.rule import Near, Rule  # noqa: E402
from itae.search.rules import Tally  # noqa: E402

CONTRACT = ("none", "nearest", "margin", "rocchio", "mean_difference", "kernel", "logistic", "svm")
OURS = "tally"
POWERS, GAMMAS = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 1.0), (0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
PAGES, CLICKS = (10, 30), (0.0, 0.05, 0.2)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--checkpoint", help="weights of DINOv2 ViT-S/14, safetensors")
    made.add_argument(
        "--images", type=Path, help="a folder of pictures, NAME-VENDOR.png in a sub-folder for each class"
    )
    made.add_argument("--held-out", action="store_true", help="the held-out settings: once, when the rule is frozen")
    made.add_argument("--out", type=Path, help="where the tables go (this folder)")
    made.add_argument("--work", type=Path, default=Path("outputs/experiments/07_feedback"), help="where the runs go")
    made.add_argument("--quick", action="store_true", help="few queries; the tables stay with the runs")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    if bool(options.checkpoint) != bool(options.images):
        parser().error("--checkpoint and --images go together")
    part = "held_out" if options.held_out else "development"
    rules = {name: rule_of(name) for name in (*CONTRACT, OURS)}
    pairs = {} if options.held_out else {f"{p} {g}": Tally(p, g) for p in POWERS for g in GAMMAS}
    queries = 4 if options.quick else 300
    each = collections(part, options.work, options.checkpoint, options.images)
    rows = pd.concat([pd.DataFrame(asked(one, rules | pairs, queries)) for one in each], ignore_index=True)
    plain = rows[rows.rule.isin(list(rules))]
    tables = {f"rule_{part}": by_setting(plain, OURS), f"rule_scores_{part}": by_rule(plain, OURS)}
    if pairs:
        tables["rule_choice"] = choice(rows, CONTRACT, {name: (one.power, one.gamma) for name, one in pairs.items()})
    out = options.work if options.quick else options.out or HERE
    out.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.round(4).to_csv(out / f"{name}.csv", index=False)
        print(f"{out / name}.csv: {len(table)} rows")
    print(tables[f"rule_scores_{part}"].round(3).to_string(index=False))
    return 0


def rule_of(name: str) -> Rule:
    """Return a rule with the numbers of its yaml."""
    return construct("feedback", plain_values(compose([f"feedback={name}"]))["feedback"])


@dataclass(frozen=True, eq=False)
class Trial:
    """A query after its page: what was judged, how alike to it what is left is, and which of that is wanted.

    Parameters
    ----------
    judged
        The vectors.
    rest_R
        What is left: positions, the most similar to the query first.
    wanted_R
        bool.
    near
        The similarities.
    """

    judged: Judged
    rest_R: np.ndarray
    wanted_R: np.ndarray
    near: Near


def cosines(vectors_NE: np.ndarray) -> np.ndarray:
    """Return the similarities of all pairs as `itae.knowledge.records.similarity` has them, float64 [N, N]."""
    exact_NE = vectors_NE.astype(np.float64)
    exact_NE /= np.linalg.norm(exact_NE, axis=1, keepdims=True)
    return np.round(np.clip(exact_NE @ exact_NE.T, -1, 1), 6)


def trials(
    one: Collection, similar_NN: np.ndarray, user: str, page: int, clicks: float, queries: int
) -> Iterator[tuple[int, Trial]]:
    """Yield queries, and what each is asked after one page; those that nothing is left for are not among them.

    The queries are the same whoever asks, and the same images of a page are judged wrongly for all rules.
    """
    rng = np.random.default_rng(0)
    asked_Q = np.sort(rng.permutation(len(similar_NN))[:queries])
    chance_QF = rng.random((len(asked_Q), max(PAGES)))[:, :page]
    for query, chance_F in zip(asked_Q.tolist(), chance_QF, strict=True):
        order = np.argsort(-similar_NN[query], kind="stable")
        page_F, rest_R = np.split(order[order != query], [page])
        wanted_N = one.means[user][query]
        if not wanted_N[rest_R].any():
            continue
        yes_F = wanted_N[page_F] ^ (chance_F < clicks)
        rows_J = np.concatenate([[query], np.sort(page_F[yes_F]), np.sort(page_F[~yes_F])])
        liked = 1 + int(yes_F.sum())
        vectors_JE = one.vectors_NE[rows_J]
        marks = np.concatenate([[-1], rows_J[1:]])
        judged = Judged(vectors_JE[0], vectors_JE[1:liked], vectors_JE[liked:], False, marks)
        near = Near(similar_NN[np.ix_(rows_J, rest_R)], liked - 1, False)
        yield query, Trial(judged, rest_R, wanted_N[rest_R], near)


def asked(one: Collection, rules: Mapping[str, Rule], queries: int) -> Iterator[dict[str, object]]:
    """Yield a row for each user, page, kind of clicks, query and rule."""
    similar_NN = cosines(one.vectors_NE)
    for user in one.means:
        for page, clicks in ((page, clicks) for page in PAGES for clicks in CLICKS):
            told = {"user": user, "data": one.data, "embedding": one.embedding, "judged": page, "clicks": clicks}
            print(*told.values(), file=sys.stderr)
            for query, trial in trials(one, similar_NN, user, page, clicks, queries):
                found = told | {"query": query, "yes": trial.near.yes_count}
                for name, rule in rules.items():
                    yield found | {"rule": name, "map_at_r": map_at_r(trial.wanted_R[ranked(rule, trial)])}


def ranked(rule: Rule, trial: Trial) -> np.ndarray:
    """Return the order that a rule brings what is left into, of equal scores the more similar first."""
    scores_R = np.round(rule.fitted(trial.judged).scores(trial.near), 9)
    return np.argsort(-scores_R, kind="stable")


def map_at_r(hits_R: np.ndarray) -> float:
    """Return MAP@R of a whole ranking: the mean over as many places as there are hits of the precision at each hit."""
    first = hits_R[: int(hits_R.sum())]
    return float((first * np.cumsum(first) / np.arange(1, len(first) + 1)).mean())


if __name__ == "__main__":
    sys.exit(main())
