"""Everything is killed at once, in the middle of work, and started again on the same data."""

import hashlib
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import msgspec
import openai
import pytest
from nats.aio.client import Client
from openai import OpenAI

from schemas import subjects
from services.projector.digest import digest
from services.projector.files import CURRENT
from tests.whole.running import MODEL, Running, folded, listed, message, texts, until

LOAD_ACKS = 300
"""Writes that are acked before the kill."""


class Diary(msgspec.Struct):
    """What one writer was told: in order, and what it never heard of."""

    conversation_id: str = ""
    acked: list[str] = []
    heard: list[str] = []
    """Types of the events of a stream."""
    responses: dict[str, dict[str, Any]] = {}
    created: dict[str, str] = {}
    asked: list[str] = []


Work = Callable[[OpenAI, Diary, str], None]


def plain(client: OpenAI, diary: Diary, text: str) -> None:
    response = client.responses.create(
        model=MODEL, input=text, conversation=diary.conversation_id, store=True
    )
    _told(diary, text, response)


def streamed(client: OpenAI, diary: Diary, text: str) -> None:
    with client.responses.stream(
        model=MODEL, input=text, conversation=diary.conversation_id
    ) as stream:
        _told(diary, text, stream.get_final_response())


def _told(diary: Diary, text: str, response: Any) -> None:
    assert response.status == "completed"
    diary.acked += [text, response.output_text]
    diary.responses[response.id] = response.model_dump(mode="json", exclude={"output_parsed"})


def items(client: OpenAI, diary: Diary, text: str) -> None:
    batch = [f"{text}-{n}" for n in range(3)]
    client.conversations.items.create(
        diary.conversation_id, items=[message(each) for each in batch]
    )
    diary.acked += batch


def conversations(client: OpenAI, diary: Diary, text: str) -> None:
    created = client.conversations.create(metadata={"text": text}, items=[message(text)])
    diary.created[created.id] = text


WORK: dict[str, Work] = {
    "plain-a": plain,
    "plain-b": plain,
    "streamed-a": streamed,
    "streamed-b": streamed,
    "items-a": items,
    "items-b": items,
    "conversations": conversations,
}


def kept_writing(client: OpenAI, name: str, diary: Diary) -> None:
    """Write until the connection is lost."""
    number = 0
    while True:
        text = f"{name}/{number}"
        number += 1
        diary.asked.append(text)
        try:
            WORK[name](client, diary, text)
        except (openai.OpenAIError, httpx2.TransportError, RuntimeError):
            return


def waited_in_vain(client: OpenAI, diary: Diary, *, stream: bool) -> None:
    """One turn that is cut off in its middle, a stream after some words."""
    text = f"[[gate killed{' 3' if stream else ''}]] [[words 40]] slow-{stream}"
    diary.asked.append(text)

    def hear() -> None:
        for event in client.responses.create(
            model=MODEL, input=text, conversation=diary.conversation_id, stream=stream
        ):
            diary.heard.append(event.type)

    with pytest.raises((openai.OpenAIError, httpx2.TransportError)):
        hear()


def test_what_was_acked_survives_a_kill_of_everything(wounded: Running):
    diaries = {name: Diary() for name in (*WORK, "slow-plain", "slow-streamed")}
    with wounded.client(timeout=30) as client:
        for diary in diaries.values():
            diary.conversation_id = client.conversations.create().id
        writers = [
            threading.Thread(target=kept_writing, args=(client, name, diaries[name]))
            for name in WORK
        ]
        for name, stream in (("slow-plain", False), ("slow-streamed", True)):
            writers.append(
                threading.Thread(
                    target=waited_in_vain,
                    args=(client, diaries[name]),
                    kwargs={"stream": stream},
                )
            )
        for writer in reversed(writers):
            writer.start()

        def enough() -> bool:
            acks = sum(len(diary.acked) + len(diary.created) for diary in diaries.values())
            begun = len(wounded.received_with("[[words 40]]")) == 2
            heard = "response.output_text.delta" in diaries["slow-streamed"].heard
            return begun and heard and acks >= LOAD_ACKS

        until(enough)
        wounded.kill9()
        for writer in writers:
            writer.join(30)
            assert not writer.is_alive()

    wounded.open_gate("killed")
    wounded.start()
    _finished(wounded)
    with wounded.client() as client, wounded.http() as http:
        for diary in diaries.values():
            _check(http, diary)
            later = client.responses.create(
                model=MODEL, input="[[say still here]]", conversation=diary.conversation_id
            )
            assert later.output_text == "still here"
    slow = {
        name: wounded.events(diary.conversation_id)
        for name, diary in diaries.items()
        if name.startswith("slow-")
    }
    assert slow["slow-plain"][1:4] == ["turn_requested", "turn_started", "turn_completed"]
    assert slow["slow-streamed"][1:3] == ["turn_requested", "turn_failed"]
    _log_is_sound(wounded)


