"""What an edit turns is what answers say before and after it, by the voter that each version chooses."""

from __future__ import annotations

import numpy as np
from bases import base, made

from itae.knowledge.answers.classify import classify
from itae.knowledge.answers.turned import turned


def answers(snapshot, rows):
    """Ask for each row as if it were not there, by its bytes."""
    digests = [snapshot.digests_M32[i].tobytes() for i in rows]
    return [each.label for each in classify(snapshot, snapshot.vectors_ME[rows], digests, device="cpu")]


def test_a_look_asks_with_what_will_answer(tmp_path):
    others = 0
    for seed in range(6):
        chance = np.random.default_rng(seed)
        ids = [f"{label}/{i}" for label in ("cat", "dog") for i in range(15)]
        kb = base("memory", tmp_path / str(seed))
        kb.commit(kb.add(made(ids, seed=seed)))
        change = kb.correct_each({id_: ["bird"] for id_ in chance.choice(ids, 8, replace=False).tolist()})
        before, after = kb.snapshot(), change.after
        found = turned(before, after, device="cpu")
        was, is_ = answers(before, before.live), answers(after, after.live)
        want = [(id_, a, b) for id_, a, b in zip(before.ids, was, is_, strict=True) if a != b]
        assert [(row["id"], row["before"], row["after"]) for row in found.rows] == want
        others += bool(found.voter_note)
    assert others, "no edit of these had another voter chosen, so this shows nothing"
