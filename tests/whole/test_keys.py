"""Who comes in with which API key, to do what, and until when."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import AuthenticationError, PermissionDeniedError
from websockets.exceptions import ConnectionClosed, InvalidStatus

from schemas.api_keys import ADMIN, READ, SCOPES, WRITE
from schemas.http.operation import Operation
from schemas.http.operations import OPERATIONS
from schemas.http.scopes import OPERATION_SCOPES, allows
from services import clock, key_secrets
from tests.whole.keyed import id_of, make, revoke
from tests.whole.running import MODEL, Running, another_gateway, begin_gateway, until
from tests.whole.test_streaming import FRAME
from tests.whole.wire import Wire, wired

SOON_S = 1.0
"""Seconds within which a key that is made, or revoked, counts everywhere."""
LATE_S = 20.0
"""The same on a machine that has far more to do."""
TURNLOG = str(Path(sys.executable).with_name("turnlog"))
INCORRECT = {
    "message": "Incorrect API key provided. It is unknown, was revoked, or has expired.",
    "type": "invalid_request_error",
    "param": None,
    "code": "invalid_api_key",
}
MISSING = {
    "message": "You didn't provide an API key. You need to provide your API key in an "
    "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
    "type": "invalid_request_error",
    "param": None,
    "code": None,
}
LONG = "[[gate revoked 3]]"
"""An answer that goes on only once its key was revoked."""


def turnlog(running: Running, *arguments: str) -> str:
    said = subprocess.run(
        [TURNLOG, *arguments, "--data-dir", str(running.data)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return said.stdout


def status(running: Running, key: str | None, *, url: str | None = None) -> int:
    with running.http(url, key=key) as http:
        return http.get("/v1/conversations/conv_absent").status_code


def lets_in(running: Running, key: str, *, url: str | None = None) -> None:
    """Wait until it does; a gateway that cannot tell yet says 401."""
    until(lambda: status(running, key, url=url) == 404, wait_s=LATE_S)


def refusal(answer: httpx2.Response) -> tuple[int, dict[str, Any]]:
    return answer.status_code, answer.json()["error"]


def ended(wire: Wire) -> tuple[int, int, str | None]:
    """How a connection was closed, and the status and code of the error that was told before."""
    try:
        while wire.frame():
            pass
    except ConnectionClosed as closed:
        code = closed.rcvd.code if closed.rcvd else 0
    last = wire.heard[-1]
    return code, last["status"], last["error"]["code"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One instance that has no key before the first test makes one."""
    running = Running(tmp_path_factory.mktemp("alone"), tokens_budget="0")
    try:
        yield running.start()
    finally:
        running.end()


@pytest.fixture
def reader(keyed: Running) -> str:
    key = make(keyed, scope=READ)
    lets_in(keyed, key)
    return key


@pytest.fixture
def writer(keyed: Running) -> str:
    key = make(keyed, scope=WRITE)
    lets_in(keyed, key)
    return key


def path_of(row: Operation) -> str:
    return re.sub(
        r"{(\w+)}",
        lambda name: {"response_id": f"resp_{'0' * 50}", "model": MODEL}.get(name[1], "conv_a"),
        row.path,
    )


def test_a_key_made_by_command_comes_in_and_is_shown_once(keyed: Running):
    arguments = ("--project", "shop-1", "--name", "of a test", "--rpm", "600")
    key = turnlog(keyed, "keys", "create", *arguments).strip()
    assert re.fullmatch(r"tl-shop-1-[0-9a-f]{12}-[A-Za-z0-9]{43}", key)
    secret = key.rpartition("-")[2]
    lets_in(keyed, key)
    with keyed.client(key=key) as client:
        assert client.conversations.create().id

    listed = turnlog(keyed, "keys", "list", "--project", "shop-1")
    assert id_of(key) in listed
    assert "of a test" in listed
    told = turnlog(keyed, "keys", "list", "--project", "shop-1", "--json")
    (shown,) = json.loads(told)
    assert (shown["id"], shown["project"], shown["scope"]) == (id_of(key), "shop-1", WRITE)
    assert (shown["state"], shown["requests_per_minute"]) == ("stands", 600)
    assert secret not in listed + told
    assert "argon2" not in told

    # The whole key names itself as well.
    assert turnlog(keyed, "keys", "revoke", key) == f"{id_of(key)}  revoked\n"
    assert turnlog(keyed, "keys", "revoke", id_of(key)) == f"{id_of(key)}  revoked\n"
    until(lambda: status(keyed, key) == 401, wait_s=LATE_S)
    assert json.loads(turnlog(keyed, "keys", "list", "--project", "shop-1", "--json")) == []
    told = turnlog(keyed, "keys", "list", "--project", "shop-1", "--all", "--json")
    assert [each["state"] for each in json.loads(told)] == ["revoked"]


