"""``POST /v1/turnlog/sql`` on real processes: what it answers, refuses, ends, and gives up."""

import contextlib
import io
import json
import socket
import time

import httpx2
import pyarrow as pa
import pytest

from tests.projector.refused import REFUSED
from tests.whole.running import WAIT_S, Running, message, until

PATH = "/v1/turnlog/sql"
ARROW = "application/vnd.apache.arrow.stream"
ENDLESS = "SELECT count(*) FROM range(10000000000) a, range(10000000000) b"
LONG = "SELECT range AS n, repeat('x', 1000) AS text FROM range(30000)"


@pytest.fixture
def http(shared: Running):
    with shared.http() as client:
        yield client


def arrow(answer: httpx2.Response) -> pa.Table:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == ARROW
    return pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()


def refused(answer: httpx2.Response, status: int = 400) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert list(body) == ["error"]
    assert list(body["error"]) == ["message", "type", "param", "code"]
    error: dict[str, object] = body["error"]
    return error


def test_what_was_just_written_is_answered_at_the_sequence_it_needs(shared: Running, http):
    with shared.client() as client:
        made = client.conversations.create(items=[message("Hello")])
        added = client.conversations.items.with_raw_response.create(
            made.id, items=[message("again")]
        )
    sequence = added.headers["Turnlog-Sequence"]
    statement = f"SELECT role, position FROM items WHERE conversation_id = '{made.id}' ORDER BY 2"
    for asked in (
        {"json": {"statement": statement}, "headers": {"Turnlog-After-Sequence": sequence}},
        {"json": {"statement": statement, "sequence": int(sequence)}},
    ):
        answer = http.post(PATH, **asked)
        told = answer.json()
        assert answer.status_code == 200, told
        assert int(answer.headers["Turnlog-Sequence"]) == told["sequence"] >= int(sequence)
        assert told == {
            "object": "turnlog.rows",
            "sequence": told["sequence"],
            "columns": ["role", "position"],
            "rows": [["user", 0], ["user", 1]],
            "truncated": False,
        }


def test_a_sequence_the_log_has_not_is_refused_for_now(shared: Running, http):
    asked = {"statement": "SELECT 1", "sequence": shared.last_sequence() + 10_000}
    answer = http.post(PATH, json=asked)
    error = refused(answer, 503)
    assert answer.headers["Retry-After"] == "1"
    assert "did not reach" in str(error["message"])


def test_a_long_answer_comes_as_arrow_with_nothing_missing(http):
    answer = http.post(PATH, json={"statement": LONG}, headers={"Accept": ARROW})
    table = arrow(answer)
    assert len(answer.content) > 30_000_000  # more than any message of NATS may hold
    assert table["n"].to_pylist() == list(range(30_000))
    assert set(table["text"].to_pylist()) == {"x" * 1000}
    assert table.schema.metadata[b"Turnlog-Sequence"].decode() == answer.headers["Turnlog-Sequence"]


def test_a_long_answer_comes_as_json_with_nothing_missing(http):
    told = http.post(PATH, json={"statement": LONG, "rows_max": 30_000}).json()
    assert [row[0] for row in told["rows"]] == list(range(30_000))
    assert not told["truncated"]


def test_an_answer_that_was_cut_says_so(http):
    told = http.post(PATH, json={"statement": LONG, "rows_max": 3}).json()
    assert (len(told["rows"]), told["truncated"]) == (3, True)
    told = http.post(PATH, json={"statement": LONG}).json()
    assert (len(told["rows"]), told["truncated"]) == (10_000, True)

    asked = {"statement": LONG, "rows_max": 3000}
    answer = http.post(PATH, json=asked, headers={"Accept": ARROW})
    assert arrow(answer).num_rows == 3000
    reader = pa.ipc.open_stream(io.BytesIO(answer.content))
    *_, last = iter(lambda: _next(reader), None)
    assert (last.batch.num_rows, last.custom_metadata) == (0, {b"Turnlog-Truncated": b"true"})


def _next(reader):
    with contextlib.suppress(StopIteration):
        return reader.read_next_batch_with_custom_metadata()


