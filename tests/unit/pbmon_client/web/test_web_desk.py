"""The desk: one piece of work at a time, those first that somebody waits for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pbmon_client.web.desk import BusyError, Desk, WithdrawnError


def test_what_somebody_waits_for_is_done_before_what_waited_longer() -> None:
    done: list[str] = []
    gate = threading.Event()

    async def run() -> None:
        desk = Desk()
        held = asyncio.create_task(desk.do(gate.wait))
        await asyncio.sleep(0)
        ticks = [asyncio.create_task(desk.do(lambda: done.append("tick"))) for _ in range(3)]
        await asyncio.sleep(0)
        wish = asyncio.create_task(desk.do(lambda: done.append("wish"), first=True))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(held, *ticks, wish)
        desk.close()

    asyncio.run(run())
    assert done == ["wish", "tick", "tick", "tick"]


def test_what_its_owner_withdraws_is_not_done_and_holds_up_nobody() -> None:
    done: list[str] = []
    gate, began = threading.Event(), threading.Event()
    one, other = object(), object()

    def hold() -> None:
        began.set()
        gate.wait()
        done.append("held")

    async def run() -> None:
        desk = Desk()
        held = asyncio.create_task(desk.do(hold, owner=one))
        while not began.is_set():
            await asyncio.sleep(0.001)
        mine = asyncio.create_task(desk.do(lambda: done.append("mine"), owner=one))
        theirs = asyncio.create_task(desk.do(lambda: done.append("theirs"), owner=other))
        await asyncio.sleep(0)
        desk.withdraw(one)
        with pytest.raises(WithdrawnError):  # although the thread is busy
            await mine
        gate.set()
        await asyncio.gather(held, theirs)  # what had begun is done
        assert await desk.do(lambda: 7) == 7
        desk.close()

    asyncio.run(run())
    assert done == ["held", "theirs"]


def test_work_that_fails_or_is_given_up_leaves_the_desk_free() -> None:
    async def run() -> None:
        desk = Desk()
        with pytest.raises(ZeroDivisionError):
            await desk.do(lambda: 1 / 0)
        gate = threading.Event()
        held = asyncio.create_task(desk.do(gate.wait))
        given_up = asyncio.create_task(desk.do(lambda: None))
        await asyncio.sleep(0)
        given_up.cancel()
        gate.set()
        await held
        assert await desk.do(lambda: 7) == 7
        desk.close()

    asyncio.run(run())


def test_too_much_at_once_is_refused() -> None:
    async def run() -> None:
        desk = Desk()
        gate = threading.Event()
        tasks = [asyncio.create_task(desk.do(gate.wait)) for _ in range(300)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await desk.do(lambda: None)
        gate.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(each, BusyError) for each in answers) >= 90
        desk.close()

    asyncio.run(run())
