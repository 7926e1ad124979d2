import asyncio
import json
import os
import signal
import socket
import stat
import sys
from pathlib import Path

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from services.cli import address, nats_server
from tests.cli.supervised import alive, running, supervised


def url_of(directory: Path) -> str:
    return address.nats_url(address.Address(data_dir=str(directory)))


async def test_a_restarted_server_keeps_its_port_its_data_and_its_clients(tmp_path: Path):
    again = asyncio.Event()

    async def reconnected() -> None:
        again.set()

    with supervised(tmp_path) as up:
        client = await nats.connect(url_of(tmp_path), reconnected_cb=reconnected)
        stream = client.jetstream()
        await stream.add_stream(name="KEPT", subjects=["kept"])
        await stream.publish("kept", b"before")
        before = url_of(tmp_path)
        os.kill(up.pid("nats-server"), signal.SIGKILL)
        await asyncio.wait_for(again.wait(), 10)

        assert up.lines("process.restarted", name="nats-server")
        assert (await stream.publish("kept", b"after")).seq == 2
        assert (await stream.get_msg("KEPT", 1)).data == b"before"
        assert url_of(tmp_path) == before
        await client.close()


async def test_data_outlive_a_kill_of_everything(tmp_path: Path):
    with supervised(tmp_path) as up:
        client = await nats.connect(url_of(tmp_path))
        await client.jetstream().add_stream(name="KEPT", subjects=["kept"])
        await client.jetstream().publish("kept", b"before")
        await client.close()
        up.process.kill()
        up.ended()
    with supervised(tmp_path) as up:
        assert up.lines("all.started")
        client = await nats.connect(url_of(tmp_path))
        assert (await client.jetstream().get_msg("KEPT", 1)).data == b"before"
        await client.close()


def test_a_server_that_outlived_us_would_keep_the_directory(tmp_path: Path):
    with supervised(tmp_path) as up:
        files = Path(f"/proc/{up.pid('nats-server')}/fd").iterdir()

        assert tmp_path / "lock" in [file.readlink() for file in files]


def test_a_second_start_on_one_directory_is_refused(tmp_path: Path):
    with supervised(tmp_path) as first:
        again = tmp_path / "again"
        again.mkdir()
        argv = (sys.executable, str(Path(__file__).with_name("supervised.py")), str(tmp_path))
        with running(again, *argv, "[]", "0") as second:
            assert second.ended() == 1

        assert second.words == (
            f"Error: data directory {tmp_path} is in use by process {first.process.pid}"
            " or a child of it\n"
        )
        assert alive(first.pid("nats-server"))


def test_a_port_that_is_taken_is_named_in_one_line(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with supervised(tmp_path, port=port) as up:
            assert up.ended() == 1

    last = up.words.splitlines()[-1]
    assert last.startswith("Error: nats-server could not start: ")
    assert f"127.0.0.1:{port}" in last
    assert "address already in use" in last


async def test_only_who_has_the_token_is_let_in(tmp_path: Path):
    with supervised(tmp_path):
        url = url_of(tmp_path)
        assert url.startswith("nats://")
        open_url = "nats://" + url.rpartition("@")[2]
        client = Client()
        with pytest.raises(nats.errors.Error, match="Authorization Violation"):
            await client.connect(open_url, allow_reconnect=False)
        await client.close()


def test_nobody_else_can_read_the_token(tmp_path: Path):
    with supervised(tmp_path):
        for name in ("nats-url", "nats-token", "nats-server.conf", "lock"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_every_write_is_synced_before_it_is_acknowledged(tmp_path: Path):
    with supervised(tmp_path) as up:
        configuration = json.loads((tmp_path / "nats-server.conf").read_text())
        up.process.terminate()
        up.ended()

    assert configuration["jetstream"]["sync_interval"] == "always"
    assert configuration["listen"].startswith("127.0.0.1:")
    assert "http" not in configuration


def test_a_directory_may_have_any_name(tmp_path: Path):
    directory = tmp_path / 'a "quoted" $name\\with ü'
    directory.mkdir()
    with supervised(directory) as up:
        assert up.lines("all.started")
        assert (directory / "jetstream" / "jetstream").is_dir()


def test_the_program_may_be_named():
    found = nats_server.binary("")

    assert found.name == "nats-server"
    assert nats_server.binary(str(found)) == found
    with pytest.raises(nats_server.NatsServerMissing, match="TURNLOG_NATS_SERVER=/no/such cannot"):
        nats_server.binary("/no/such")
