"""Two projects, and every operation of one tried with what is the other's.

What is another's is told of as what never was: the same status, and the same words.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import msgspec
import pytest
from nats.aio.client import Client

from schemas import subjects
from schemas.api_keys import ADMIN
from schemas.http.operations import OPERATIONS
from services import ids
from services.journal.jetstream import JetStreamJournal
from tests.whole.keyed import make
from tests.whole.running import MODEL, WAIT_S, Running, message, until
from tests.whole.wire import wired

SECRET = "Xylophone-4711"
METADATA = {"case": SECRET}
KEY = {"Idempotency-Key": "the-same-in-both"}
TURN_KEY = {"Idempotency-Key": "of-a-turn-in-both"}
REPEATED = {"X-Stainless-Retry-Count": "1"}


class Names(msgspec.Struct, frozen=True):
    """What a project has, or what nobody has."""

    conversation_id: str
    item_id: str
    response_id: str
    in_conversation: str
    call_id: str = "call_border"

    def all(self) -> list[str]:
        """Every id, longest first."""
        return sorted((str(each) for each in msgspec.structs.astuple(self)), key=len, reverse=True)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request that names something."""

    method: str
    path: str
    body: Any = None
    query: dict[str, str] = {}
    headers: dict[str, str] = {}


def get(path: str, **query: str) -> Asked:
    return Asked(method="GET", path=path, query=query)


def post(path: str, body: Any = None, **headers: str) -> Asked:
    return Asked(method="POST", path=path, body=body, headers=headers)


def delete(path: str) -> Asked:
    return Asked(method="DELETE", path=path)


def turn(path: str = "/v1/responses", **fields: Any) -> Asked:
    return post(path, {"model": MODEL, "input": "Tell me all you know", **fields})


def reference(names: Names) -> dict[str, Any]:
    return {"type": "item_reference", "id": names.item_id}


def of_conversations(names: Names) -> str:
    return f"/v1/conversations/{names.conversation_id}"


def of_history(names: Names) -> str:
    return f"/v1/turnlog/conversations/{names.conversation_id}"


def of_responses(names: Names) -> str:
    return f"/v1/responses/{names.response_id}"


def turns(theirs: Names, path: str) -> list[Asked]:
    return [
        turn(path, conversation=theirs.conversation_id),
        turn(path, conversation={"id": theirs.conversation_id}),
        turn(path, previous_response_id=theirs.response_id),
        turn(path, previous_response_id=theirs.in_conversation),
        turn(path, input=[reference(theirs)]),
        turn(path, input=[message("and"), reference(theirs)]),
    ]


def of_compaction(theirs: Names) -> list[Asked]:
    path = "/v1/responses/compact"
    return [
        turn(path, previous_response_id=theirs.response_id),
        turn(path, previous_response_id=theirs.in_conversation),
        turn(path, input=[message("and"), reference(theirs)]),
    ]


