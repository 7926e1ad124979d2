import httpx2
import pytest

from services.model.connect import model
from services.model.summary import INSTRUCTIONS, answered_text, opened, summarise
from services.sealing import Sealer
from services.settings import ModelSettings
from tests.builders import call, compaction_item, message, output, plain, raw, said

TALK = (
    message("msg_1", "My order is #12345."),
    call("call_1"),
    output("call_1", text="Parcel NL-4471-88"),
    said("msg_2", "It left."),
)


@pytest.fixture(params=["responses", "chat"])
async def upstream(request, simulator_url):
    opened = model(
        ModelSettings(model_url=simulator_url, model_api=request.param, model_wait_s=10),
        Sealer(bytes(32)),
    )
    yield opened
    await opened.aclose()


async def test_a_summary_tells_what_the_items_told(upstream):
    made = await summarise(upstream, TALK, carried="", model_name="simulator")
    assert made.text.startswith("Summary of")
    assert "#12345" in made.text
    assert "NL-4471-88" in made.text
    assert plain(made.usage)["total_tokens"] > 0


async def test_an_earlier_summary_is_carried_over_as_it_is(upstream):
    alone = await summarise(upstream, TALK, carried="", model_name="simulator")
    made = await summarise(upstream, TALK, carried="Before. [[fail]]", model_name="simulator")
    assert made.text == f"Before. [[fail]]\n\n{alone.text}"


async def test_without_items_nothing_is_asked(upstream):
    made = await summarise(upstream, (), carried="Before.", model_name="simulator")
    assert made.text == "Before."
    assert plain(made.usage)["total_tokens"] == 0


async def test_half_a_summary_is_none(upstream):
    made = await summarise(
        upstream,
        TALK,
        carried="Before.",
        model_name="simulator",
        parameters={"max_output_tokens": raw(16)},
    )
    assert made.text == ""
    assert plain(made.usage)["total_tokens"] > 0


def test_an_earlier_summary_is_carried_over_if_it_is_ours_and_else_summarised():
    sealer = Sealer(bytes(32))
    ours = compaction_item("cmp_1", blob=sealer.seal("Before."))
    theirs = compaction_item("cmp_2", blob=Sealer(bytes([1] * 32)).seal("Elsewhere."))
    assert opened(None, TALK, sealer) == ("", TALK)
    assert opened(ours, TALK, sealer) == ("Before.", TALK)
    assert opened(theirs, TALK, sealer) == ("", (theirs, *TALK))


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, INSTRUCTIONS), ("Keep file names", f"{INSTRUCTIONS}\n\nKeep file names")],
)
async def test_it_is_asked_for_with_the_items_as_they_are_and_the_callers_parameters(
    simulator_url, given, expected
):
    upstream = model(ModelSettings(model_url=simulator_url, model_wait_s=10), Sealer(bytes(32)))
    parameters = {"instructions": raw(given), "service_tier": raw("flex")}
    name = f"asked {given}"
    await summarise(upstream, TALK, carried="", model_name=name, parameters=parameters)
    await upstream.aclose()

    origin = simulator_url.removesuffix("/v1")
    bodies = [each["body"] for each in httpx2.get(f"{origin}/simulator/requests").json()]
    (asked,) = [body for body in bodies if body["model"] == name]
    assert asked["input"][:-1] == [plain(item.raw) for item in TALK]
    assert asked["input"][-1]["role"] == "user"
    assert (asked["instructions"], asked["service_tier"]) == (expected, "flex")


def test_the_text_of_an_answer_is_all_the_text_of_its_messages():
    refusal = {
        "id": "msg_3",
        "type": "message",
        "content": [{"type": "refusal", "refusal": "No."}],
        "role": "assistant",
    }
    answer = [item.raw for item in (said("msg_1", "One."), call("call_1"), said("msg_2", " Two. "))]
    assert answered_text((*answer, raw(refusal), raw({"type": "reasoning", "content": None}))) == (
        "One.\n Two."
    )
    assert answered_text(()) == ""