@pytest.mark.parametrize(("statement", "error"), REFUSED)
@pytest.mark.parametrize("accept", ["application/json", ARROW], ids=["json", "arrow"])
def test_whatever_does_not_only_read_the_views_is_refused(http, statement, error, accept):
    told = refused(http.post(PATH, json={"statement": statement}, headers={"Accept": accept}))
    assert str(told["message"]).lower().startswith(error.lower())
    assert (told["type"], told["param"]) == ("invalid_request_error", "statement")
    assert told["code"] in {"statement_refused", "statement_failed"}


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "statement", "missing_required_parameter"),
        ({"statement": 1}, "statement", "invalid_type"),
        ({"statement": "SELECT 1" + " " * 100_000}, "statement", "string_above_max_length"),
        ({"statement": "SELECT 1", "sequence": -1}, "sequence", "integer_below_min_value"),
        ({"statement": "SELECT 1", "rows_max": "9"}, "rows_max", "invalid_type"),
        ({"statement": "SELECT 1", "time_s_max": 0}, "time_s_max", "decimal_below_min_value"),
    ],
    ids=["none", "number", "long", "sequence", "rows", "time"],
)
def test_a_body_is_checked_before_anybody_is_asked(http, body, param, code):
    told = refused(http.post(PATH, json=body))
    assert (told["param"], told["code"]) == (param, code)


def test_a_runaway_statement_is_ended_and_others_are_answered_meanwhile(shared: Running, http):
    with shared.client() as client:
        made = client.conversations.create()
    begun = time.monotonic()
    told = refused(http.post(PATH, json={"statement": ENDLESS, "time_s_max": 0.5}))
    assert told["code"] == "statement_timed_out"
    assert told["message"] == "The statement ran longer than 0.5 s and was ended."
    assert time.monotonic() - begun < WAIT_S
    assert shared.sql(f"SELECT 1 FROM conversations WHERE conversation_id = '{made.id}'") == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT list(range * 1000 || repeat('x', 1000)) FROM range(100000000)",
        "SELECT range(900000000)",
        "SELECT length(repeat('x', 4000000000)) FROM range(4000) t (i) WHERE i % 2 = 0",
    ],
    ids=["collected", "list", "values"],
)
def test_a_statement_that_needs_too_much_memory_is_refused(shared: Running, http, statement):
    projector = shared.pid("projector")
    told = refused(http.post(PATH, json={"statement": statement, "time_s_max": 30}, timeout=60))
    assert told["code"] == "statement_out_of_memory"
    assert shared.pid("projector") == projector
    assert shared.sql("SELECT 1") == [(1,)]


def given_up(shared: Running) -> int:
    assert shared.up is not None
    return len(shared.up.lines("query.answered", outcome="given up"))


@contextlib.contextmanager
def asking(shared: Running, statement: str):
    """A client that has asked, and leaves without a word."""
    host, port = shared.url.removeprefix("http://").split(":")
    body = json.dumps({"statement": statement, "time_s_max": 50}).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\nAccept: {ARROW}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as leaving:
        leaving.sendall(head.encode() + body)
        yield leaving


def test_statements_end_when_their_clients_leave_before_the_first_row(shared: Running):
    before = given_up(shared)
    with asking(shared, ENDLESS), asking(shared, ENDLESS):
        # They hold all the threads there are.
        until(lambda: shared.ask_sql("SELECT 1", wait_s=0.2).code == "views_busy")
    until(lambda: given_up(shared) == before + 2)
    assert shared.sql("SELECT 1") == [(1,)]


def test_a_statement_ends_when_its_client_leaves_among_its_rows(shared: Running):
    before = given_up(shared)
    with asking(shared, "SELECT repeat('x', 1000) FROM range(10000000000)") as leaving:
        assert leaving.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"
    until(lambda: given_up(shared) == before + 1)
    assert shared.sql("SELECT 1") == [(1,)]


def test_an_answer_that_cannot_be_finished_is_broken_off(http):
    good = "range < 60000"
    statement = f"SELECT if({good}, repeat('x', 500), error('no')) FROM range(80000)"
    asked = {"statement": statement, "rows_max": 80_000}
    for headers in ({}, {"Accept": ARROW}):
        with http.stream("POST", PATH, json=asked, headers=headers) as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx2.RemoteProtocolError):
                answer.read()
    assert http.post(PATH, json={"statement": "SELECT 1"}).json()["rows"] == [[1]]
