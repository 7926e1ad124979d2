from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from services import clock
from services.model import ModelRefused, ModelUnavailable
from services.model.refusals import RETRY_AFTER_S_MAX, fault, words


def told(status: int, body: object = None, **headers: str) -> ModelRefused | ModelUnavailable:
    return fault(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def refused(status: int, body: object = None, **headers: str) -> ModelRefused:
    error = told(status, body, **headers)
    assert isinstance(error, ModelRefused)
    return error


def openai(**fields: Any) -> dict[str, Any]:
    return {
        "message": "Nope.",
        "type": "invalid_request_error",
        "param": "input",
        "code": "x",
        **fields,
    }


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_fault_of_the_request_is_told_in_the_upstreams_words(status: int):
    error = refused(status, openai())
    assert (error.status, error.message, error.param, error.code) == (status, "Nope.", "input", "x")
    assert (error.kind, error.retry_after_s) == ("invalid_request_error", None)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, openai(code="model_not_found")),
        (400, openai(code="model_not_found")),
        (403, openai(code="model_not_found")),
        (404, {"message": "The model `m` does not exist.", "type": "NotFoundError", "code": 404}),
        (404, {"message": "model 'm' not found", "type": "not_found_error", "code": None}),
    ],
)
def test_a_model_nobody_has_is_a_fault_of_the_request(status: int, body: object):
    error = refused(status, body)
    assert (error.status, error.code, error.param) == (400, "model_not_found", "model")


@pytest.mark.parametrize("status", [401, 403, 407])
def test_credentials_that_are_refused_are_ours(status: int):
    error = told(status, openai(message="Incorrect API key provided: sk-secret."))
    assert isinstance(error, ModelUnavailable)
    assert str(error) == "The model's server refused the credentials of this service."


@pytest.mark.parametrize(
    "body",
    [
        None,
        "404 page not found",
        {"detail": "Not Found"},
        openai(message="Invalid URL (POST /v1/x)", code=None),
    ],
)
def test_an_address_the_upstream_does_not_know_is_ours(body: object):
    error = told(404, body)
    assert isinstance(error, ModelUnavailable)
    assert str(error) == "The model's server does not offer the API it is asked by."


@pytest.mark.parametrize("status", [402, 405, 408, 409, 418, 500, 502, 503, 504, 529])
def test_all_else_is_about_the_upstream(status: int):
    error = told(status, openai(message="secret"))
    assert isinstance(error, ModelUnavailable)
    assert str(error) == f"The model answered with status {status}."


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (openai(type="tokens", code="rate_limit_exceeded"), "tokens", "rate_limit_exceeded"),
        (openai(type="requests", code=None), "requests", "rate_limit_exceeded"),
        (
            openai(type="insufficient_quota", code="insufficient_quota"),
            "insufficient_quota",
            "insufficient_quota",
        ),
        (
            openai(type="x", code="insufficient_quota"),
            "insufficient_quota",
            "insufficient_quota",
        ),
        (openai(type="RateLimitError", code=429), "requests", "rate_limit_exceeded"),
        ("<html>", "requests", "rate_limit_exceeded"),
    ],
)
def test_a_limit_says_which_it_is(body: object, kind: str, code: str):
    error = refused(429, body)
    assert (error.status, error.kind, error.code, error.retry_after_s) == (429, kind, code, 1)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 1),
        ({"retry_after": "7"}, 7),
        ({"retry_after": "0"}, 1),
        ({"retry_after": "-3"}, 1),
        ({"retry_after": "1.2"}, 2),
        ({"retry_after": "soon"}, 1),
        ({"retry_after": "inf"}, 1),
        ({"retry_after": "nan"}, 1),
        ({"retry_after": "9" * 400}, 1),
        ({"retry_after": "1e9"}, RETRY_AFTER_S_MAX),
        ({"retry_after_ms": "2500", "retry_after": "9"}, 3),
        ({"retry_after": "Fri, 24 Oct 2025 15:10:54 GMT"}, 1),
        ({"retry_after": "Fri, 24 Oct 2025 15:10:54 -0000"}, 1),
    ],
    ids=str,
)
def test_the_wait_is_whole_seconds_and_at_least_one(headers: dict[str, str], seconds: int):
    assert refused(429, None, **headers).retry_after_s == seconds


def test_a_wait_may_be_told_as_a_date():
    until = format_datetime(clock.now() + timedelta(seconds=30), usegmt=True)
    assert refused(429, None, retry_after=until).retry_after_s in {29, 30}


def test_a_refusal_without_words_gets_some():
    assert refused(422, {"detail": [{"msg": "field required"}]}).message == (
        "The model's server refused the request with status 422."
    )
    assert refused(422, {"detail": "No tools."}).message == "No tools."


@pytest.mark.parametrize(("value", "expected"), [("x", "x"), ("", None), (5, None), (None, None)])
def test_only_text_is_words(value: object, expected: str | None):
    assert words(value) == expected
