import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from services.conversation import pairing
from services.conversation.compaction import plan
from services.conversation.decide import before_input
from services.conversation.history import item_of
from services.conversation.refusals import (
    ReasoningAlone,
    Refused,
    ToolCallMissing,
    ToolOutputMissing,
)
from services.conversation.window import check
from tests.builders import (
    PROPERTY,
    added,
    compacted,
    compaction_item,
    created,
    message,
    raw,
    reasoning,
    said,
    state_of,
)
from tests.schemas.item_shapes import STORED

SAMPLES = {item["type"]: item for item in STORED}


def item(kind: str, **fields: object):
    """The contract's sample of a type, with other fields."""
    return item_of(raw({**SAMPLES[kind], **fields}), 1)


def pair(call: str, answer: str, name: str = "1"):
    """A call and its answer, joined by ``name``."""
    if call == "mcp_approval_request":
        request = item(call, id=f"mcpr_{name}")
        return request, item(answer, id=f"mcpa_{name}", approval_request_id=f"mcpr_{name}")
    more = {"execution": "client"} if call == "tool_search_call" else {}
    return (
        item(call, id=f"a_{name}", call_id=f"call_{name}", **more),
        item(answer, id=f"b_{name}", call_id=f"call_{name}", **more),
    )


PAIRS = list(pairing.ANSWERED_BY.items())


@pytest.mark.parametrize(("call", "answer"), PAIRS)
def test_every_call_of_a_client_needs_its_answer_and_every_answer_its_call(call, answer):
    asked, answered = pair(call, answer)
    check((), (asked, answered))
    check((asked, message("msg_1")), (answered,))
    with pytest.raises(ToolOutputMissing):
        check((asked,), (message("msg_1"),))
    with pytest.raises(ToolCallMissing):
        check((), (answered,))


@pytest.mark.parametrize(("call", "answer"), PAIRS)
@pytest.mark.parametrize(("other", "other_answer"), PAIRS)
def test_an_answer_of_one_kind_does_not_answer_a_call_of_another(call, answer, other, other_answer):
    asked, answered = pair(call, answer)
    others = pair(other, other_answer)
    if call == other:
        check((), (asked, answered))
        return
    with pytest.raises(Refused):
        check((), (asked, others[1]))


WORDS = {
    "function_call": (
        "No tool output found for function call call_1.",
        "No tool call found for function call output with call_id call_1.",
    ),
    "custom_tool_call": (
        "No tool output found for custom tool call call_1.",
        "No tool call found for custom tool call output with call_id call_1.",
    ),
    "computer_call": (
        "No tool output found for computer call call_1.",
        "No tool call found for computer call output with call_id call_1.",
    ),
    "shell_call": (
        "No tool output found for shell call call_1.",
        "No tool call found for shell call output with call_id call_1.",
    ),
    "apply_patch_call": (
        "No tool output found for apply patch call call_1.",
        "No tool call found for apply patch call output with call_id call_1.",
    ),
    "local_shell_call": (
        "No tool output found for local shell call call_1.",
        "No tool call found for local shell call output with call_id call_1.",
    ),
    "tool_search_call": (
        "No tool output found for tool search call call_1.",
        "No tool call found for tool search output with call_id call_1.",
    ),
    "mcp_approval_request": (
        "No tool output found for MCP approval request mcpr_1.",
        "No tool call found for MCP approval response with call_id mcpr_1.",
    ),
}


@pytest.mark.parametrize("call", pairing.ANSWERED_BY)
def test_what_is_missing_is_said_in_the_words_of_its_kind(call):
    asked, answered = pair(call, pairing.ANSWERED_BY[call])
    with pytest.raises(ToolOutputMissing) as output_missing:
        check((), (asked,))
    with pytest.raises(ToolCallMissing) as call_missing:
        check((), (answered,))
    assert (output_missing.value.message, call_missing.value.message) == WORDS[call]
    assert [
        (r.value.status, r.value.param, r.value.code) for r in (output_missing, call_missing)
    ] == [(400, "input", None)] * 2


ALONE = (
    "message",
    "file_search_call",
    "web_search_call",
    "image_generation_call",
    "code_interpreter_call",
    "tool_search_call",
    "tool_search_output",
    "mcp_list_tools",
    "mcp_call",
    "program",
    "program_output",
    "additional_tools",
    "configuration_update",
    "compaction",
)
"""Types nobody answers: a server's tools, and what is no call."""


