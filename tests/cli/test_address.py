from pathlib import Path

import pytest

from services.cli.address import Address, NotRunning, http_url, nats_url


def test_a_named_server_wins(tmp_path: Path):
    (tmp_path / "nats-url").write_text("nats://token@127.0.0.1:1")

    given = Address(nats_url="nats://elsewhere:4222", data_dir=str(tmp_path))
    assert nats_url(given) == "nats://elsewhere:4222"


def test_else_the_one_that_runs_on_the_data_directory(tmp_path: Path):
    (tmp_path / "nats-url").write_text("nats://token@127.0.0.1:1")
    (tmp_path / "http-url").write_text("http://127.0.0.1:2")

    given = Address(data_dir=str(tmp_path))
    assert nats_url(given) == "nats://token@127.0.0.1:1"
    assert http_url(given) == "http://127.0.0.1:2"


def test_else_it_is_said_where_nothing_runs(tmp_path: Path):
    with pytest.raises(NotRunning, match=f"no Turnlog runs on {tmp_path}: start `turnlog up`"):
        nats_url(Address(data_dir=str(tmp_path)))
