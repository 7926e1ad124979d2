import json
import signal
import subprocess
import time

import httpx2
import pytest
from openai import NotFoundError

from tests.whole.running import MODEL, PYTHON, SESSION, Running, listed, own, until


def test_ctrl_c_stops_everything_soon_and_it_starts_again(wounded: Running):
    with wounded.client() as client, wounded.http() as http:
        conversation = client.conversations.create(metadata={"kept": "yes"})
        first = client.responses.create(model=MODEL, input="x", conversation=conversation.id)
        before = listed(http, conversation.id)
        # A long answer is on its way when everything is told to stop.
        busy = client.conversations.create()
        body = {"model": MODEL, "input": "[[hang 3]]", "conversation": busy.id}
        with http.stream("POST", "/v1/responses", json={**body, "stream": True}) as answer:
            next(answer.iter_lines())
            until(lambda: len(wounded.pids()) == 6)
            begun = time.monotonic()
            status = wounded.stop(signal.SIGINT)
            took_s = time.monotonic() - begun

    assert status == 0
    # Five seconds, unless others are at work on the machine. The answer would go on for ever.
    assert took_s < 10
    assert wounded.pids() == {}
    assert not (wounded.data / "http-url").exists()
    assert not (wounded.data / "nats-url").exists()

    wounded.start()
    with wounded.http() as http, wounded.client() as client:
        assert listed(http, conversation.id) == before
        assert client.responses.retrieve(first.id).output_text == first.output_text
        second = client.responses.create(model=MODEL, input="y", previous_response_id=first.id)
        assert second.status == "completed"
        until(lambda: wounded.events(busy.id)[-1] in {"turn_completed", "turn_failed"})
        later = client.responses.create(model=MODEL, input="z", conversation=busy.id)
        assert later.status == "completed"
    kept = wounded.sql(
        "SELECT conversation_id FROM conversations WHERE metadata ->> 'kept' = 'yes'"
    )
    assert kept == [(conversation.id,)]


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

        assert client.models.retrieve("simulator").to_dict() in [
            model.to_dict() for model in client.models.list()
        ]
        with pytest.raises(NotFoundError) as unknown:
            client.models.retrieve("no/such")

    assert found == ["simulator", "simulator-reasoning", "simulator-forgetful"]
    assert unknown.value.body == {
        "message": "The model 'no/such' does not exist.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    assert httpx2.get(f"{shared.url}/v1/models").headers["x-request-id"].startswith("req_")
