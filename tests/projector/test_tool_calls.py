"""The view ``tool_calls``: calls beside their answers."""

import pytest

from services.conversation.history import Item, item_of
from tests.builders import added, call, completed, created, message, output, raw, requested, said
from tests.projector.builders import Log, applied, rows
from tests.projector.test_views import at


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def views(open_database):
    return open_database()


def stored(item_id: str, kind: str, **fields: object) -> Item:
    return item_of(raw({"id": item_id, "type": kind, **fields}), 1)


def test_a_call_is_a_row_from_its_turn_on_and_has_its_answer_once_that_joins(log, views):
    log.commit("c1", created(), requested("r1", message("m1")))
    log.commit("c1", completed("r1", call("a", name="weather")))
    applied(views, log.messages)
    named = ("c1", "default", 1, "a", "fc_a", "function_call", "weather")
    rest = ("{}", None, "completed", None, at(2), None, None, "r1", None, "output", None, 2)
    assert rows(views, "FROM tool_calls") == [(*named, *rest)]

    log.commit("c1", requested("r2", output("a", text="rain")))
    log.commit("c1", completed("r2", said("s1")))
    applied(views, log.messages)
    columns = "output, failed, answered_at, answer_ms, response_id, answered_in"
    assert rows(views, f"SELECT {columns} FROM tool_calls") == [
        ("rain", False, at(4), 2000, "r1", "r2")
    ]


def test_the_first_answer_behind_a_call_is_its_own(log, views):
    log.commit("c1", created(), added(call("a"), output("a", text="1")))
    log.commit("c1", added(call("a", item_id="fc_b"), call("b")))
    log.commit("c1", added(output("a", item_id="fco_b", text="2"), output("x", text="no")))
    log.commit("c1", added(output("a", item_id="fco_c", text="3")))
    log.commit("c2", created(), added(output("b", text="elsewhere")))
    log.commit("c1", created(), added(output("b", text="elsewhere")), project="other")
    log.commit("c1", added(stored("o", "custom_tool_call_output", call_id="b", output="other")))
    applied(views, log.messages)

    assert rows(views, "SELECT item_id, output FROM tool_calls ORDER BY item_id") == [
        ("fc_a", "1"),
        ("fc_b", "2"),
        ("fc_b", None),
    ]


@pytest.mark.parametrize(
    ("kind", "fields", "answer", "shown"),
    [
        ("function_call", {}, {"output": '{"error":"no such city"}'}, True),
        ("function_call", {}, {"output": '{"error":null}'}, False),
        ("function_call", {}, {"output": '{"error":false,"city":"Rome"}'}, False),
        ("function_call", {}, {"output": "[1, 2]"}, False),
        ("function_call", {}, {"output": "{error: no JSON}"}, False),
        ("function_call", {}, {"output": [{"type": "input_text", "text": "rain"}]}, False),
        ("custom_tool_call", {"input": "x"}, {"output": "12"}, False),
        ("apply_patch_call", {"operation": {}}, {"status": "failed"}, True),
        ("apply_patch_call", {"operation": {}}, {"status": "completed"}, False),
        ("shell_call", {}, {"output": [{"outcome": {"type": "exit", "exit_code": 0}}]}, False),
        ("shell_call", {}, {"output": [{"outcome": {"type": "exit", "exit_code": 2}}]}, True),
        ("shell_call", {}, {"output": [{"outcome": {"type": "timeout"}}]}, True),
        ("computer_call", {"action": {}}, {"output": {"type": "computer_screenshot"}}, False),
        ("tool_search_call", {"arguments": {}}, {"tools": []}, False),
        ("local_shell_call", {"action": {}}, None, None),
    ],
)
def test_a_call_has_failed_where_its_answer_says_so(log, views, kind, fields, answer, shown):
    log.commit("c1", created(), added(stored("i", kind, call_id="a", status="completed", **fields)))
    if answer is not None:
        answering = "tool_search_output" if kind == "tool_search_call" else f"{kind}_output"
        log.commit("c1", added(stored("o", answering, call_id="a", **answer)))
    applied(views, log.messages)

    assert rows(views, "SELECT failed, answered_at IS NULL FROM tool_calls") == [
        (shown, answer is None)
    ]


@pytest.mark.parametrize(
    ("kind", "fields", "shown"),
    [
        (
            "mcp_call",
            {"name": "find", "arguments": "{}", "output": "42", "error": None},
            ("find", "{}", "42", False),
        ),
        (
            "mcp_call",
            {"name": "find", "arguments": "{}", "output": None, "error": {"type": "http_error"}},
            ("find", "{}", None, True),
        ),
        (
            "web_search_call",
            {"status": "failed", "action": {"type": "search"}},
            (None, '{"type":"search"}', None, True),
        ),
        ("file_search_call", {"queries": ["a"], "results": [1]}, (None, '["a"]', "[1]", False)),
        ("code_interpreter_call", {"code": "1+1", "outputs": None}, (None, "1+1", None, False)),
        (
            "image_generation_call",
            {"status": "completed", "result": "AAAA"},
            (None,) * 3 + (False,),
        ),
    ],
)
def test_a_call_of_a_hosted_tool_holds_its_own_answer(log, views, kind, fields, shown):
    log.commit("c1", created(), requested("r1", message("m1")))
    log.commit("c1", completed("r1", stored("i", kind, **fields)))
    applied(views, log.messages)

    columns = "name, arguments, output, failed"
    assert rows(views, f"SELECT {columns} FROM tool_calls") == [shown]
    assert rows(views, "SELECT called_at = answered_at, response_id FROM tool_calls") == [
        (True, "r1")
    ]


def test_in_a_chain_too(log, views):
    log.commit("c1", created(hidden=True), requested("r1", message("m1"), on_line=False))
    log.commit("c1", completed("r1", call("a")))
    for branch in ("r2", "r3"):
        log.commit("c1", requested(branch, output("a", text=branch), on_line=False, parent="r1"))
        log.commit("c1", completed(branch, said(f"s_{branch}")))
    applied(views, log.messages)

    assert rows(views, "SELECT position, output, answered_in FROM tool_calls") == [
        (None, "r2", "r2")
    ]
