"""What is tried again before the first byte, and nothing after it."""

import pytest

from tests.model.calling import (
    CHUNK,
    FORMS,
    GOOD,
    SOON,
    asking,
    connected,
    outcome,
)
from tests.told_streams import message as told_message
from tests.told_streams import whole
from tests.upstream import DROP, HANG, Said, ScriptedUpstream, error, stream


@pytest.mark.parametrize("streamed", FORMS)
@pytest.mark.parametrize(
    "trouble",
    [
        *(error(status, headers=SOON) for status in (500, 503, 429, 408, 409)),
        Said(chunks=(DROP,)),
    ],
    ids=["500", "503", "429", "408", "409", "drop"],
)
async def test_trouble_before_the_first_byte_is_tried_again(
    scripted: ScriptedUpstream, api: str, mark: str, trouble: Said, *, streamed: bool
):
    scripted.plan(mark, trouble, trouble, GOOD[api, streamed])

    kind, _, _ = await outcome(connected(api, scripted.url), asking(mark), streamed=streamed)

    assert kind == "answer"
    assert scripted.retry_counts(mark) == ["0", "1", "2"]


@pytest.mark.parametrize("streamed", FORMS)
@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (error(500, headers=SOON), "The model answered with status 500."),
        (error(409, headers=SOON), "The model answered with status 409."),
        (Said(chunks=(DROP,)), "The connection to the model failed."),
    ],
    ids=["500", "409", "drop"],
)
async def test_trouble_that_stays_is_given_up_after_three_requests(
    scripted: ScriptedUpstream, api: str, mark: str, trouble: Said, said: str, *, streamed: bool
):
    scripted.plan(mark, trouble)

    told = await outcome(connected(api, scripted.url), asking(mark), streamed=streamed)

    assert told == ("unavailable", said, [])
    assert len(scripted.asked(mark)) == 3


@pytest.mark.parametrize("streamed", FORMS)
async def test_a_limit_that_stays_is_refused_with_its_wait(
    scripted: ScriptedUpstream, api: str, mark: str, *, streamed: bool
):
    scripted.plan(mark, error(429, "Slow down.", type="tokens", headers=SOON))

    kind, refused, _ = await outcome(connected(api, scripted.url), asking(mark), streamed=streamed)

    assert kind == "refused"
    assert (refused.status, refused.kind, refused.code) == (429, "tokens", "rate_limit_exceeded")
    assert (refused.message, refused.retry_after_s) == ("Slow down.", 1)
    assert len(scripted.asked(mark)) == 3


@pytest.mark.parametrize("streamed", FORMS)
@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
async def test_a_fault_of_the_request_is_not_tried_again(
    scripted: ScriptedUpstream, api: str, mark: str, status: int, *, streamed: bool
):
    scripted.plan(mark, error(status))

    kind, _, _ = await outcome(connected(api, scripted.url), asking(mark), streamed=streamed)

    assert kind == ("unavailable" if status == 401 else "refused")
    assert len(scripted.asked(mark)) == 1


MIDDLE = {
    "responses": whole(told_message(0, "Hel", "lo"))[:5],
    "chat": [CHUNK, CHUNK],
}


@pytest.mark.parametrize("end", [DROP, HANG, None], ids=["drop", "hang", "end"])
async def test_a_stream_that_has_begun_is_not_asked_for_again(
    scripted: ScriptedUpstream, api: str, mark: str, end: bytes | None
):
    scripted.plan(mark, stream([*MIDDLE[api], *([end] if end else [])]))

    opened = connected(api, scripted.url, wait_s=2 if end == HANG else 30)
    kind, why, events = await outcome(opened, asking(mark), streamed=True)

    assert (kind, why) == (
        "unavailable",
        {
            DROP: "The connection to the model failed.",
            HANG: "The model did not answer in time.",
            None: "The model's answer broke off.",
        }[end],
    )
    assert [each["type"] for each in events][:2] == [
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert len(scripted.asked(mark)) == 1


@pytest.mark.parametrize("streamed", FORMS)
async def test_a_model_that_says_nothing_is_given_up(
    scripted: ScriptedUpstream, api: str, mark: str, *, streamed: bool
):
    scripted.plan(mark, Said(chunks=(HANG,)))

    opened = connected(api, scripted.url, wait_s=0.5)
    told = await outcome(opened, asking(mark), streamed=streamed)

    assert told == ("unavailable", "The model did not answer in time.", [])
    assert len(scripted.asked(mark)) == 3


async def test_a_plain_answer_cut_in_its_middle_is_asked_for_again(
    scripted: ScriptedUpstream, api: str, mark: str
):
    (whole_body,) = GOOD[api, False].chunks
    cut = Said(chunks=(whole_body[:9], DROP), sized=True)
    scripted.plan(mark, cut, GOOD[api, False])

    kind, _, _ = await outcome(connected(api, scripted.url), asking(mark), streamed=False)

    assert kind == "answer"
    assert len(scripted.asked(mark)) == 2
