"""What the gateway answers where no request of a client can bring it about."""

import json
from pathlib import Path

from starlette.requests import Request

from services.gateway import answers
from services.journal import JournalUnavailable

SAMPLES = json.loads(
    (Path(__file__).parents[1] / "contract" / "samples" / "errors.json").read_text()
)
REQUEST = Request({"type": "http", "method": "GET", "path": "/v1/conversations/conv_1"})


async def test_a_fault_of_ours_is_told_in_the_contracts_words():
    (sample,) = [each for each in SAMPLES if each["name"] == "server_error"]
    answer = await answers.on_fault(REQUEST, RuntimeError("conv_1 of Anna broke"))
    assert (answer.status_code, json.loads(answer.body)) == (sample["status"], sample["body"])


async def test_a_log_that_cannot_be_reached_is_to_be_asked_again():
    answer = await answers.on_fault(REQUEST, JournalUnavailable("no server"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert json.loads(answer.body)["error"]["type"] == "server_error"