def test_every_type_is_paired_or_stands_alone():
    paired = {*pairing.ANSWERED_BY, *pairing.ANSWERED_BY.values()}
    assert SAMPLES.keys() - paired == {*ALONE, "reasoning"} - paired


@pytest.mark.parametrize("kind", ALONE)
def test_what_a_server_runs_needs_no_answer(kind):
    check((), (item(kind),))
    check((item(kind),), (message("msg_1"),))


def test_a_search_of_the_server_is_no_call_of_a_client_even_with_a_call_id():
    search = item("tool_search_call", call_id="call_1", execution="server")
    found = item("tool_search_output", call_id="call_1", execution="server")
    check((), (search,))
    check((), (found,))
    check((), (search, found))


# Answers that name no call


def test_an_output_without_a_call_id_answers_the_call_that_is_left_over():
    calls = tuple(item("function_call", id=f"fc_{n}", call_id=f"call_{n}") for n in (1, 2))
    nameless = item("function_call_output", id="fc_3", call_id=None, name="get_weather")
    second = item("function_call_output", id="fc_4", call_id="call_1")
    check(calls, (nameless, second))
    with pytest.raises(ToolOutputMissing) as refused:
        check(calls, (nameless,))
    assert refused.value.message.endswith("call_2.")
    check((), (nameless,))


def test_a_local_shell_is_answered_by_call_id_or_by_id_or_in_turn():
    call = item("local_shell_call", call_id="call_1")
    by_call_id = item("local_shell_call_output", call_id="call_1")
    by_id = item("local_shell_call_output", id="call_1")
    in_turn = item("local_shell_call_output", id="lsho_1")
    for answer in (by_call_id, by_id, in_turn):
        check((call,), (answer,))
    check((), (in_turn,))
    for answer in (by_call_id, by_id):
        with pytest.raises(ToolCallMissing):
            check((), (answer,))


# Reasoning


@pytest.mark.parametrize(("call", "answer"), PAIRS)
def test_reasoning_may_lead_to_any_call_but_to_no_answer(call, answer):
    asked, answered = pair(call, answer)
    check((), (reasoning("rs_1"), asked, answered))
    with pytest.raises(ReasoningAlone):
        check((asked,), (reasoning("rs_1"), answered))


@pytest.mark.parametrize("kind", ["configuration_update", "additional_tools"])
def test_reasoning_does_not_lead_to_what_only_clients_write(kind):
    with pytest.raises(ReasoningAlone):
        check((), (reasoning("rs_1"), item(kind)))


# Compaction


@pytest.mark.parametrize(("call", "answer"), PAIRS)
def test_a_line_is_never_cut_between_a_call_and_its_answer(call, answer):
    asked, answered = pair(call, answer)
    state = state_of(
        created(),
        added(message("msg_1", tokens=50), asked, message("msg_2"), answered, message("msg_3")),
    )
    planned = plan(state, tokens_budget=10)
    assert planned is not None
    assert [one.id for one in planned.items][-1] == answered.id
    assert planned.covered == 4


@pytest.mark.parametrize("kind", [kind for kind in ALONE if kind != "message"])
def test_what_nobody_answers_does_not_hold_a_cut_back(kind):
    state = state_of(created(), added(message("msg_1", tokens=50), item(kind), message("msg_2")))
    planned = plan(state, tokens_budget=10)
    assert planned is not None
    assert planned.covered == 2


KINDS = st.sampled_from(PAIRS)


@st.composite
def lines(draw):
    """Lines of user messages, answers of a model, and calls whose answers come later."""
    line, waiting = [], []
    for number in range(draw(st.integers(1, 14))):
        step = draw(st.sampled_from(["user", "model", "call", "answer"]))
        if step == "answer" and waiting:
            line.append(waiting.pop(draw(st.integers(0, len(waiting) - 1))))
        elif step == "call":
            asked, answered = pair(*draw(KINDS), name=str(number))
            line.append(asked)
            waiting.append(answered)
        else:
            line.append((message if step == "user" else said)(f"msg_{number}", tokens=7))
    return (*line, *waiting)


@PROPERTY
@for_all(lines(), st.integers(1, 60))
def test_whatever_a_compaction_covers_the_window_behind_it_is_complete(line, budget):
    state = state_of(created(), added(*line))
    planned = plan(state, tokens_budget=budget)
    if planned is None:
        return
    after = state_of(
        created(),
        added(*line),
        compacted(compaction_item("cmp_1"), covered=planned.covered, before=9, after=1),
    )
    check(before_input(after, on_line=True, parent=None), (message("msg_new"),))
