"""Requests that must be refused, and how: asked as they are, their answers checked whole."""

import json
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from tests.whole.running import MODEL

CONVERSATIONS = "/v1/conversations"
RESPONSES = "/v1/responses"
ITEMS = "/v1/conversations/{conversation}/items"
BAD_JSON = (
    "Invalid body: failed to parse JSON value. Please check the value to ensure it is valid JSON. "
    "(Common errors include trailing commas, missing closing brackets, missing quotation marks, "
    "etc.)"
)
SAMPLES = {
    sample["name"]: sample
    for sample in json.loads(
        (Path(__file__).parents[1] / "contract" / "samples" / "errors.json").read_text()
    )
}
"""The contract's error bodies by name."""


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """The contract's error; ``param`` or ``code`` "*" stands for any, no ``message`` for any too.

    ``{name}`` in a message stands for one of the ids a case is asked with.
    """

    status: int = 400
    message: str | None = None
    param: str | None = None
    code: str | None = None
    type: str = "invalid_request_error"


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A request that must be refused, and how; without ``error``: with any 4xx.

    ``{name}`` in path and body stands for one of the ids it is asked with.
    """

    name: str
    method: str = "POST"
    path: str
    body: Any = None
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    error: Error | None = None
    queued: bool = False
    """Refused by the rules, which live behind the queue: the request passes through it."""
    strict: bool = False
    """Asked of a gateway that refuses unknown parameters."""


def sampled(name: str) -> Error:
    """An error as the contract's sample has it."""
    sample = SAMPLES[name]
    return Error(status=sample["status"], **sample["body"]["error"])


def wrong(param: str, wanted: str, given: str) -> Error:
    """A value of another kind."""
    text = f"Invalid type for '{param}': expected {wanted}, but got {given} instead."
    return Error(message=text, param=param, code="invalid_type")


def lacking(param: str) -> Error:
    """A field that is not there."""
    text = f"Missing required parameter: '{param}'."
    return Error(message=text, param=param, code="missing_required_parameter")


def prefixed(param: str, value: str, prefix: str) -> Error:
    """An id of another kind."""
    text = f"Invalid '{param}': '{value}'. Expected an ID that begins with '{prefix}'."
    return Error(message=text, param=param, code="invalid_value")


def unsupported(param: str, value: str, supported: str) -> Error:
    """A value that is not one of the written ones."""
    text = f"Invalid value: '{value}'. Supported values are: {supported}."
    return Error(message=text, param=param, code="invalid_value")


def unknown(param: str, suggested: str = "") -> Error:
    """A name nobody knows."""
    text = f"Unknown parameter: '{param}'.{suggested and ' Did you mean ' + suggested + '?'}"
    return Error(message=text, param=param, code="unknown_parameter")


def absent(what: str, name: str, where: str = "") -> Error:
    """What the path names is not there."""
    return Error(status=404, message=f"{what} with id '{name}' not found{where}.")


def turn(**fields: Any) -> dict[str, Any]:
    """The body of a turn that must not run."""
    return {"model": MODEL, "input": "never answered", **fields}


def asked(http: httpx2.Client, case: Case, ids: dict[str, str]) -> httpx2.Response:
    """The answer to a case."""
    body = case.body
    if body is not None and not isinstance(body, bytes):
        body = filled(json.dumps(body), ids).encode()
    return http.request(
        case.method,
        filled(case.path, ids),
        content=body,
        params=case.query or None,
        # As no client of HTTP lets one write them.
        headers={name: value.encode("latin-1") for name, value in case.headers.items()},
    )


def filled(text: str, ids: dict[str, str]) -> str:
    """``text`` with the ids it names."""
    for name, value in ids.items():
        text = text.replace("{" + name + "}", value)
    return text


def check(answer: httpx2.Response, expected: Error | None, ids: dict[str, str]) -> None:
    """The answer is the contract's error body, and this error."""
    body = answer.json()
    assert list(body) == ["error"]
    found = body["error"]
    assert list(found) == ["message", "type", "param", "code"]
    assert found["message"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    assert found["type"] == (expected.type if expected else "invalid_request_error")
    if expected is None:
        return
    assert answer.status_code == expected.status
    if expected.message is not None:
        assert found["message"] == filled(expected.message, ids)
    assert (expected.param == "*") or found["param"] == expected.param
    assert (expected.code == "*") or found["code"] == expected.code
