from click.testing import CliRunner

from services.cli.events import events


def test_a_server_that_is_down_is_said_in_one_line_and_at_once(monkeypatch):
    monkeypatch.setenv("TURNLOG_NATS_URL", "nats://127.0.0.1:1")

    result = CliRunner().invoke(events, ["conv_1"])

    assert result.exit_code == 1
    assert result.output == (
        "Error: the log cannot be read: nats: no servers available for connection\n"
    )