ATTEMPTS: dict[str, Callable[[Names, Names], list[Asked]]] = {
    "createConversation": lambda theirs, _mine: [
        post("/v1/conversations", {"items": [reference(theirs)]})
    ],
    "getConversation": lambda theirs, _mine: [get(of_conversations(theirs))],
    "updateConversation": lambda theirs, _mine: [
        post(of_conversations(theirs), {"metadata": {"mine": "now"}})
    ],
    "deleteConversation": lambda theirs, _mine: [delete(of_conversations(theirs))],
    "createConversationItems": lambda theirs, mine: [
        post(of_conversations(theirs) + "/items", {"items": [message("hello")]}),
        post(of_conversations(theirs) + "/items", {"items": [message("hello")]}, **REPEATED),
        post(of_conversations(mine) + "/items", {"items": [reference(theirs)]}),
    ],
    "listConversationItems": lambda theirs, mine: [
        get(of_conversations(theirs) + "/items"),
        get(of_conversations(mine) + "/items", after=theirs.item_id),
    ],
    "getConversationItem": lambda theirs, mine: [
        get(f"{of_conversations(theirs)}/items/{theirs.item_id}"),
        get(f"{of_conversations(mine)}/items/{theirs.item_id}"),
    ],
    "deleteConversationItem": lambda theirs, mine: [
        delete(f"{of_conversations(theirs)}/items/{theirs.item_id}"),
        delete(f"{of_conversations(mine)}/items/{theirs.item_id}"),
    ],
    "getHistory": lambda theirs, _mine: [
        get(of_history(theirs)),
        get(of_history(theirs), at="2100-01-01T00:00:00Z"),
    ],
    "listHistoryEvents": lambda theirs, _mine: [
        get(of_history(theirs) + "/events"),
        get(of_history(theirs) + "/events", after="1"),
    ],
    "getHistoryDiff": lambda theirs, _mine: [
        get(of_history(theirs) + "/diff", **{"from": "2000-01-01T00:00:00Z"})
    ],
    "verifyHistory": lambda theirs, _mine: [get(of_history(theirs) + "/verify")],
    "exportHistory": lambda theirs, _mine: [get(of_history(theirs) + "/export")],
    "forkConversation": lambda theirs, _mine: [post(of_history(theirs) + "/fork")],
    "eraseConversation": lambda theirs, _mine: [post(of_history(theirs) + "/erase")],
    "createResponse": lambda theirs, _mine: [
        *turns(theirs, "/v1/responses"),
        turn(previous_response_id=theirs.response_id, stream=True),
        turn(conversation=theirs.conversation_id, store=False),
        turn(conversation=theirs.conversation_id, background=True),
    ],
    "getResponse": lambda theirs, _mine: [
        get(of_responses(theirs)),
        get(of_responses(theirs), stream="true"),
        get(of_responses(theirs), stream="true", starting_after="3"),
        get(f"/v1/responses/{theirs.in_conversation}"),
    ],
    "deleteResponse": lambda theirs, _mine: [delete(of_responses(theirs))],
    "cancelResponse": lambda theirs, _mine: [post(of_responses(theirs) + "/cancel")],
    "listInputItems": lambda theirs, mine: [
        get(of_responses(theirs) + "/input_items"),
        get(of_responses(mine) + "/input_items", after=theirs.item_id),
    ],
    "compactResponse": lambda theirs, _mine: of_compaction(theirs),
    "countInputTokens": lambda theirs, _mine: turns(theirs, "/v1/responses/input_tokens"),
    "listConversations": lambda theirs, _mine: [
        get("/v1/turnlog/conversations", after=theirs.conversation_id)
    ],
}
"""What of another's can be named, by operation: the first are its names, the second one's own."""


def sees_nothing_of_another(http: httpx2.Client, theirs: Names) -> None:
    """Operations that name nothing, and tell what there is."""
    listed = http.get("/v1/turnlog/conversations", params={"limit": "100"})
    matching = http.get("/v1/turnlog/conversations", params={"metadata.case": SECRET})
    said = http.get("/v1/turnlog/conversations", params={"text": SECRET})
    assert [each.json()["data"] for each in (matching, said)] == [[], []]
    for table in ("conversations", "items", "turns", "events", "tool_calls", "token_usage"):
        rows = sql(http, f"FROM {table}")
        assert rows.status_code == 200, rows.text
        assert not names_any(rows, theirs), table
        assert sql(http, f"FROM main.{table}").status_code == 400
        quoted = sql(http, f"FROM {table} WHERE conversation_id = '{theirs.conversation_id}'")
        assert quoted.json()["rows"] == []
    for answer in (
        listed,
        http.get("/v1/models"),
        http.get(f"/v1/models/{MODEL}"),
        http.get("/healthz"),
        http.get("/openapi.json"),
        http.get("/docs/asyncapi"),
    ):
        assert answer.status_code == 200
        assert not names_any(answer, theirs)


TOLD_OF_NOTHING = {
    *("runSql", "listModels", "getModel"),
    *("getHealth", "getDocument", "getQueueDocument"),
}
"""Looked at by `sees_nothing_of_another`."""


def sql(http: httpx2.Client, statement: str) -> httpx2.Response:
    return http.post("/v1/turnlog/sql", json={"statement": statement})


def ask(http: httpx2.Client, asked: Asked) -> httpx2.Response:
    body = {} if asked.body is None else {"json": asked.body}
    return http.request(asked.method, asked.path, params=asked.query, headers=asked.headers, **body)


def names_any(answer: httpx2.Response, theirs: Names) -> bool:
    text = answer.text + str(answer.headers)
    return any(each in text for each in (SECRET, *theirs.all()))


def told(answer: httpx2.Response, names: Names) -> tuple[int, str, set[str]]:
    """An answer without what was named in its request."""
    text = answer.text
    for name in names.all():
        text = text.replace(name, "NAME")
    kept = {name for name in answer.headers if name not in {"date", "content-length"}}
    return answer.status_code, text, kept