def test_a_key_can_be_made_for_a_while_and_read_by_programs(keyed: Running):
    made = json.loads(
        turnlog(keyed, "keys", "create", "--scope", "read", "--expires", "2s", "--json")
    )
    assert made["project"] == "default"
    until(lambda: status(keyed, made["key"]) == 401, wait_s=30)

    told = json.loads(turnlog(keyed, "keys", "list", "--all", "--json"))
    assert {each["id"]: each["state"] for each in told}[made["id"]] == "expired"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["create", "--project", "a.b"], "1 to 64 letters"),
        (["create", "--project", "*"], "1 to 64 letters"),
        (["create", "--scope", "root"], "'root' is not one of"),
        (["create", "--expires", "tomorrow"], "12h, 30d"),
        (["create", "--expires", "0d"], "12h, 30d"),
        (["create", "--all-projects"], "--all-projects is for --scope admin"),
        (["revoke", "0123456789ab"], "no key with the id '0123456789ab'"),
    ],
)
def test_what_no_key_can_be_is_said(keyed: Running, arguments: list[str], word: str):
    said = subprocess.run(
        [TURNLOG, "keys", *arguments, "--data-dir", str(keyed.data)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert said.returncode
    assert word in said.stderr


def test_who_has_no_key_is_told_as_openai_tells_it(keyed: Running):
    with keyed.http() as http:
        answer = http.post("/v1/responses", json={})
        assert refusal(answer) == (401, MISSING)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["x-request-id"].startswith("req_")
        basic = http.get("/v1/models", headers={"Authorization": "Basic dTpw"})
        assert refusal(basic) == (401, MISSING)
        assert refusal(http.get("/nowhere")) == (401, MISSING)
    with keyed.client(key="sk-wrong") as client, pytest.raises(AuthenticationError) as refused:
        client.responses.create(model=MODEL, input="hello")
    assert refused.value.code == "invalid_api_key"


def test_every_wrong_key_is_told_the_same(keyed: Running, writer: str):
    hint, key_id, secret = writer.rsplit("-", 2)
    wrong = {
        "another secret": f"{hint}-{key_id}-{key_secrets.fresh_secret()}",
        "another id": f"{hint}-{'0' * 12}-{secret}",
        "another hint": f"tl-other-{key_id}-{secret}",
        "a part": writer[:-1],
        "more": writer + "0",
        "long": "tl-" + "a" * 300,
        "a space": f"{hint} {key_id}-{secret}",
    }
    with keyed.http() as http:
        for name, key in wrong.items():
            for _ in range(2):
                answer = http.get("/v1/models", headers={"Authorization": f"Bearer {key}"})
                assert refusal(answer) == (401, INCORRECT), name
        twice = [("Authorization", f"Bearer {writer}"), ("Authorization", f"Bearer {writer}")]
        assert refusal(http.get("/v1/models", headers=twice)) == (401, INCORRECT)
        assert (
            http.get("/v1/models", headers={"Authorization": f"bearer {writer}"}).status_code == 200
        )


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_does_what_its_scope_allows_and_nothing_else(keyed: Running, scope: Any):
    key = make(keyed, scope=scope, all_projects=scope == ADMIN)
    lets_in(keyed, key)
    with keyed.http(key=key) as known, keyed.http() as stranger:
        for row in OPERATIONS:
            needed, path = OPERATION_SCOPES[row.id], path_of(row)
            # Nothing that is said here is right: what matters is how far it comes.
            answer = known.request(row.method, path, content=b"[]")
            if needed is None or allows(scope, needed):
                assert answer.status_code not in {401, 403}, row.id
            else:
                assert refusal(answer) == (
                    403,
                    {
                        "message": "You have insufficient permissions for this operation. "
                        f"Missing scopes: {needed}.",
                        "type": "invalid_request_error",
                        "param": None,
                        "code": "missing_scope",
                    },
                ), row.id
            expected = {401} if needed else {200}
            assert stranger.request(row.method, path).status_code in expected, row.id


def test_a_websocket_needs_a_key_that_may_write(keyed: Running, reader: str, writer: str):
    for key, expected in (("wrong", 401), (reader, 403)):
        with (
            pytest.raises(InvalidStatus) as refused,
            wired(keyed.url, additional_headers={"Authorization": f"Bearer {key}"}),
        ):
            pass
        assert refused.value.response.status_code == expected
    with keyed.client(key=reader) as client, pytest.raises(PermissionDeniedError):
        client.responses.create(model=MODEL, input="hello")
    with wired(keyed.url, additional_headers={"Authorization": f"Bearer {writer}"}) as wire:
        assert wire.response("hello")["status"] == "completed"


def test_what_a_revoked_key_has_open_ends_and_its_turns_do_not(keyed: Running):
    key, other = make(keyed), make(keyed)
    header = {"Authorization": f"Bearer {key}"}
    lets_in(keyed, key)
    lets_in(keyed, other)
    body = {"model": MODEL, "input": LONG}
    with (
        another_gateway(keyed, log_level="debug") as second,
        keyed.http(key=key) as http,
        keyed.http(second, key=key) as http_of_second,
        ThreadPoolExecutor(4) as pool,
        ExitStack() as opened,
        wired(keyed.url, additional_headers=header) as wire,
        wired(second, additional_headers=header) as quiet,
    ):
        conversation_id = http.post("/v1/conversations", json={}).json()["id"]
        streams = [
            opened.enter_context(
                each.stream("POST", "/v1/responses", json={**body, "stream": True, **more})
            )
            for each, more in (
                (http, {"conversation": conversation_id}),
                (http_of_second, {}),
            )
        ]
        wire.ask(LONG)
        assert wire.frame()["type"] == "response.created"
        plain = pool.submit(
            http.post, "/v1/responses", json={**body, "input": "[[gate revoked]] late"}
        )
        until(lambda: keyed.received_with("[[gate revoked]] late"))

        begun = time.monotonic()
        revoke(keyed, key)
        assert refusal(plain.result()) == (401, INCORRECT)
        for stream in streams:
            events = [json.loads(data) for _, data in FRAME.findall(stream.read())]
            assert [each["sequence_number"] for each in events] == list(range(len(events)))
            last = events[-1]
            assert (last["type"], last["code"]) == ("error", "invalid_api_key")
        for socket in (wire, quiet):
            assert ended(socket) == (1008, 401, "invalid_api_key")
        assert time.monotonic() - begun < LATE_S
        assert status(keyed, key) == status(keyed, key, url=second) == 401
    keyed.open_gate("revoked")
    with keyed.client(key=other) as client:
        until(lambda: len(client.conversations.items.list(conversation_id).data) == 2)


def test_a_key_that_expires_ends_what_is_open(keyed: Running):
    key = make(keyed, expires_at=clock.now() + timedelta(seconds=8))
    lets_in(keyed, key)
    with wired(keyed.url, additional_headers={"Authorization": f"Bearer {key}"}) as wire:
        assert ended(wire) == (1008, 401, "invalid_api_key")
    assert status(keyed, key) == 401


def test_a_flood_of_guesses_keeps_nobody_out_who_is_known(keyed: Running, writer: str):
    target = make(keyed)
    hint, key_id, _ = target.rsplit("-", 2)
    with (
        ThreadPoolExecutor(24) as pool,
        keyed.http(key=writer) as known,
        httpx2.Client(base_url=keyed.url, timeout=60) as flood,
    ):

        def guess(_number: int) -> int:
            key = f"{hint}-{key_id}-{key_secrets.fresh_secret()}"
            return flood.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code

        guesses = pool.map(guess, range(600))
        took = []
        for _ in range(20):
            begun = time.monotonic()
            assert known.get("/v1/conversations/conv_absent").status_code == 404
            took.append(time.monotonic() - begun)
        # Hashed, or not now.
        assert set(guesses) <= {401, 503}
    assert sorted(took)[len(took) // 2] < SOON_S
    lets_in(keyed, target)


def test_no_key_is_in_any_log_error_or_header(keyed: Running, writer: str):
    secrets = [writer.rpartition("-")[2], key_secrets.fresh_secret(), "sk-proj-0123456789abcdef"]
    with keyed.http() as http:
        for key in (writer, f"{writer[:-43]}{secrets[1]}", secrets[2]):
            header = {"Authorization": f"Bearer {key}"}
            for path in ("/v1/models", "/v1/nowhere", f"/v1/conversations/{key}", "/v1/responses"):
                answer = http.post(path, headers=header, content=b"{")
                # What was part of the path is told as that.
                assert key in path or not any(secret in answer.text for secret in secrets)
                assert not any(secret in str(answer.headers) for secret in secrets)
    with (
        pytest.raises(InvalidStatus),
        wired(keyed.url, additional_headers={"Authorization": f"Bearer {secrets[2]}"}),
    ):
        pass
    written = b"".join(path.read_bytes() for path in keyed.directory.glob("*.log"))
    written += (keyed.data / "nats-server.log").read_bytes()
    assert b"request.answered" in written
    assert id_of(writer).encode() in written
    assert [each for each in secrets[:2] if each.encode() in written] == []
    assert b"/v1/models" in written


def test_the_first_key_counts_at_once(alone: Running):
    assert status(alone, None) == 404
    assert status(alone, "anything") == 404
    with wired(alone.url) as wire:
        assert wire.response("hello")["status"] == "completed"
        begun = time.monotonic()
        key = make(alone)
        until(lambda: status(alone, None) == 401)
        assert time.monotonic() - begun < LATE_S
        assert ended(wire) == (1008, 401, "invalid_api_key")
    lets_in(alone, key)
    revoke(alone, key)
    until(lambda: status(alone, key) == 401)
    # Where there was a key once, nobody comes in without one.
    assert status(alone, None) == 401


def test_known_keys_come_in_while_the_log_is_away(alone: Running):
    key, late = make(alone), "tl-acme-0123456789ab-" + "a" * 43
    lets_in(alone, key)
    hint, key_id, _ = key.rsplit("-", 2)
    with alone.http(key=key) as http:

        def models(of: str) -> int:
            return http.get("/v1/models", headers={"Authorization": f"Bearer {of}"}).status_code

        assert models(late) == 401
        alone.kill("nats-server", signal.SIGSTOP)
        try:
            until(lambda: models(late) == 503)
            answer = http.get("/v1/models", headers={"Authorization": f"Bearer {late}"})
            assert answer.headers["retry-after"] == "1"
            assert models(key) == 200
            assert models("sk-nothing-of-ours") == 401
            assert models(f"{hint}-{key_id}-{key_secrets.fresh_secret()}") == 401
        finally:
            alone.kill("nats-server", signal.SIGCONT)
        until(lambda: models(late) == 401)
        lets_in(alone, make(alone))


def test_with_keys_other_machines_may_come_in(alone: Running):
    key = make(alone)
    alone.stop()
    alone.variables["TURNLOG_HOST"] = "0.0.0.0"
    alone.start()
    assert alone.url.startswith("http://127.0.0.1:")
    assert (status(alone, None), status(alone, key)) == (401, 404)


def test_a_gateway_lets_no_other_machine_in_without_keys(shared: Running):
    refused = shared.beside("gateway", host="0.0.0.0", port="0")
    assert refused.process.wait(60) == 2
    assert "--host 0.0.0.0 lets other machines in, and there are no API keys" in (
        refused.log_path.read_text()
    )
    url, child = begin_gateway(shared, host="0.0.0.0", insecure="true")
    assert status(shared, None, url=url) == 404
    assert child.said("auth.disabled")["host"] == "0.0.0.0"
    assert child.end() == 0


def test_a_gateway_with_keys_may_be_reached_from_elsewhere(keyed: Running, writer: str):
    url, child = begin_gateway(keyed, host="0.0.0.0", insecure="true")
    assert (status(keyed, None, url=url), status(keyed, writer, url=url)) == (401, 404)
    assert not child.lines("auth.disabled")
    assert child.end() == 0
