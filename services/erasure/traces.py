"""Where else than in the log something of a conversation may be kept."""

from collections.abc import Iterable

import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import claims, repeats, subjects
from schemas.ids import conversation_of
from services.journal.overwriting import overwrite
from services.journal.parked import Parked
from services.journal.patience import patiently
from services.journal.reading import Reader, sequence_of


class Traces:
    """Messages of a conversation on the streams of one server."""

    def __init__(self, client: Client, *, wait_s: float = 5.0) -> None:
        """``wait_s`` bounds each request, and twice that what is asked again."""
        self._client = client
        self._reader = Reader(client, wait_s=wait_s)
        self._wait_s = wait_s

    async def requests(self, project: str, conversation_id: str) -> list[Msg]:
        """Turn requests that wait, or whose turns run."""
        subject = subjects.turn_request(project, conversation_id)
        return await self._reader.read(subjects.TURN_REQUESTS, subject, after=0)

    async def deltas(
        self, project: str, conversation_id: str, responses: Iterable[str]
    ) -> list[Msg]:
        """What its turns said; ``responses`` are those that are known by their ids alone."""
        known = set(responses)
        found: list[Msg] = []
        for subject in await self._told(project):
            response_id = subject.rpartition(".")[2]
            if response_id in known or conversation_of(response_id) == conversation_id:
                found += await self._reader.read(subjects.DELTAS, subject, after=0)
        return found

    async def claims(self, project: str, conversation_id: str) -> list[Msg]:
        """Idempotency keys that stand for something in it."""
        found = await self._all(subjects.CLAIMS, subjects.claim(project, subjects.ANY))
        return [
            each for each in found if claims.decode(each.data).conversation_id == conversation_id
        ]

    async def marks(self, project: str, conversation_id: str) -> list[Msg]:
        """Marks of requests for something in it."""
        found = await self._all(subjects.REPEATS, subjects.repeat(project, subjects.ANY))
        return [
            each for each in found if repeats.decode(each.data).conversation_id == conversation_id
        ]

    async def parked(self, project: str, conversation_id: str) -> list[int]:
        """Sequences of parked messages that were on a subject of its."""
        own = {
            subjects.conversation(project, conversation_id),
            subjects.turn_request(project, conversation_id),
        }
        return [each.sequence async for each in Parked(self._client).all() if each.subject in own]

    async def delete(self, stream: str, messages: Iterable[Msg | int]) -> int:
        """Delete messages, and overwrite them on disk; how many there were."""
        count = 0
        for each in messages:
            sequence = each if isinstance(each, int) else sequence_of(each)
            await overwrite(self._client, stream, sequence, wait_s=self._wait_s)
            count += 1
        return count

    async def _all(self, stream: str, subject: str) -> list[Msg]:
        return await self._reader.read(stream, subject, after=0)

    async def _told(self, project: str) -> list[str]:
        """Subjects of what is kept of turns."""
        wanted = subjects.delta(project, subjects.ANY)

        async def once(_attempt_s: float) -> list[str]:
            js = self._client.jetstream()
            try:
                info = await js.stream_info(subjects.DELTAS, subjects_filter=wanted)
            except nats.js.errors.NotFoundError:
                return []
            return sorted(info.state.subjects or {})

        return await patiently(once, wait_s=2 * self._wait_s)
