import asyncio

import pytest

from schemas.http.errors import Invalid
from schemas.http.websocket import Create
from services.gateway.lanes import IN_FLIGHT_MAX, NAMED_LANES_MAX, WAITING_MAX, Lanes

WAIT_S = 5.0


def create(lane: str | None, *, size: int = 1) -> Create:
    return Create(stream_id=lane, fields={}, size=size)


class Desk:
    """Work that goes on until it is told to end."""

    def __init__(self) -> None:
        self.begun: list[str | None] = []
        self.ended: list[str | None] = []
        self._open: dict[str | None, asyncio.Event] = {}
        self.asks = asyncio.Event()
        self.asks.set()

    async def work(self, request: Create, asked: asyncio.Event) -> None:
        self.begun.append(request.stream_id)
        go_on = self._open[request.stream_id] = asyncio.Event()
        await self.asks.wait()
        asked.set()
        await go_on.wait()
        self.ended.append(request.stream_id)

    async def end(self, lane: str | None) -> None:
        self._open[lane].set()
        await settled()


async def settled() -> None:
    """Everything that can run now has run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_lane_is_in_order_and_lanes_are_not_in_each_others_way():
    desk = Desk()
    lanes = Lanes(desk.work, waiting_bytes_max=1000)
    for lane in ("a", "a", "b", None, "b"):
        await lanes.put(create(lane))
    await settled()
    assert desk.begun == ["a", "b", None]
    await desk.end("b")
    await desk.end("b")
    await desk.end("a")
    assert desk.begun == ["a", "b", None, "b", "a"]
    await lanes.close()
    assert desk.ended == ["b", "b", "a"]


async def test_a_lane_that_has_waited_is_next():
    desk = Desk()
    lanes = Lanes(desk.work, waiting_bytes_max=1000)
    for number in range(IN_FLIGHT_MAX):
        await lanes.put(create(f"{number}"))
        await lanes.put(create(f"{number}"))
    await lanes.put(create("late"))
    await settled()
    assert len(desk.begun) == IN_FLIGHT_MAX
    await desk.end("0")
    assert desk.begun[-1] == "late"
    await desk.end("late")
    assert desk.begun[-1] == "0"
    await lanes.close()


async def test_no_lane_is_one_too_many_twice():
    desk = Desk()
    lanes = Lanes(desk.work, waiting_bytes_max=1000)
    for number in range(NAMED_LANES_MAX):
        await lanes.put(create(f"{number}"))
    for _ in range(2):
        with pytest.raises(Invalid) as refused:
            await lanes.put(create("another"))
        assert refused.value.code == "websocket_stream_limit_reached"
    await lanes.put(create(None))
    await lanes.put(create("0"))
    await lanes.close()


@pytest.mark.parametrize(("size", "waiting"), [(1, WAITING_MAX), (400, 2)])
async def test_no_more_is_taken_while_too_much_waits(size: int, waiting: int):
    desk = Desk()
    lanes = Lanes(desk.work, waiting_bytes_max=1000)
    for _ in range(1 + waiting):
        async with asyncio.timeout(WAIT_S):
            await lanes.put(create("a", size=size))
    last = asyncio.create_task(lanes.put(create("a", size=size)))
    await settled()
    assert not last.done()
    await desk.end("a")
    assert last.done()
    crowded = asyncio.create_task(lanes.put(create("a", size=size)))
    await settled()
    assert not crowded.done()
    lanes.stop()
    async with asyncio.timeout(WAIT_S):
        await crowded
    await lanes.close()


async def test_what_has_begun_is_asked_before_its_end_and_nothing_else_begins():
    desk = Desk()
    desk.asks.clear()
    lanes = Lanes(desk.work, waiting_bytes_max=1000)
    for lane in ("a", "a", "b"):
        await lanes.put(create(lane))
    closing = asyncio.create_task(lanes.close())
    await settled()
    assert desk.begun == ["a", "b"]
    assert not closing.done()
    desk.asks.set()
    async with asyncio.timeout(WAIT_S):
        await closing
    assert desk.begun == ["a", "b"]
    assert desk.ended == []


async def test_closed_twice_is_closed():
    lanes = Lanes(Desk().work, waiting_bytes_max=1000)
    await lanes.put(create("a"))
    await lanes.close()
    await lanes.close()
    await lanes.put(create("a"))