def made(http: httpx2.Client, secret: str) -> Names:
    """A conversation with items and a turn, and a chain whose stream can be replayed."""
    conversation = http.post(
        "/v1/conversations",
        json={"metadata": {"case": secret}, "items": [message(secret)]},
        headers=KEY,
    ).json()
    listed = http.get(f"/v1/conversations/{conversation['id']}/items").json()
    response = http.post(
        "/v1/responses",
        json={"model": MODEL, "input": secret, "conversation": conversation["id"]},
    ).json()
    body = {"model": MODEL, "input": secret, "background": True, "stream": True}
    streamed = http.post("/v1/responses", json=body, headers=TURN_KEY).text
    first = next(line for line in streamed.splitlines() if line.startswith("data: "))
    chained = json.loads(first.removeprefix("data: "))["response"]["id"]
    return Names(conversation["id"], listed["data"][0]["id"], chained, response["id"])


def nobodys() -> Names:
    """Ids as they are made, of what was never there."""
    conversation_id, hidden = ids.conversation_id(), ids.conversation_id()
    return Names(
        conversation_id,
        ids.minting_items(conversation_id)("msg"),
        ids.response_id(hidden),
        ids.response_id(conversation_id),
    )


@pytest.fixture(scope="module")
def keys(keyed: Running) -> tuple[str, str]:
    """Of two projects, by those who may do everything there."""
    theirs, mine = (make(keyed, project, ADMIN) for project in ("theirs", "mine"))
    for key in (theirs, mine):
        with keyed.http(key=key) as http:
            until(lambda http=http: http.get("/v1/models").status_code == 200)
    return theirs, mine


@pytest.fixture(scope="module")
def theirs(keyed: Running, keys: tuple[str, str]) -> Names:
    with keyed.http(key=keys[0]) as http:
        return made(http, SECRET)


@pytest.fixture(scope="module")
def mine(keyed: Running, keys: tuple[str, str]) -> Names:
    with keyed.http(key=keys[1]) as http:
        return made(http, "nothing special")


@pytest.fixture
def http(keyed: Running, keys: tuple[str, str]) -> Iterator[httpx2.Client]:
    with keyed.http(key=keys[1]) as client:
        yield client


@pytest.fixture
def untouched(keyed: Running, theirs: Names) -> Iterator[None]:
    """Nothing of theirs may be changed by a test."""

    async def last(client: Client) -> list[int]:
        journal = JetStreamJournal(client)
        found = []
        for name in (theirs.conversation_id, f"conv_{theirs.response_id[5:37]}"):
            stored = await journal.last("theirs", name)
            assert stored is not None
            found.append(stored.sequence)
        return found

    before = keyed.on_log(last)
    yield
    assert keyed.on_log(last) == before


def test_every_operation_is_tried():
    assert ATTEMPTS.keys() | TOLD_OF_NOTHING == {row.id for row in OPERATIONS}


@pytest.mark.parametrize("operation", sorted(ATTEMPTS))
@pytest.mark.usefixtures("untouched")
def test_what_is_anothers_is_what_never_was(
    http: httpx2.Client, theirs: Names, mine: Names, operation: str
):
    never = nobodys()
    pairs = zip(ATTEMPTS[operation](theirs, mine), ATTEMPTS[operation](never, mine), strict=True)
    for of_theirs, of_nobodys in pairs:
        answer = ask(http, of_theirs)
        assert told(answer, theirs) == told(ask(http, of_nobodys), never), of_theirs
        assert SECRET not in answer.text
        assert answer.status_code in {400, 404}, of_theirs
        assert "not found" in answer.json()["error"]["message"], of_theirs


@pytest.mark.usefixtures("untouched")
def test_what_is_told_without_a_name_is_ones_own(http: httpx2.Client, theirs: Names):
    sees_nothing_of_another(http, theirs)


def test_what_was_tried_is_possible_with_ones_own(
    keyed: Running, keys: tuple[str, str], theirs: Names
):
    """Else it would have been refused for another reason."""
    with keyed.http(key=keys[0]) as http:
        for operation in ("getConversation", "getHistory", "listHistoryEvents", "getResponse"):
            for asked in ATTEMPTS[operation](theirs, theirs)[:1]:
                assert ask(http, asked).status_code == 200
        for path in ("/v1/responses", "/v1/responses/input_tokens"):
            for asked in turns(theirs, path):
                assert ask(http, asked).status_code == 200, asked
        until(
            lambda: http.get("/v1/turnlog/conversations", params={"metadata.case": SECRET}).json()[
                "data"
            ]
        )
        assert SECRET in sql(http, "SELECT item FROM items").text


