"""How long the example questions take: ``turnlog bench --scenario sql``.

They are asked of views of a made-up log with as many items as are wanted, which is projected but
never stored: what answers is DuckDB alone. Two months of conversations of users who come again.
"""

import functools
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from schemas import envelope, events, queries
from schemas.http.responses import Usage
from services import clock
from services.bench.load import BenchFailed
from services.bench.report import Measure, figures
from services.conversation.state import NEW, evolve
from services.projector import query
from services.projector.database import Database
from services.projector.facts import Message
from services.projector.listing import listed
from services.projector.settings import ProjectorSettings

QUERIES = Path(__file__).parents[2] / "deploy" / "queries"
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 60
TURNS = 10
FIRST_ITEMS = 10
CALLS = 3
"""Of a conversation's turns, so many call a tool: three more items."""
COMPACTED, COMPACTED_SHARE = 4, 0.3
"""After which turn, and in which share of conversations, a summary is made."""
ITEMS = FIRST_ITEMS + 2 * TURNS + 2 * CALLS
REPEATS = 5
BATCH = 5_000
MODELS = ("gpt-5", "gpt-5-mini", "gpt-4.1", "simulator")
PROJECTS = ("default", "acme", "trial")
TOOLS = ("look_up", "refund", "search")

Progress = Callable[[str], None]


