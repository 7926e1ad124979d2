"""What a model is asked for a summary with, and what is read in its answer."""

import httpx2
import pytest

from services.compaction import Covered
from services.compaction.by_model import ByModel, answered_text, prefix, read
from services.compaction.prompts import OPENING
from services.model.connect import model
from services.sealing import Sealer
from services.settings import ModelSettings
from tests.builders import call, compaction_item, message, output, plain, raw, said

SEALER = Sealer(bytes(32))
TALK = (
    message("msg_1", "My order is #12345."),
    call("call_1"),
    output("call_1", text="Parcel NL-4471-88"),
    said("msg_2", "It left."),
)
TOOL = {"type": "function", "name": "look", "parameters": {}, "strict": False}


@pytest.fixture(params=["responses", "chat"])
async def asked(request, simulator_url):
    opened = model(
        ModelSettings(model_url=simulator_url, model_api=request.param, model_wait_s=10), SEALER
    )
    yield ByModel(opened)
    await opened.aclose()


def covered(*, earlier=(), carried="", name="simulator", **parameters: object):
    return Covered(
        items=TALK,
        shown=(*earlier, *TALK),
        carried=carried,
        tokens_max=500,
        tokens_wanted=500,
        model_name=name,
        parameters={key: raw(value) for key, value in parameters.items()},
    )


async def test_a_summary_tells_what_the_items_told(asked):
    made = await asked.draft(covered())
    assert made.text.startswith("Summary of 4 items")
    assert "#12345" in made.text
    assert "NL-4471-88" in made.text
    assert plain(made.usage)["total_tokens"] > 0


async def test_an_earlier_summary_is_shown_and_not_told_again(asked):
    earlier = compaction_item("cmp_1", blob=SEALER.seal("Before. [[fail]]"))
    made = await asked.draft(covered(earlier=(earlier,), carried="Before. [[fail]]"))
    assert made.text.startswith("Summary of 4 items")
    assert "Before" not in made.text


async def test_it_is_asked_for_behind_the_window_as_turns_are_sent_it(simulator_url):
    upstream = model(ModelSettings(model_url=simulator_url, model_wait_s=10), SEALER)
    earlier = compaction_item("cmp_1", blob=SEALER.seal("Before."))
    await ByModel(upstream).draft(
        covered(
            earlier=(earlier,),
            carried="Before.",
            name="asked for a prefix",
            instructions="Be kind",
            tools=[TOOL],
            temperature=1.5,
            max_output_tokens=20,
            text={"format": {"type": "json_object"}},
            service_tier="flex",
        )
    )
    await upstream.aclose()

    origin = simulator_url.removesuffix("/v1")
    bodies = [each["body"] for each in httpx2.get(f"{origin}/simulator/requests").json()]
    (sent,) = [body for body in bodies if body["model"] == "asked for a prefix"]
    assert sent["input"][0]["role"] == "developer"
    assert sent["input"][1:-1] == [plain(item.raw) for item in TALK]
    last = sent["input"][-1]
    (part,) = last["content"]
    assert last["role"] == "user"
    assert part["text"].startswith(OPENING)
    assert part["text"].endswith("from “My order is #12345.” on.")
    others = {key: value for key, value in sent.items() if key not in {"input", "model"}}
    assert others == {
        "instructions": "Be kind",
        "tools": [TOOL],
        "tool_choice": "none",
        "service_tier": "flex",
        "store": False,
        "stream": False,
    }


def test_where_there_are_no_tools_none_is_forbidden():
    assert prefix({"instructions": raw(None), "user": raw("u")}) == {"user": raw("u")}


@pytest.mark.parametrize(
    ("said_by_model", "text", "listed"),
    [
        ("It left.", "It left.", ()),
        ("It left.\n\nAnchors:\n- NL-4471\n* Ada\n3. #1\n", "It left.", ("NL-4471", "Ada", "#1")),
        ("It left.\n**Anchors:**\nNL-4471", "It left.", ("NL-4471",)),
        ("```\nIt left.\nANCHORS\n```", "It left.", ()),
        ('{"summary": "It left.", "anchors": ["NL-4471", 3]}', "It left.", ("NL-4471",)),
        ('```json\n{"summary": "It left."}\n```', "It left.", ()),
        ('{"summary": 3}', '{"summary": 3}', ()),
        ('{"summary": "\\ud800"}', '{"summary": "\\ud800"}', ()),
        ('{"a":' * 9_000, '{"a":' * 9_000, ()),
        ("{It left.", "{It left.", ()),
        ("Anchors hold ships.", "Anchors hold ships.", ()),
        ("", "", ()),
    ],
    # Not every text is a name of a test.
    ids=range(12),
)
def test_answers_are_read_whatever_form_a_model_gives_them(said_by_model, text, listed):
    assert read(said_by_model) == (text, listed)


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
