"""The OpenAPI 3.1 document of the HTTP contract, from the rows of `schemas.http.operations`."""

from collections.abc import Iterable, Mapping
from typing import Any

from schemas import item_shapes, shapes
from schemas.deltas import SEQUENCE_HEADER
from schemas.http import answer_shapes, request_shapes, stream_shapes
from schemas.http.beside import Parameter
from schemas.http.examples import ANSWERS, REFUSALS, REQUESTS
from schemas.http.history import LINES
from schemas.http.operation import BODY_FAULTS, FAULTS, Operation
from schemas.http.operations import OPERATIONS
from schemas.http.scopes import OPERATION_SCOPES
from schemas.http.sql import ARROW
from schemas.shapes import Shape

FILE = "openapi.yaml"
JSON = "application/json"
EVENT_STREAM = "text/event-stream"

_TAGS = {
    "Conversations": "Histories that last, with metadata of yours.",
    "Items": "What a conversation holds, in its order.",
    "Responses": "Turns of the model and their outcome.",
    "History": "What was when, hidden and deleted conversations included.",
    "Views": "What analysts ask.",
    "Models": "What can answer.",
    "Server": "Whether everything runs, and what it speaks.",
}
_NAMES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    408: "TooSlow",
    409: "Conflict",
    413: "TooLarge",
    422: "Unprocessable",
    429: "TooManyRequests",
    500: "ServerFault",
    503: "Unavailable",
}
_REASONS = {
    200: "Done.",
    400: "The request is wrong, or what it asks for is not possible now.",
    401: "No API key was sent, or one that lets nobody in.",
    403: "The API key does not allow this.",
    404: "What it names is not there.",
    408: "The body did not come in time.",
    409: "The idempotency key stands for another request; or the model refused it: conflict.",
    413: "The body is longer than the server reads.",
    422: "The model refused it: unprocessable.",
    429: "Too many at once, here or for the model. Try again after `Retry-After`.",
    500: "The server made a mistake.",
    503: "Not now. Try again after `Retry-After`.",
}
_RATE_HEADERS = {
    "x-ratelimit-limit-requests": "Requests a minute the key may make",
    "x-ratelimit-remaining-requests": "Requests it may make at once now",
    "x-ratelimit-reset-requests": "Time until it may make all of them at once again",
}
"""Of every answer to a key that has a limit."""
_BESIDE_REFUSALS = {
    401: ("WWW-Authenticate",),
    409: ("x-should-retry",),
    429: ("Retry-After", *_RATE_HEADERS),
    503: ("Retry-After",),
}
_UNAVAILABLE = 503
_KEY = "ApiKey"
_KEY_FAULTS = (401, 403, 429)
"""Statuses any operation may answer with that needs a key."""

_HEADERS: dict[str, Shape] = {
    "x-request-id": {
        "description": "Id of this exchange, also in the log of the server.",
        "required": True,
        "schema": shapes.TEXT,
    },
    SEQUENCE_HEADER: {
        "description": "Sequence of the log this answer stands at.",
        "schema": shapes.integer(least=0),
    },
    "x-should-retry": {
        "description": "`false`: to be refused again, however often the request is sent.",
        "schema": shapes.one_of(("true", "false")),
    },
    "WWW-Authenticate": {
        "description": "How to say who one is.",
        "schema": shapes.exactly("Bearer"),
    },
    **{
        name: {"description": f"{says}, if there is a limit.", "schema": shapes.TEXT}
        for name, says in _RATE_HEADERS.items()
    },
    "Retry-After": {
        "description": "Seconds after which the request may be sent again, where that is known.",
        "schema": shapes.integer(least=0),
    },
}


def document(*, version: str, server: str) -> Shape:
    """The document, as plain data; ``server`` is the URL its paths stand behind."""
    paths: dict[str, Shape] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Turnlog",
            "version": version,
            "summary": "Conversation state for applications on language models.",
            "description": "OpenAI's Conversations API and stateful Responses API, self-hosted: "
            "unmodified SDKs of OpenAI work against it. Fields and query parameters that are not "
            "described here are tolerated and ignored.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "tags": [{"name": name, "description": says} for name, says in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "responses": {name: _refusal(status) for status, name in _NAMES.items()},
            "headers": dict(_HEADERS),
            "securitySchemes": {
                _KEY: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key of `turnlog keys create`, for one project. Its scope is "
                    "`read`, `write` or `admin`: each allows what those before it allow. As long "
                    "as there never was a key, whoever is on the same machine needs none.",
                }
            },
        },
    }


def _schemas() -> dict[str, Shape]:
    return {
        **request_shapes.described(),
        **answer_shapes.described(),
        **item_shapes.described(),
        **stream_shapes.described(),
    }


def _operation(row: Operation) -> Shape:
    described: Shape = {"operationId": row.id, "tags": [row.tag], "summary": row.says}
    if row.more:
        described["description"] = row.more
    needed = OPERATION_SCOPES[row.id]
    described["security"] = [] if needed is None else [{_KEY: [needed]}]
    if row.parameters:
        described["parameters"] = [_parameter(each) for each in row.parameters]
    if row.body:
        described["requestBody"] = {
            "required": row.body_needed,
            "content": {JSON: _content(row.body, REQUESTS.get(row.id, {}))},
        }
    described["responses"] = {
        "200": _answer(row),
        **{str(status): _refused(row, status) for status in _refusals(row)},
    }
    return described


def _refusals(row: Operation) -> list[int]:
    of_body = BODY_FAULTS if row.body else ()
    of_key = _KEY_FAULTS if OPERATION_SCOPES[row.id] else ()
    return sorted({*row.refusals, *of_body, *of_key, *FAULTS})


def _parameter(row: Parameter) -> Shape:
    return {
        "name": row.name,
        "in": row.place,
        "required": row.required or row.place == "path",
        "description": row.says,
        "schema": row.shape,
    }


def _content(name: str, examples: Mapping[str, Any]) -> Shape:
    content: Shape = {"schema": shapes.ref(name)}
    if examples:
        content["examples"] = {name: {"value": value} for name, value in examples.items()}
    return content


def _answer(row: Operation) -> Shape:
    json = {"schema": shapes.ref(row.answer)}
    if row.answer in ANSWERS:
        json["example"] = ANSWERS[row.answer]
    content = {LINES if row.lines else JSON: json}
    if row.streams:
        content[EVENT_STREAM] = {"schema": shapes.ref("ServerSentEvent")}
    if row.arrow:
        content[ARROW] = {"schema": {"type": "string", "contentMediaType": ARROW}}
    described = {
        "description": _REASONS[200],
        "headers": _headers([SEQUENCE_HEADER] if row.stands else []),
        "content": content,
    }
    if row.links:
        described["links"] = {
            link.operation: {
                "operationId": link.operation,
                "parameters": dict(link.parameters),
            }
            for link in row.links
        }
    return described


def _refused(row: Operation, status: int) -> Shape:
    if row.id == "getHealth" and status == _UNAVAILABLE:
        # The same body, if one of the services cannot serve.
        return {
            "description": _REASONS[status],
            "headers": _headers([]),
            "content": {JSON: {"schema": shapes.ref(row.answer)}},
        }
    return {"$ref": f"#/components/responses/{_NAMES[status]}"}


def _refusal(status: int) -> Shape:
    return {
        "description": _REASONS[status],
        "headers": _headers(_BESIDE_REFUSALS.get(status, ())),
        "content": {JSON: _content("ErrorBody", REFUSALS.get(status, {}))},
    }


def _headers(names: Iterable[str]) -> Shape:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("x-request-id", *names)}