def sql(folder: Path, *, seed: int, items: int, say: Progress) -> Iterator[Measure]:
    """Each question several times, and searches for a text that is there and one that is not."""
    paths = sorted(QUERIES.glob("*.sql"))
    if not paths:
        raise BenchFailed(f"the example questions are not there: {QUERIES}")
    database = Database(folder / "sql.duckdb", ProjectorSettings(data_dir=str(folder)))
    try:
        say(f"sql: making views of {items:,} items")
        _fill(database, seed=seed, conversations=max(1, items // ITEMS))
        cursor = database.cursor()
        ((held,),) = cursor.execute("SELECT count(*) FROM items").fetchall()
        cursor.close()
        detail = f"{held:,} items"
        for path in paths:
            work = functools.partial(_answer, database, path.read_text())
            yield _measure(f"sql {path.stem}", work, detail=detail)
        for name, text in (("found", "refund"), ("not found", "nobody says this")):
            asked = queries.Listing(project=PROJECTS[0], text=text)
            work = functools.partial(_list, database, asked)
            yield _measure(f"text {name}", work, detail=detail)
    finally:
        database.close()


def _measure(name: str, work: Callable[[], int], *, detail: str) -> Measure:
    rows, samples = 0, []
    begun = clock.monotonic()
    for _ in range(REPEATS):
        started = clock.monotonic()
        rows = work()
        samples.append(clock.monotonic() - started)
    found = figures(samples, elapsed_s=clock.monotonic() - begun)
    return Measure(name=name, clients=1, figures=found, detail=f"{detail}, {rows:,} rows")


def _answer(database: Database, statement: str) -> int:
    answer = query.run(database.cursor(), statement, rows_max=10_000, bytes_max=2**24)
    return len(msgspec.json.decode(answer, type=queries.SqlAnswer).rows)


def _list(database: Database, asked: queries.Listing) -> int:
    return len(listed(database.cursor(), asked).conversations)


def _fill(database: Database, *, seed: int, conversations: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - made up, and the same every time
    words = TOOLS + MODELS + ("please", "order", "where", "broken", "thanks", "number", "again")
    batch: list[Message] = []
    sequence = 0
    for number in range(conversations):
        for headers, payload in _conversation(dice, number, words):
            sequence += 1
            batch.append(Message(sequence, headers, payload))
        if len(batch) >= BATCH or number == conversations - 1:
            database.apply(batch, log="bench")
            batch = []


def _conversation(
    dice: random.Random, number: int, words: tuple[str, ...]
) -> Iterator[tuple[bytes, bytes]]:
    """The commits of one conversation, as header blocks and payloads."""
    project, model = dice.choice(PROJECTS), dice.choice(MODELS)
    at = BEGUN + timedelta(seconds=dice.random() * DAYS * 86_400)
    conversation_id = f"conv_{number:032x}"
    state = NEW
    for count, (seconds, happened) in enumerate(_story(dice, number, words, model)):
        at += timedelta(seconds=seconds)
        for event in happened:
            state = evolve(state, event, at=at, sequence=count)
        commit = envelope.Commit(
            id=f"{number}-{count}",
            conversation_id=conversation_id,
            project=project,
            at=at,
            actor="bench",
            prev=None if count == 0 else "0" * 64,
            events=tuple(envelope.pack(event) for event in happened),
        )
        told = envelope.headers(commit, state.outline())
        block = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        yield f"NATS/1.0\r\n{block}\r\n".encode(), envelope.encode(commit)


def _story(
    dice: random.Random, number: int, words: tuple[str, ...], model: str
) -> Iterator[tuple[float, tuple[events.Event, ...]]]:
    """Seconds since the commit before, and its events."""
    said = functools.partial(_message, dice, words)
    first = [said(f"msg_{number}_{n}", "user") for n in range(FIRST_ITEMS)]
    user = {"user_id": f"user_{dice.randrange(1 + number // 3)}"}
    yield 0.0, (events.ConversationCreated(hidden=False, metadata=user), _added(first))
    brought = [said(f"in_{number}", "user")]
    for turn in range(TURNS):
        response_id = f"resp_{number:032x}{turn:018x}"
        yield dice.expovariate(1 / 60), (_requested(response_id, model, brought),)
        answer = [said(f"out_{number}_{turn}", "assistant")]
        brought = [said(f"in_{number}_{turn}", "user")]
        if turn < CALLS:
            call_id = f"call_{number}_{turn}"
            answer.append(_call(dice, call_id))
            brought.append(_output(dice, call_id))
        yield dice.expovariate(1 / 4), (_completed(dice, response_id, model, answer),)
        if turn == COMPACTED and dice.random() < COMPACTED_SHARE:
            yield 1.0, (_compacted(number, covered=FIRST_ITEMS, before=dice.randrange(900, 9_000)),)


def _added(items: list[bytes]) -> events.ItemsAdded:
    return events.ItemsAdded(
        items=tuple(map(msgspec.Raw, items)), tokens=tuple(len(item) // 4 for item in items)
    )


def _compacted(number: int, *, covered: int, before: int) -> events.ConversationCompacted:
    item = f'{{"id":"cmp_{number}","type":"compaction","encrypted_content":"sealed"}}'
    return events.ConversationCompacted(
        item=msgspec.Raw(item.encode()),
        tokens=100,
        summary="What was said.",
        covered=covered,
        kept=(),
        method="summary",
        tokens_before=before,
        tokens_after=before // 3,
    )


def _requested(response_id: str, model: str, items: list[bytes]) -> events.TurnRequested:
    return events.TurnRequested(
        response_id=response_id,
        model=model,
        items=tuple(map(msgspec.Raw, items)),
        tokens=tuple(len(item) // 4 for item in items),
        parameters=msgspec.Raw(b"{}"),
        on_line=True,
        parent=None,
        store=True,
    )


def _completed(
    dice: random.Random, response_id: str, model: str, items: list[bytes]
) -> events.TurnCompleted:
    usage = Usage(input_tokens=dice.randrange(100, 9_000), output_tokens=dice.randrange(5, 900))
    return events.TurnCompleted(
        response_id=response_id,
        status="completed",
        items=tuple(map(msgspec.Raw, items)),
        tokens=tuple(len(item) // 4 for item in items),
        usage=msgspec.Raw(msgspec.json.encode(usage)),
        model=model,
    )


def _message(dice: random.Random, words: tuple[str, ...], item_id: str, role: str) -> bytes:
    text = " ".join(dice.choices(words, k=dice.randrange(5, 60)))
    kind = "output_text" if role == "assistant" else "input_text"
    return (
        f'{{"id":"{item_id}","type":"message","role":"{role}","status":"completed",'
        f'"content":[{{"type":"{kind}","text":"{text}"}}]}}'
    ).encode()


def _call(dice: random.Random, call_id: str) -> bytes:
    return (
        f'{{"id":"fc_{call_id}","type":"function_call","call_id":"{call_id}",'
        f'"name":"{dice.choice(TOOLS)}","arguments":"{{}}","status":"completed"}}'
    ).encode()


def _output(dice: random.Random, call_id: str) -> bytes:
    said = r"{\"error\":\"no such order\"}" if dice.random() < 0.1 else "done"  # noqa: PLR2004
    return (
        f'{{"id":"fco_{call_id}","type":"function_call_output","call_id":"{call_id}",'
        f'"output":"{said}","status":"completed"}}'
    ).encode()
