"""Applications at work on a few dozen conversations, through the unmodified SDK as it comes."""

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import httpx2
import msgspec
import openai
from openai import OpenAI

from tests.whole.running import MODEL, message

CONVERSATIONS_EACH = 3
LOCKED = "conversation_locked"
ENDED = {"completed", "incomplete", "failed", "cancelled"}


class Diary(msgspec.Struct):
    """What the writer of one conversation was told.

    ``acked``: marks of what was acknowledged, in the order it was, those that were asked for at
    once together. ``unknown``: marks of what was not, and may be stored all the same.
    """

    conversation_id: str = ""
    acked: list[list[str]] = []
    unknown: list[str] = []
    deleted: list[str] = []
    responses: dict[str, str] = {}


class Load:
    """Writers in threads, each with conversations of its own."""

    def __init__(self, urls: list[str], *, writers: int) -> None:
        """Every writer changes between the gateways at ``urls``: what one has acked, all show."""
        self._urls = urls
        self._numbers = itertools.count()
        self._stopped = threading.Event()
        self._noting = threading.Lock()
        self.errors: Counter[str] = Counter()
        self.waits_s: list[float] = []
        self.stale: list[str] = []
        self.gaps = 0
        self.acked_at: list[float] = []
        self.diaries = [[Diary() for _ in range(CONVERSATIONS_EACH)] for _ in range(writers)]
        self._pool = ThreadPoolExecutor(writers)
        self._writing: list[Future[None]] = []

    def start(self) -> None:
        """Begin."""
        self._writing = [
            self._pool.submit(self._write, index, own) for index, own in enumerate(self.diaries)
        ]

    def stop(self) -> None:
        """Let everybody finish what they are at."""
        self._stopped.set()
        for writing in self._writing:
            writing.result(180)
        self._pool.shutdown()

    def acks(self) -> int:
        """How much was acknowledged; raises what a writer has met that it does not expect."""
        for writing in self._writing:
            if writing.done():
                writing.result()
        return len(self.acked_at)

    def _write(self, index: int, diaries: list[Diary]) -> None:
        dice = random.Random(index)
        clients = [OpenAI(base_url=f"{url}/v1", api_key="any") for url in self._urls]
        works = (self._add, self._plain, self._streamed, self._background, self._queued, self._edit)
        for diary in diaries:
            diary.conversation_id = clients[0].conversations.create().id
        while not self._stopped.is_set():
            diary, work = dice.choice(diaries), dice.choice(works)
            writes = dice.choice(clients)
            reads = dice.choice([each for each in clients if each is not writes] or clients)
            marks = [f"<{next(self._numbers)}>" for _ in range(2 if work == self._queued else 1)]
            if self._told(work, writes, diary, marks):
                self._told(self._seen, reads, diary, marks)

    def _told(
        self,
        work: Callable[[OpenAI, Diary, list[str]], None],
        client: OpenAI,
        diary: Diary,
        marks: list[str],
    ) -> bool:
        """Whether the work was acknowledged."""
        begun = time.monotonic()
        try:
            work(client, diary, marks)
        except (openai.APIError, httpx2.TransportError) as error:
            if getattr(error, "code", None) == LOCKED:
                # A turn whose answer we never had still runs.
                time.sleep(0.2)
            with self._noting:
                name = f"{type(error).__name__} {getattr(error, 'code', None) or ''}".strip()
                self.errors[f"{work.__name__.strip('_')}: {name}"] += 1
            if work != self._seen:
                diary.unknown += marks
            return False
        with self._noting:
            self.waits_s.append(time.monotonic() - begun)
            self.acked_at.append(time.monotonic())
        if work != self._seen:
            diary.acked.append(marks)
        return True

    def _add(self, client: OpenAI, diary: Diary, marks: list[str]) -> None:
        client.conversations.items.create(diary.conversation_id, items=[message(marks[0])])

    def _edit(self, client: OpenAI, diary: Diary, marks: list[str]) -> None:
        """An item comes and goes."""
        where = diary.conversation_id
        added = client.conversations.items.create(where, items=[message(marks[0])])
        diary.deleted += marks
        try:
            client.conversations.items.delete(added.data[0].id, conversation_id=where)
        except openai.NotFoundError:
            # Deleted by a request whose answer was lost; the SDK has sent it again.
            with self._noting:
                self.errors["edit: deleted before"] += 1
        client.conversations.update(where, metadata={"mark": marks[0]})

    def _plain(self, client: OpenAI, diary: Diary, marks: list[str]) -> None:
        answer = client.responses.create(
            model=MODEL, input=marks[0], conversation=diary.conversation_id
        )
        diary.responses[answer.id] = str(answer.status)

    def _streamed(self, client: OpenAI, diary: Diary, marks: list[str]) -> None:
        told = list(
            client.responses.create(
                model=MODEL, input=marks[0], conversation=diary.conversation_id, stream=True
            )
        )
        ended = told[-1].response
        numbers = [event.sequence_number for event in told]
        assert numbers == sorted(set(numbers))
        # Words that were on their way to a server that died are missed; the end has them all.
        self.gaps += numbers != list(range(len(told)))
        diary.responses[ended.id] = str(ended.status)

    def _background(self, client: OpenAI, diary: Diary, marks: list[str]) -> None:
        answer = client.responses.create(
            model=MODEL, input=marks[0], conversation=diary.conversation_id, background=True
        )
        while answer.status not in ENDED:
            time.sleep(0.05)
            answer = client.responses.retrieve(answer.id)
        diary.responses[answer.id] = str(answer.status)

    def _queued(self, client: OpenAI, diary: Diary, marks: list[str]) -> None:
        """Turns that come at once, each to wait for those before it."""

        def ask(mark: str) -> tuple[str, str]:
            answer = client.responses.create(
                model=MODEL,
                input=mark,
                conversation=diary.conversation_id,
                extra_headers={"Turnlog-Overlap": "queue"},
            )
            return answer.id, str(answer.status)

        with ThreadPoolExecutor(len(marks)) as pool:
            diary.responses.update(list(pool.map(ask, marks)))

    def _seen(self, client: OpenAI, diary: Diary, marks: list[str]) -> None:
        """What was acknowledged is there, whoever is asked."""
        listed = client.conversations.items.list(diary.conversation_id, order="desc", limit=50)
        shown = "".join(item.to_json() for item in listed.data)
        for mark in marks:
            if (mark in shown) == (mark in diary.deleted):
                self.stale.append(f"{mark} {diary.conversation_id}")
