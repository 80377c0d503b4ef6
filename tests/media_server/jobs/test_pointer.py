"""media_server/jobs/pointer.py: one at a time, and nobody for ever."""

from __future__ import annotations

import asyncio

import pytest

from media_server.errors import Unavailable
from media_server.jobs import pointer
from media_server.jobs.pointer import pointer_held

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
WITHIN_S = 10.0


async def test_one_after_the_other_changes_a_pointer(embedded) -> None:
    inside, most, turns = 0, 0, 0

    async def change() -> None:
        nonlocal inside, most, turns
        async with pointer_held(embedded.state, TRACK):
            inside += 1
            most = max(most, inside)
            for _ in range(5):
                await asyncio.sleep(0)
            inside -= 1
            turns += 1

    async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as tasks:
        for _ in range(6):
            tasks.create_task(change())
    assert (most, turns) == (1, 6)


async def test_another_track_is_not_held(embedded) -> None:
    held = pointer_held(embedded.state, TRACK)
    async with asyncio.timeout(WITHIN_S), held, pointer_held(embedded.state, "another"):
        pass


async def test_a_job_at_work_on_the_track_does_not_hold_its_pointer(embedded) -> None:
    """A track that is made anew for minutes can be made private meanwhile."""
    assert await embedded.state.acquire(f"track:{TRACK}", 60.0) is not None
    async with asyncio.timeout(WITHIN_S), pointer_held(embedded.state, TRACK):
        pass


async def test_an_error_inside_gives_it_back(embedded) -> None:
    with pytest.raises(ZeroDivisionError):
        async with pointer_held(embedded.state, TRACK):
            raise ZeroDivisionError
    async with asyncio.timeout(WITHIN_S), pointer_held(embedded.state, TRACK):
        pass


async def test_whoever_died_with_it_does_not_hold_it_for_ever(embedded) -> None:
    assert pointer.WAIT_S > pointer.HELD_S
    assert await embedded.state.acquire(f"pointer:{TRACK}", 0.3) is not None
    async with asyncio.timeout(WITHIN_S), pointer_held(embedded.state, TRACK):
        pass


async def test_one_that_stays_busy_is_said_so_that_it_is_tried_again(
    embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pointer, "WAIT_S", 0.2)
    async with pointer_held(embedded.state, TRACK):
        with pytest.raises(Unavailable) as caught:
            async with pointer_held(embedded.state, TRACK):
                pytest.fail("held twice")
    assert caught.value.code == "pointer_busy"
