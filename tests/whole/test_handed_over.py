"""A turn whose responder dies or stops goes on at another one, if that can be told."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.whole.running import MODEL, WAIT_S, Running, until


def begun(running: Running, text: str, **given: Any) -> tuple[str, str]:
    """Conversation and response id of a turn in the background whose model was asked."""
    with running.client() as client:
        conversation_id = client.conversations.create().id
        response = client.responses.create(
            model=MODEL, input=text, conversation=conversation_id, background=True, **given
        )
    until(lambda: running.received_with(text))
    return conversation_id, response.id


def test_a_turn_is_handed_over_when_its_responder_stops(wounded: Running):
    with wounded.patient_queue():
        with wounded.halted():
            stopping = wounded.beside("responder")
            stopping.said("responder.started")
            conversation_id, response_id = begun(wounded, "[[hang once]] handed-over")
        assert stopping.end(wait_s=WAIT_S) == 0
        with wounded.client() as client:
            until(lambda: client.responses.retrieve(response_id).status == "completed")
    assert wounded.events(conversation_id)[1:] == [
        "turn_requested",
        "turn_started",
        "turn_completed",
    ]
    assert len(wounded.received_with("handed-over")) == 2


def test_who_waits_behind_the_last_turn_of_a_responder_is_next_elsewhere(wounded: Running):
    with wounded.patient_queue():
        with wounded.halted():
            stopping = wounded.beside("responder", stop_wait_s="40")
            stopping.said("responder.started")
            conversation_id, last_here = begun(wounded, "[[gate last-here]] last-here")
        with wounded.client() as client:
            next_there = client.responses.create(
                model=MODEL,
                input="next-there",
                conversation=conversation_id,
                background=True,
                extra_headers={"Turnlog-Overlap": "queue"},
            ).id
            stopping.process.terminate()
            stopping.said("responder.stopping")
            wounded.open_gate("last-here")
            assert stopping.process.wait(WAIT_S) == 0
            until(lambda: client.responses.retrieve(next_there).status == "completed")
    assert stopping.lines("turn.ended", response_id=last_here, status="completed")
    turns = wounded.fold(conversation_id).state.turns.upwards(0)
    assert [turn.id for turn in turns] == [last_here, next_there]


def test_a_stream_ends_as_failed_when_its_responder_stops(wounded: Running):
    with wounded.client() as client:
        conversation_id = client.conversations.create().id
        events = iter(
            client.responses.create(
                model=MODEL,
                input="[[hang 3]] cut-off",
                conversation=conversation_id,
                stream=True,
            )
        )
        until(lambda: next(events).type == "response.output_text.delta")
        wounded.kill("responder", signal.SIGTERM)
        *_, last = events
    assert last.type == "response.failed"
    assert last.response.error.code == "server_error"
    assert last.response.output[0].status == "incomplete"
    until(lambda: wounded.events(conversation_id)[-1] == "turn_failed")


def test_a_stream_in_the_background_that_lost_its_responder_is_completed(wounded: Running):
    numbers, types = [], []

    def follow() -> Any:
        with wounded.client() as client:
            for event in client.responses.create(
                model=MODEL,
                input="[[words 60]] [[hang 3 once]] told-half",
                stream=True,
                background=True,
            ):
                numbers.append(event.sequence_number)
                types.append(event.type)
            return event

    with ThreadPoolExecutor(1) as pool:
        followed = pool.submit(follow)
        until(lambda: "response.output_text.delta" in types)
        wounded.kill("responder")
        last = followed.result(60)
    assert last.type == "response.completed"
    assert numbers == list(range(len(numbers)))
    assert types.count("response.created") == 1
    with wounded.client() as client:
        kept = client.responses.retrieve(last.response.id)
        assert kept.status == "completed"
        assert kept.output_text == last.response.output_text
        again = list(client.responses.retrieve(last.response.id, stream=True))
    assert [event.type for event in again] == types


def test_what_a_responder_says_that_was_stopped_too_long_is_not_told(wounded: Running):
    words: list[str] = []

    def follow() -> Any:
        with wounded.client() as client:
            for event in client.responses.create(
                model=MODEL,
                input="[[gate stopped]] [[words 80]] stopped-before-its-first-word",
                stream=True,
            ):
                if event.type == "response.output_text.delta":
                    words.append(event.delta)
            return event

    with ThreadPoolExecutor(1) as pool:
        followed = pool.submit(follow)
        until(lambda: wounded.received_with("stopped-before"))
        stopped = wounded.kill("responder", signal.SIGSTOP)
        other = wounded.beside("responder")
        until(lambda: len(wounded.received_with("stopped-before")) == 2)
        os.kill(stopped, signal.SIGCONT)
        wounded.open_gate("stopped")
        last = followed.result(60)
    assert last.type == "response.completed"
    assert "".join(words) == last.response.output_text
    assert other.end() == 0
