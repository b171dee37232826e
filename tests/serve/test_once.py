"""What takes long is done once for a version, however many ask; what nobody needs any more is not done."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest
from bases import base, made
from loops import run

from itae.base.errors import UserError
from itae.serve.errors import RefusedError
from itae.serve.know.once import Once


@pytest.fixture
def snapshot(tmp_path):
    kb = base("memory", tmp_path)
    kb.commit(kb.add(made(["a"])))
    return kb.snapshot()


class Work:
    """Work that goes on until it is let go."""

    def __init__(self, told=1):
        self.begun, self.let_go, self.times, self.told = threading.Event(), threading.Event(), 0, told

    def __call__(self):
        self.times += 1
        self.begun.set()
        assert self.let_go.wait(20)
        if isinstance(self.told, Exception):
            raise self.told
        return self.told


async def until(event):
    while not event.is_set():
        await asyncio.sleep(0.001)


def test_many_who_ask_share_one_work_and_no_thread_waits(snapshot):
    once, work = Once(), Work()

    async def main():
        asked = [asyncio.create_task(once.of(snapshot, "x", work)) for _ in range(300)]
        await until(work.begun)
        before = threading.active_count()
        await asyncio.sleep(0.05)
        assert threading.active_count() == before < 20
        work.let_go.set()
        return await asyncio.gather(*asked)

    assert run(main()) == [1] * 300
    assert run(once.of(snapshot, "x", work)) == work.times == 1
    other = Work(2)
    other.let_go.set()
    assert run(once.of(snapshot, "y", other)) == 2
    assert run(once.of(replace(snapshot, memo={}), "x", other)) == 2


def test_what_goes_wrong_is_told_to_all_and_tried_again(snapshot):
    once, work = Once(), Work(UserError("no room"))

    async def main():
        asked = [asyncio.create_task(once.of(snapshot, "x", work)) for _ in range(3)]
        await until(work.begun)
        work.let_go.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    assert [str(error) for error in run(main())] == ["no room"] * 3
    work.told = 5
    assert run(once.of(snapshot, "x", work)) == 5
    assert work.times == 2


def test_who_goes_away_takes_nothing_from_others(snapshot):
    once, work, other = Once(), Work(), Work(2)

    async def main():
        first, second = (asyncio.create_task(once.of(snapshot, "x", work)) for _ in range(2))
        await until(work.begun)
        third, fourth = (asyncio.create_task(once.of(snapshot, "y", other)) for _ in range(2))  # has not begun yet
        await asyncio.sleep(0.01)
        first.cancel()
        third.cancel()
        await asyncio.sleep(0.01)
        work.let_go.set()
        other.let_go.set()
        return await asyncio.wait_for(asyncio.gather(second, fourth), 20)

    assert run(main()) == [1, 2]
    assert (work.times, other.times) == (1, 1)


def test_one_work_goes_on_at_a_time_and_older_ones_give_way(snapshot):
    once, works = Once(), [Work(i) for i in range(4)]
    versions = [snapshot, *(replace(snapshot, memo={}) for _ in range(2))]

    async def main():
        busy = asyncio.create_task(once.of(versions[0], "x", works[0]))
        await until(works[0].begun)
        other = asyncio.create_task(once.of(versions[0], "y", works[3]))
        old = asyncio.create_task(once.of(versions[1], "x", works[1]))
        await asyncio.sleep(0.02)
        new = asyncio.create_task(once.of(versions[2], "x", works[2]))
        await asyncio.sleep(0.05)
        assert [work.times for work in works] == [1, 0, 0, 0]
        with pytest.raises(RefusedError, match="edited since this was asked") as told:
            await old
        assert told.value.status == 503
        for work in works:
            work.let_go.set()
        return await asyncio.gather(busy, new, other)

    assert run(main()) == [0, 2, 3]
    assert [work.times for work in works] == [1, 0, 1, 1]
    assert run(once.of(versions[1], "x", works[1])) == 1
