import json
import signal
import subprocess
import time
from collections.abc import Callable

import httpx2

from tests.whole.running import MODEL, PYTHON, SESSION, Running, listed, own, until


def test_ctrl_c_stops_everything_within_five_seconds_and_it_starts_again(
    instance: Callable[..., Running],
):
    running = instance()
    with running.client() as client:
        conversation = client.conversations.create(metadata={"kept": "yes"})
        first = client.responses.create(model=MODEL, input="x", conversation=conversation.id)
        assert first.status == "completed"
    with running.http() as http:
        before = listed(http, conversation.id)
    assert len(running.pids()) == 6

    begun = time.monotonic()
    status = running.stop(signal.SIGINT)
    took_s = time.monotonic() - begun

    assert status == 0
    assert took_s < 5
    assert running.pids() == {}
    assert not (running.data / "http-url").exists()
    assert not (running.data / "nats-url").exists()

    running.start()
    with running.http() as http, running.client() as client:
        assert listed(http, conversation.id) == before
        assert client.responses.retrieve(first.id).output_text == first.output_text
        second = client.responses.create(
            model=MODEL, input="y", previous_response_id=first.id
        )
        assert second.status == "completed"
    assert running.sql("SELECT metadata ->> 'kept' FROM conversations WHERE NOT hidden") == [
        ("yes",)
    ]


def test_ctrl_c_during_turns_stops_in_time_and_loses_none(instance: Callable[..., Running]):
    running = instance()
    with running.client() as client:
        conversation = client.conversations.create()
    body = {"model": MODEL, "input": "[[delay 0.1]] [[words 200]]", "conversation": conversation.id}
    with running.http() as http:
        with http.stream("POST", "/v1/responses", json={**body, "stream": True}) as answer:
            next(answer.iter_lines())
        begun = time.monotonic()
        assert running.stop(signal.SIGINT) == 0
        assert time.monotonic() - begun < 5

    running.start()
    until(lambda: running.events(conversation.id)[-1] in {"turn_completed", "turn_failed"})
    with running.client() as client:
        later = client.responses.create(model=MODEL, input="y", conversation=conversation.id)
        assert later.status == "completed"


def test_the_demo_runs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [*PYTHON, "services.cli", "demo"],
        env=own(SESSION),
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "conversation_compacted" in done.stdout
    assert "The window shrank from " in done.stdout
    assert "simulator" in done.stdout.rpartition("turnlog sql")[2]
    assert list(directory.iterdir()) == []


def test_the_command_sql_asks_the_views_of_a_running_turnlog(shared: Running):
    told = subprocess.run(
        [*PYTHON, "services.cli", "sql", "SELECT 41 + 1 AS answer"],
        env=own(shared.mark, TURNLOG_DATA_DIR=str(shared.data)),
        cwd=shared.directory,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert told.returncode == 0, told.stderr
    assert "42" in told.stdout


def test_the_command_events_tells_a_conversations_story(shared: Running):
    with shared.client() as client:
        conversation = client.conversations.create(metadata={"topic": "story"})
        client.responses.create(model=MODEL, input="hush", conversation=conversation.id)
    told = [
        subprocess.run(
            [*PYTHON, "services.cli", "events", conversation.id, *more],
            env=own(shared.mark, TURNLOG_DATA_DIR=str(shared.data)),
            cwd=shared.directory,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
        for more in ((), ("--json",))
    ]

    assert "topic=story" in told[0]
    assert "hush" not in told[0]
    assert [line.split()[3] for line in told[0].splitlines()] == shared.events(conversation.id)
    assert "hush" in told[1]
    assert all(json.loads(line)["events"] for line in told[1].splitlines())


def test_models_are_those_of_the_upstream(shared: Running):
    with shared.client() as client:
        found = [model.id for model in client.models.list()]

    assert found == ["simulator", "simulator-reasoning"]
    assert httpx2.get(f"{shared.url}/v1/models").headers["x-request-id"].startswith("req_")
