"""What comes of a summary by each method, and of one that fails."""

import pytest

from services.compaction import Covered, NotCovered
from services.compaction.connect import summariser
from services.compaction.prompts import OPENING
from services.model import ModelRefused
from services.model.connect import model
from services.model.tokenizer import Tokenizer
from services.sealing import Sealer
from services.settings import ModelSettings, SettingsError, read
from tests.builders import compaction_item, message, said
from tests.upstream import HANG, Said, body, error, serving

SEALER = Sealer(bytes(32))
TALK = (
    message("msg_1", "My order is #12345. " + "It is urgent. " * 30),
    said("msg_2", "It left Rotterdam on 2026-11-02."),
)


@pytest.fixture(scope="module")
def upstream():
    with serving() as scripted:
        yield scripted


@pytest.fixture
async def made(upstream):
    """Makes a summary by a method, with an upstream that answers as it is told to."""
    opened = []

    async def make(answer: Said, *, method: str = "summary", **covered: object):
        upstream.plan("urgent", answer)
        wait_s = 0.5 if HANG in answer.chunks else 30.0
        settings = ModelSettings(
            model_url=upstream.url, compaction_method=method, compaction_wait_s=wait_s
        )
        asked = model(settings, SEALER)
        opened.append(asked)
        refusals_told = bool(covered.pop("refusals_told", False))
        given = {
            "items": TALK,
            "shown": TALK,
            "tokens_max": 100,
            "tokens_wanted": 100,
            "model_name": "m",
            "said": (),
            **covered,
        }
        made_by = summariser(settings, asked, SEALER, Tokenizer())
        return await made_by.summary(Covered(**given), refusals_told=refusals_told)

    yield make
    for each in opened:
        await each.aclose()


def answer(text: str, *, status: str = "completed") -> Said:
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    item = {"id": "msg_9", "type": "message", "role": "assistant", "content": [part]}
    return body({"status": status, "model": "m", "output": [{**item, "status": status}]})


def compacted(*said_by_user: str, blob: str = "opaque", tokens: int = 7) -> Said:
    output = [
        {"id": f"msg_x{n}", "type": "message", "role": "user", "content": text}
        for n, text in enumerate(said_by_user)
    ]
    sealed = {"id": "cmp_x", "type": "compaction", "encrypted_content": blob}
    return body({"output": [*output, sealed], "usage": {"output_tokens": tokens}})


async def test_what_the_model_left_out_is_added(made):
    summary = await made(answer("An order was sent."))
    assert summary.text.startswith("An order was sent.\nAnchors: ")
    assert all(fact in summary.text for fact in ("#12345", "Rotterdam", "2026-11-02"))
    assert (summary.method, summary.fallback) == ("summary", "")
    assert summary.anchors_found == summary.anchors_kept == 3


@pytest.mark.parametrize(
    ("said_by_model", "reason"),
    [
        (error(500, headers={"x_should_retry": "false"}), "model_unavailable"),
        (error(400, "Too long.", code="context_length_exceeded"), "model_refused"),
        (Said(chunks=(HANG,)), "timed_out"),
        (answer("Half", status="incomplete"), "empty"),
        (answer(""), "empty"),
        (answer("Very much. " * 100), "no_gain"),
        (answer("Much. " * 47), "anchors_lost"),
    ],
    ids=["broken", "refused", "late", "half", "empty", "large", "no_room_for_anchors"],
)
async def test_a_summary_that_fails_is_replaced_and_says_why(made, said_by_model, reason):
    summary = await made(said_by_model)
    assert (summary.method, summary.fallback) == ("extractive", reason)
    assert all(fact in summary.text for fact in ("#12345", "Rotterdam", "2026-11-02"))
    assert summary.tokens <= 101


async def test_who_asked_for_nothing_else_is_told_what_the_upstream_refuses(made):
    with pytest.raises(ModelRefused):
        await made(error(400, "No."), refusals_told=True)


async def test_what_can_only_grow_is_not_covered(made):
    with pytest.raises(NotCovered) as refused:
        await made(answer("Very much."), tokens_max=1, tokens_wanted=1)
    assert refused.value.reason == "no_gain"


async def test_without_a_model_none_is_asked(made, upstream):
    before = len(upstream.asked("urgent"))
    summary = await made(error(500), method="extractive", carried="Before.")
    assert len(upstream.asked("urgent")) == before
    assert summary.text.startswith("Before.\n\nUser: My order is #12345.")
    assert (summary.method, summary.fallback) == ("extractive", "")


async def test_where_nothing_is_to_be_told_what_was_carried_stays_with_what_stays_beside_it(made):
    summary = await made(error(500), items=(), carried="Before.", said=TALK[:1])
    assert (summary.text, summary.said, summary.fallback) == ("Before.", TALK[:1], "")


async def test_what_only_an_upstream_can_read_is_not_covered_without_it(made):
    sealed = compaction_item("cmp_1", blob="gAAAA")
    with pytest.raises(NotCovered) as refused:
        await made(error(500), method="extractive", items=(sealed, *TALK))
    assert refused.value.reason == "sealed_elsewhere"


async def test_the_upstreams_own_compaction_is_kept_as_it_is(made, upstream):
    text = "My order is #12345. " + "It is urgent. " * 30
    before = len(upstream.asked("urgent"))
    summary = await made(compacted(text), method="upstream", said=TALK[:1])
    # It can be sent on by clients, whom nothing foreign may come from.
    assert SEALER.enclosed(summary.sealed) == "opaque"
    assert (summary.text, summary.tokens) == ("", 7)
    assert (summary.method, summary.said) == ("upstream", TALK[:1])
    (asked,) = upstream.asked("urgent")[before:]
    assert OPENING not in str(asked)
    assert "/v1/responses/compact" in upstream.paths()


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (compacted("It is urgent, whatever."), "upstream_rewrote"),
        (compacted(tokens=101), "no_gain"),
        (body({"output": []}), "empty"),
        (body({}), "model_unavailable"),
        (body({"output": [{"id": "cmp_x", "type": "compaction"}]}), "model_unreadable"),
        (body({"output": [{"id": "cmp_x"}]}), "model_unreadable"),
        (body({"output": [3]}), "model_unreadable"),
    ],
    ids=["rewritten", "large", "nothing", "unreadable", "unsealed", "typeless", "number"],
)
async def test_a_compaction_of_the_upstreams_that_fails_is_replaced(made, told, reason):
    summary = await made(told, method="upstream")
    assert (summary.method, summary.fallback) == ("extractive", reason)


async def test_beside_what_nothing_can_stay_the_model_is_asked_for_words(made):
    summary = await made(answer("An order was sent."), method="upstream", said=None)
    assert (summary.method, summary.fallback) == ("summary", "")


def test_the_chat_api_has_no_compaction_of_its_own():
    with pytest.raises(SettingsError, match="TURNLOG_MODEL_API=responses"):
        read(
            ModelSettings,
            {"TURNLOG_MODEL_API": "chat", "TURNLOG_COMPACTION_METHOD": "upstream"},
        )
