import msgspec
from click.testing import CliRunner

from services.cli.events import events, summary
from tests.builders import compacted, compaction_item, completed, in_turn


def test_a_server_that_is_down_is_said_in_one_line_and_at_once(monkeypatch):
    monkeypatch.setenv("TURNLOG_NATS_URL", "nats://127.0.0.1:1")

    result = CliRunner().invoke(events, ["conv_1"])

    assert result.exit_code == 1
    assert result.output == (
        "Error: the log cannot be read: nats: no servers available for connection\n"
    )


def test_a_summary_that_was_made_in_a_turn_is_told_with_its_end():
    done = in_turn("cmp_1", covered=4, before=1_200, after=140)
    ended = completed("resp_1", compaction_item("cmp_1", tokens=9), total=50, compaction=done)

    assert summary(ended) == (
        "resp_1 completed: 1 item, 9 tokens; 50 tokens in all; "
        "compacted by summary, window 1200 -> 140 tokens"
    )
    assert summary(completed("resp_1")) == "resp_1 completed: 0 items, 0 tokens; 0 tokens in all"


def test_a_compaction_says_how_it_was_made_and_what_it_has_kept():
    done = compacted(compaction_item("cmp_1"), covered=12, before=1_200, after=140)
    assert summary(done) == "positions below 12 by summary, window 1200 -> 140 tokens"
    replaced = msgspec.structs.replace(
        done,
        method="extractive",
        fallback="timed_out",
        covered_from=4,
        anchors_found=9,
        anchors_kept=8,
    )
    assert summary(replaced) == (
        "positions below 12 from 4 on by extractive (timed_out), 8 of 9 anchors, "
        "window 1200 -> 140 tokens"
    )
