import os
import socket
import sys
from pathlib import Path

import pytest

from services.cli import data_directory, up
from services.gateway.settings import GatewaySettings
from tests.cli.supervised import running

TURNLOG = str(Path(sys.executable).with_name("turnlog"))


def test_other_machines_are_not_let_in_without_keys(tmp_path: Path):
    with running(tmp_path, TURNLOG, "up", "--host", "0.0.0.0") as refused:
        assert refused.ended() == 2

    assert refused.words == (
        "Error: --host 0.0.0.0 lets other machines in, and there are no API keys: start it "
        "without, make a key with `turnlog keys create`, and start it so again; or add --insecure\n"
    )
    assert not (tmp_path / "turnlog-data").exists()


@pytest.mark.parametrize(
    ("host", "number"), [("127.0.0.1", "127.0.0.1"), ("127.8.8.8", "127.8.8.8"), ("::1", "::1")]
)
def test_loopback_may_be_spelled(host: str, number: str):
    assert up.resolved(host)[1] == number
    assert not GatewaySettings(host=host).keys_demanded


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "localhost.example"])
def test_what_is_not_loopback_needs_keys_unless_that_is_insisted_on(host: str):
    assert GatewaySettings(host=host).keys_demanded
    assert not GatewaySettings(host=host, insecure=True).keys_demanded


def test_a_directory_without_keys_lets_no_other_machine_in(tmp_path: Path):
    (tmp_path / "turnlog-data" / "jetstream").mkdir(parents=True)
    arguments = ("up", "--port", "0", "--host", "0.0.0.0")
    with running(tmp_path, TURNLOG, *arguments) as refused:
        assert refused.ended() == 2

    assert "--host 0.0.0.0 lets other machines in, and there are no API keys" in refused.words
    assert not (tmp_path / "turnlog-data" / "http-url").exists()


def test_a_host_nobody_knows_is_named():
    with pytest.raises(up.AddressUnusable, match=r"--host nobody\.invalid: "):
        up.resolved("nobody.invalid")


def test_a_port_that_is_taken_is_named(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running(tmp_path, TURNLOG, "up", "--port", str(port)) as refused:
            assert refused.ended() == 1

    assert refused.words == (
        f"Error: cannot listen on 127.0.0.1:{port}: Address already in use"
        " (--port 0 takes a free one)\n"
    )


def test_a_directory_in_use_is_named_before_anything_starts(tmp_path: Path):
    held = data_directory.lock(tmp_path / "data")
    with running(tmp_path, TURNLOG, "up", TURNLOG_DATA_DIR="data", TURNLOG_PORT="0") as refused:
        assert refused.ended() == 1
    os.close(held)

    assert f"{tmp_path}/data is in use by process {os.getpid()}" in refused.words
    assert not refused.pids()


def test_a_log_that_cannot_be_reached_is_named_without_its_token(tmp_path: Path):
    url = f"nats://secret@127.0.0.1:{up.free_port()}"
    with running(tmp_path, TURNLOG, "up", "--port", "0", "--nats-url", url) as refused:
        assert refused.ended() == 1

    last = refused.words.splitlines()[-1]
    assert last.startswith(f"Error: the log at {url.replace('secret@', '')}: ")
    assert "secret" not in refused.words
    assert list((tmp_path / "turnlog-data").iterdir()) == [tmp_path / "turnlog-data" / "lock"]


@pytest.mark.parametrize(
    ("url", "logged"),
    [
        ("nats://token@queue:4222", "nats://queue:4222"),
        ("http://user:p@ss@gpu:8000/v1", "http://gpu:8000/v1"),
        ("token@queue", "queue"),
        ("nats://t@a:1, nats://u:p@b:2,c", "nats://a:1,nats://b:2,c"),
        ("http://gpu/v1", "http://gpu/v1"),
    ],
)
def test_no_secret_of_a_url_is_logged(url: str, logged: str):
    assert up.without_credentials(url) == logged


def test_clients_wait_while_no_gateway_listens():
    with up.bound("127.0.0.1", 0, family=socket.AF_INET) as door:
        door.listen()
        client = socket.create_connection(door.getsockname(), timeout=30)
        client.sendall(b"asked early")
        accepted, _ = door.accept()
        with accepted, client:
            assert accepted.recv(100) == b"asked early"


@pytest.mark.parametrize(
    ("wanted", "openai_key", "given"),
    [
        ({}, "", None),
        ({}, "open", ("", "open")),
        ({"model_key": "mine"}, "open", ("", "mine")),
        ({"model_url": "http://gpu/v1"}, "open", ("http://gpu/v1", "")),
        ({"model_url": "http://gpu/v1", "model_key": "mine"}, "", ("http://gpu/v1", "mine")),
    ],
)
def test_the_key_of_openai_goes_to_openai_only(wanted, openai_key, given):
    found = up.with_real_model(up.UpSettings(**wanted), openai_key=openai_key)

    assert (found and (found.model_url, found.model_key)) == given


def test_the_gateway_is_handed_the_listening_socket():
    given = up.UpSettings(nats_url="nats://token@127.0.0.1:4", port=81, model_url="http://gpu/v1")
    with up.bound("127.0.0.1", 0, family=socket.AF_INET) as door:
        gateway = up.program("gateway", given=given, lock=7, door=door)
        responder = up.program("responder", given=given, lock=7, door=door)

        assert gateway.inherited_files == (7, door.fileno())
        assert gateway.environment["TURNLOG_SOCKET_FD"] == str(door.fileno())
    assert responder.inherited_files == (7,)
    assert "TURNLOG_SOCKET_FD" not in responder.environment
    assert responder.environment["TURNLOG_NATS_URL"] == "nats://token@127.0.0.1:4"
    assert responder.environment["TURNLOG_MODEL_URL"] == "http://gpu/v1"
    assert responder.environment["PATH"] == os.environ["PATH"]
