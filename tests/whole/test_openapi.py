import copy
import json
from collections.abc import Iterator
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import msgspec.yaml
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case, CheckContext, Response
from schemathesis.generation.stateful import run_state_machine_as_test

from schemas import asyncapi, openapi, shapes
from schemas.api_keys import ADMIN
from schemas.http.beside import AFTER_HEADER, KEY_HEADER
from schemas.http.event_types import TERMINAL
from services.cli.schemas import GENERATED
from tests.whole.keyed import make
from tests.whole.running import MODEL, Running, until

CLOSED = (
    *("Conversation", "ConversationDeleted", "ItemList", "Response", "ResponseDeleted", "Usage"),
    *("CompactedResponse", "InputTokens", "ServicesHealth", "Error", "ErrorBody"),
)
"""Answers of which every field is described."""
FEW_ITEMS = ("MessageItemParam", "FunctionCallOutputItemParam", "ItemReferenceParam")
"""Items bodies are tried with: every type in every body, right and wrong, would take minutes."""

ELSEWHERE = {"prompt", "conversation", "previous_response_id"}
"""Fields of a turn that name what has to be there."""
TURNS = {"createResponse", "compactResponse", "countInputTokens"}
STATE_CODES = {
    None,
    "conversation_locked",
    "idempotency_key_reused",
    "invalid_encrypted_content",
    "missing_required_parameter",
    "mutually_exclusive_parameters",
    "previous_response_not_found",
    # A document of HTTP does not know what SQL is.
    "statement_failed",
    "statement_refused",
}
"""What a request the document allows may be refused for: not how it is written."""


def document(*, every_item: bool = False, keys: bool = True) -> dict[str, Any]:
    """The document, in which what is closed holds nothing else; without ``keys``, none are sent.

    Nor sequences: an answer would wait for those that never come.
    """
    changed = copy.deepcopy(openapi.document(version="1", server="http://127.0.0.1"))
    schemas = changed["components"]["schemas"]
    for name in CLOSED:
        schemas[name]["additionalProperties"] = False
    left_out = {AFTER_HEADER} if keys else {AFTER_HEADER, KEY_HEADER}
    for operations in changed["paths"].values():
        for operation in operations.values():
            given = operation.get("parameters", [])
            operation["parameters"] = [each for each in given if each["name"] not in left_out]
    if not every_item:
        schemas["ItemParam"] = schemas["InputItemParam"] = shapes.any_named(FEW_ITEMS)
    return changed


def schema(mode: str, *, every_item: bool = False, keys: bool = True) -> Any:
    """What schemathesis sends: ``all`` kinds of requests, or ``positive`` ones."""
    config = schemathesis.Config.from_dict(
        {
            "generation": {
                "mode": mode,
                "max-examples": 20,
                "deterministic": True,
                "database": "none",
                "no-shrink": True,
            },
            "phases": {
                # Methods nobody knows are as unknown as the paths nobody knows.
                "coverage": {"unexpected-methods": []},
                # What is sent depends on nothing that was answered.
                "fuzzing": {
                    "extra-data-sources": {"responses": False},
                    "error-feedback": {"enabled": False},
                },
            },
            "max-stream-events": 10_000,
            # Others may be at work on this machine.
            "request-timeout": 60,
            "suppress-health-check": ["all"],
            # Looked at more closely by `refused_for_what_is_there`.
            "checks": {"positive_data_acceptance": {"enabled": False}},
        }
    )
    return schemathesis.openapi.from_dict(document(every_item=every_item, keys=keys), config=config)


SCHEMA = schema("all")
EVERY_ITEM = schema("positive", every_item=True).include(operation_id="createConversation")
FLOWS = {
    "conversations": schema("positive", keys=False).include(tag=["Conversations", "Items"]),
    "responses": schema("positive", keys=False).include(tag="Responses"),
}
"""What they do depends on nothing that was done before: keys would be remembered."""


class Standing(msgspec.Struct, frozen=True):
    """What paths can name: a conversation, an item of it, a response, a model."""

    conversation_id: str
    item_id: str
    response_id: str
    model: str = MODEL


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, _nothing_is_left: None) -> Iterator[Running]:
    """An instance of its own: what is sent here is of no use to anyone else."""
    running = Running(tmp_path_factory.mktemp("documents"), tokens_budget="0")
    try:
        yield running.start()
    finally:
        running.end()


@pytest.fixture(scope="module")
def headers(running: Running) -> dict[str, str]:
    """Those of a caller who may do everything; that nobody may without is looked at as well."""
    key = make(running, scope=ADMIN, all_projects=True)
    with running.http(key=key) as http:
        until(lambda: http.get("/v1/models").status_code == 200)
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.fixture(scope="module")
def standing(running: Running, headers: dict[str, str]) -> Standing:
    with running.client(key=headers["Authorization"].split()[1]) as client:
        conversation = client.conversations.create(items=[{"role": "user", "content": "Hello"}])
        (item,) = client.conversations.items.list(conversation.id).data
        response = client.responses.create(model=MODEL, input="Hello", background=True, stream=True)
        ids = {event.response.id for event in response if event.type == "response.completed"}
    assert item.id is not None
    return Standing(conversation.id, item.id, *ids)