def _finished(running: Running) -> None:
    """Wait until no turn runs any more; the queue's leases are 10 s."""
    until(lambda: running.turns_waiting() == 0, wait_s=60)
    for commits in running.all_commits().values():
        assert folded(commits).state.running == ()


def _check(http: httpx2.Client, diary: Diary) -> None:
    found = texts(listed(http, diary.conversation_id))
    # What was never acked may be there or not, but only at the end, and whole.
    assert found[: len(diary.acked)] == diary.acked
    unheard = found[len(diary.acked) :]
    assert len(unheard) in {0, 2, 3}
    assert all(diary.asked[-1] in text for text in unheard[:1])
    for response_id, told in diary.responses.items():
        kept = http.get(f"/v1/responses/{response_id}")
        assert kept.status_code == 200
        assert (
            kept.json().items()
            >= {
                name: told[name] for name in ("id", "status", "created_at", "conversation", "model")
            }.items()
        )
        assert [part["text"] for part in kept.json()["output"][0]["content"]] == [
            part["text"] for part in told["output"][0]["content"]
        ]
    for conversation_id, text in diary.created.items():
        kept = http.get(f"/v1/conversations/{conversation_id}")
        assert kept.json()["metadata"] == {"text": text}
        assert texts(listed(http, conversation_id)) == [text]


def _log_is_sound(running: Running) -> None:
    """Every turn was requested once and has ended once; the chain of digests holds."""
    for conversation_id, commits in running.all_commits().items():
        folded(commits)
        events = running.events(conversation_id)
        ends = ("turn_completed", "turn_failed", "turn_cancelled")
        ended = sum(events.count(name) for name in ends)
        assert events.count("turn_requested") == ended


def test_the_views_catch_up_and_equal_those_made_anew(wounded: Running, tmp_path: Path):
    last = wounded.last_sequence()
    assert wounded.sql("SELECT max(sequence) FROM conversations") == [(last,)]
    on_line = wounded.sql(
        "SELECT conversation_id, md5(string_agg(item, chr(10) ORDER BY position)) FROM items "
        "WHERE deleted_at IS NULL AND position IS NOT NULL GROUP BY conversation_id"
    )
    anew = wounded.beside("projector", data_dir=str(tmp_path), log_level="debug")
    until(lambda: anew.lines("batch.projected", sequence=last))
    assert anew.end() == 0
    assert wounded.stop() == 0
    shutil.copy(wounded.data / CURRENT, tmp_path / "old.duckdb")

    old_digest, new_digest = (_digest(tmp_path / name) for name in ("old.duckdb", CURRENT))

    assert old_digest == new_digest
    assert old_digest["sequence"] == str(last)
    assert {"conversations", "items", "turns_ended", "turns_running"} <= old_digest.keys()
    assert len(on_line) > len(WORK)

    (wounded.data / CURRENT).unlink()
    wounded.start()
    commits = wounded.all_commits()
    # Some tests have deleted what they had forged.
    assert sum(map(len, commits.values())) == wounded.on_log(_commits_stored)
    for conversation_id, in_views in on_line:
        state = folded(commits[conversation_id]).state
        from_log = b"\n".join(bytes(item.raw) for item in state.listed(0, descending=False))
        assert in_views == hashlib.md5(from_log).hexdigest()
    assert wounded.sql("SELECT max(sequence) FROM conversations") == [(last,)]
    assert wounded.stop() == 0
    assert _digest(wounded.data / CURRENT) == new_digest


def _digest(path: Path) -> dict[str, str]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return digest(connection)


async def _commits_stored(client: Client) -> int:
    info = await client.jetstream().stream_info(subjects.CONVERSATIONS)
    return info.state.messages
