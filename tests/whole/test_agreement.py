import json
import sys
import time

from tests.whole.conversing import lead, recorded
from tests.whole.running import Running, listed, standing, together


def test_http_the_log_and_the_views_agree_on_every_item(shared: Running):
    given = recorded()
    began = time.monotonic()

    with shared.client(timeout=300) as client:
        led = together(lambda each: lead(client, each), given, workers=8)
        for each in led[::3]:
            standing_now = client.conversations.items.list(each.id, order="asc").data
            messages = [item.id for item in standing_now if item.type == "message"]
            client.conversations.items.delete(messages[1], conversation_id=each.id)
    talked_s = time.monotonic() - began

    counted = {
        row[0]: row[1:]
        for row in shared.sql("SELECT conversation_id, items, tokens, turns FROM conversations")
    }
    compared, compared_bytes = 0, 0
    with shared.http() as http:
        for each in led:
            loaded = shared.fold(each.id)
            from_log = standing(loaded)
            in_views = shared.sql(
                f"SELECT item, tokens FROM items WHERE conversation_id = '{each.id}' "
                "AND deleted_at IS NULL ORDER BY position"
            )
            expected_tokens = [i.tokens for i in loaded.state.listed(0, descending=False)]

            assert listed(http, each.id) == from_log
            assert listed(http, each.id, order="desc", limit=7)[::-1] == from_log
            assert [row[0].encode() for row in in_views] == from_log
            assert [row[1] for row in in_views] == expected_tokens
            assert counted[each.id] == (len(from_log), loaded.state.tokens, each.turns)
            compared += len(from_log)
            compared_bytes += sum(map(len, from_log))

    numbers = {
        "conversations": len(led),
        "turns": sum(each.turns for each in led),
        "calls": sum(each.calls for each in led),
        "added": sum(each.added for each in led),
        "items_compared": compared,
        "bytes_compared": compared_bytes,
        "talked_s": round(talked_s, 1),
        "whole_s": round(time.monotonic() - began, 1),
    }
    sys.stdout.write(json.dumps(numbers) + "\n")


def test_places_on_a_line_have_no_gaps(shared: Running):
    wrong = shared.sql(
        "SELECT conversation_id FROM items WHERE position IS NOT NULL GROUP BY conversation_id "
        "HAVING count(*) <> max(position) + 1 OR count(DISTINCT position) <> count(*)"
    )

    assert wrong == []