def refused_for_what_is_there(_context: CheckContext, response: Response, case: Case) -> None:
    """A request as the document wants it is refused for nothing it says itself."""
    if not 400 <= response.status_code < 500 or case.meta is None:
        return
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error", error
    if case.meta.generation.mode.is_positive and response.status_code != 404:
        allowed = (
            error["code"] in STATE_CODES
            # Needs other fields to be what they are not.
            or error["param"] == "background_options.completion_window"
            # To a schema 1000.0 is an integer, to the contract it is not.
            or error["message"].endswith("expected an integer, but got a decimal instead.")
        )
        assert allowed, error


def streamed_to_its_end(_context: CheckContext, response: Response, case: Case) -> None:
    """A stream counts its events and ends with the one that says so."""
    if not response.headers.get("content-type", [""])[0].startswith(openapi.EVENT_STREAM):
        return
    frames = response.content.decode().split("\n\n")
    events = [json.loads(frame.split("\ndata: ")[1]) for frame in frames if "data: " in frame]
    if not events:
        # It was asked for from behind its end.
        assert "starting_after" in case.query
        return
    numbers = [event["sequence_number"] for event in events]
    assert all(after == before + 1 for before, after in pairwise(numbers))
    ends = [event["type"] in TERMINAL for event in events]
    assert ends == [False] * (len(events) - 1) + [True]


CHECKS = [refused_for_what_is_there, streamed_to_its_end]


def named(case: Case) -> str:
    name: str = case.operation.definition.raw["operationId"]
    return name


def made_possible(case: Case) -> None:
    """Let a turn as the document wants it run: a model that answers, nothing that is not there."""
    assert case.meta is not None
    if named(case) == "runSql" and isinstance(case.body, dict):
        # As with headers: it would wait for one that never comes.
        if isinstance(case.body.get("sequence"), int) and case.body["sequence"] > 0:
            del case.body["sequence"]
        return
    if named(case) not in TURNS or not isinstance(case.body, dict):
        return
    if case.meta.generation.mode.is_positive:
        kept = {name: value for name, value in case.body.items() if name not in ELSEWHERE}
        if kept.get("stream_options") is not None:
            kept["stream"] = True
        case.body = {**kept, "model": MODEL, "input": kept.get("input") or "Hello"}


def led_somewhere(case: Case, standing: Standing) -> None:
    """Let what a path names be there, unless it would be deleted or is wrong on purpose."""
    if case.method == "DELETE" or case.meta is None or case.meta.generation.mode.is_negative:
        return
    for name in case.path_parameters:
        if hasattr(standing, name):
            case.path_parameters[name] = getattr(standing, name)


@SCHEMA.parametrize()
def test_answers_are_as_described(
    case: Case,
    running: Running,
    session: requests.Session,
    headers: dict[str, str],
    standing: Standing,
):
    made_possible(case)
    if named(case) == "createConversationItems":
        # An id is taken once in each.
        made = session.post(f"{running.url}/v1/conversations", headers=headers)
        fresh = made.json()["id"]
        standing = msgspec.structs.replace(standing, conversation_id=fresh)
    led_somewhere(case, standing)
    case.call_and_validate(
        base_url=running.url, session=session, headers=headers, additional_checks=CHECKS
    )


@EVERY_ITEM.parametrize()
def test_items_of_every_type_are_taken(
    case: Case, running: Running, session: requests.Session, headers: dict[str, str]
):
    case.call_and_validate(
        base_url=running.url, session=session, headers=headers, additional_checks=CHECKS
    )


@pytest.mark.parametrize("flow", FLOWS)
def test_what_answers_lead_to_is_there_until_it_is_deleted(
    running: Running, session: requests.Session, headers: dict[str, str], flow: str
):
    class Flow(FLOWS[flow].as_state_machine()):
        def before_call(self, case: Case) -> None:
            made_possible(case)
            if isinstance(case.body, dict):
                case.body.pop("store", None)

        def get_call_kwargs(self, _case: Case) -> dict[str, Any]:
            return {"base_url": running.url, "session": session, "headers": headers}

        def validate_response(self, response: Response, case: Case, **kwargs: Any) -> None:
            super().validate_response(response, case, additional_checks=CHECKS, **kwargs)

    run_state_machine_as_test(
        Flow,
        settings=settings(
            max_examples=30,
            stateful_step_count=8,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_document_is_served_as_it_is_written(running: Running):
    with running.http() as http:
        served = http.get("/openapi.json").json()
    written = msgspec.yaml.decode((GENERATED / openapi.FILE).read_bytes())

    assert served == written | {"servers": [{"url": "/"}]}


def test_the_document_of_the_queue_is_served_with_all_it_refers_to(running: Running):
    with running.http() as http:
        served = http.get("/docs/asyncapi").json()

    assert served == json.loads(json.dumps(asyncapi.whole(version=version("turnlog"))))