@pytest.mark.usefixtures("untouched")
def test_an_idempotency_key_is_ones_own(http: httpx2.Client, theirs: Names, mine: Names):
    body = {"metadata": METADATA, "items": [message(SECRET)]}
    # It stands for another body here, and for this one there.
    assert http.post("/v1/conversations", json=body, headers=KEY).status_code == 409
    fresh = {"Idempotency-Key": "only-in-theirs"}
    first = http.post("/v1/conversations", json=body, headers=fresh).json()
    assert first["id"] not in {theirs.conversation_id, mine.conversation_id}


def test_what_the_sdk_repeats_is_ones_own(keyed: Running, keys: tuple[str, str]):
    answers = []
    for key in keys:
        with keyed.http(key=key) as http:
            body = {"model": MODEL, "input": "the same of both"}
            first = http.post("/v1/responses", json=body, headers={"X-Stainless-Retry-Count": "0"})
            again = http.post("/v1/responses", json=body, headers=REPEATED)
            assert first.json()["id"] == again.json()["id"]
            answers.append(first.json()["id"])
    assert len(set(answers)) == len(keys)


@pytest.mark.usefixtures("untouched")
def test_a_websocket_tells_of_ones_own(keyed: Running, keys: tuple[str, str], theirs: Names):
    header = {"Authorization": f"Bearer {keys[1]}"}
    with wired(keyed.url, additional_headers=header) as wire:
        for asked in turns(theirs, ""):
            wire.send({"type": "response.create", **asked.body})
            refused = wire.refusal()
            assert "not found" in refused["error"]["message"]
            assert SECRET not in json.dumps(refused)
        assert wire.response("hello")["status"] == "completed"


@pytest.mark.usefixtures("untouched")
def test_the_queue_knows_projects_by_their_subject(keyed: Running, theirs: Names):
    """Who may publish for one project only reaches nothing of another."""

    async def ask_for(client: Client, asked: Asked, conversation_id: str) -> dict[str, Any]:
        response_id = ids.response_id(conversation_id)
        heard = await client.subscribe(subjects.delta("mine", response_id))
        request = {
            "response_id": response_id,
            "conversation_id": conversation_id,
            "body": asked.body,
        }
        await client.jetstream().publish(
            subjects.turn_request("mine", conversation_id), json.dumps(request).encode()
        )
        while True:
            answer = await heard.next_msg(timeout=WAIT_S)
            if (answer.headers or {}).get("Turnlog-Kind") == "refusal":
                refused: dict[str, Any] = json.loads(answer.data)
                return refused

    async def work(client: Client) -> list[dict[str, Any]]:
        hidden = f"conv_{theirs.response_id[5:37]}"
        named = (theirs.conversation_id, theirs.conversation_id, hidden)
        named = (*named, theirs.conversation_id, ids.conversation_id(), ids.conversation_id())
        return [
            await ask_for(client, asked, conversation_id)
            for asked, conversation_id in zip(turns(theirs, ""), named, strict=True)
        ]

    for refused in keyed.on_log(work):
        assert "not found" in refused["error"]["message"]
        assert SECRET not in json.dumps(refused)


@pytest.mark.usefixtures("untouched")
def test_no_key_is_anothers(keyed: Running, keys: tuple[str, str], theirs: Names):
    hint, key_id, secret = keys[0].rsplit("-", 2)
    _, own_id, own_secret = keys[1].rsplit("-", 2)
    for key in (f"{hint}-{key_id}-{own_secret}", f"{hint}-{own_id}-{own_secret}", secret):
        with keyed.http(key=key) as http:
            assert http.get(of_conversations(theirs)).status_code == 401
    with keyed.http(key=keys[1]) as http:
        for header in ("OpenAI-Project", "OpenAI-Organization", "Turnlog-Project"):
            answer = http.get(of_conversations(theirs), headers={header: "theirs"})
            assert answer.status_code == 404


def test_a_key_for_all_projects_asks_for_all_in_sql_only(keyed: Running, theirs: Names):
    key = make(keyed, "mine", ADMIN, all_projects=True)
    with keyed.http(key=key) as http:
        until(lambda: http.get("/v1/models").status_code == 200)
        until(lambda: SECRET in sql(http, "SELECT item FROM items").text)
        assert http.get(of_conversations(theirs)).status_code == 404
        assert http.get(of_history(theirs)).status_code == 404
