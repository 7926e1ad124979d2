import pytest

from services.simulator.anchors import anchors_in
from services.simulator.answer import Ask, plan
from services.simulator.entries import digest_of, entries_of_input
from services.simulator.tool_calls import Choice, Tool, choice_of, tools_of

HISTORY = [
    {"role": "user", "content": "I am Ada Lovelace, my order number is #12345."},
    {"role": "assistant", "content": "I have read 1 item (digest 12345678)."},
    {"role": "user", "content": "What did I order?"},
]
FIND = Tool("find", {})


def answer(given, *, instructions=None, **options: object):
    entries = entries_of_input(given, instructions=instructions)
    return plan(Ask(model="simulator", entries=entries, **options))


def test_an_answer_tells_what_was_read_said_and_remembered():
    digest = digest_of(entries_of_input(HISTORY))
    assert answer(HISTORY).text == (
        f"I have read 3 items (digest {digest}). You said: What did I order? "
        "I remember: Ada Lovelace, #12345."
    )


def test_the_same_request_has_the_same_answer():
    assert answer(HISTORY) == answer(HISTORY)


def test_a_lost_item_changes_the_answer():
    texts = {answer(HISTORY[start:]).text for start in range(len(HISTORY))}
    assert len(texts) == len(HISTORY)


def test_instructions_are_read_too():
    assert answer("Hi").text != answer("Hi", instructions="Be kind").text


def test_facts_are_bounded():
    history = [{"role": "user", "content": f"#{number}"} for number in range(100)]
    assert answer(history).text.count("#") == 16 + 1


@pytest.mark.parametrize("count", [1, 7, 500])
def test_an_answer_has_as_many_words_as_ordered(count):
    assert len(answer(f"Go on [[words {count}]]").text.split()) == count


def test_only_directives_of_the_last_user_text_count():
    history = [{"role": "user", "content": "[[error 500]]"}, {"role": "user", "content": "Hi"}]
    assert answer(history).trouble.error is None


def test_a_short_limit_makes_an_answer_incomplete():
    short = answer("Hi", tokens_max=3)
    assert (short.status, short.output_tokens) == ("incomplete", 3)


def test_a_wide_limit_changes_nothing():
    assert answer("Hi", tokens_max=1_000) == answer("Hi")


@pytest.mark.parametrize(
    ("said", "choice", "names"),
    [
        ("Please find it", Choice(), ["find"]),
        ("Please look", Choice(), []),
        ("Findings", Choice(), []),
        ("Please look", Choice("required"), ["find"]),
        ("Please look", Choice("required", ("get",)), ["get"]),
        ("Please find and get it", Choice(), ["find", "get"]),
        ("Please find it", Choice("none"), []),
        ("[[call other]] [[call get]]", Choice(), ["other", "get"]),
    ],
)
def test_tools_are_called_when_named_ordered_or_required(said, choice, names):
    made = answer(said, tools=(FIND, Tool("get", {})), choice=choice)
    assert [call.name for call in made.calls] == names


def test_without_parallel_calls_there_is_one():
    assert len(answer("[[call a]] [[call b]]", parallel=False).calls) == 1


def test_call_ids_differ_within_and_between_turns():
    history = [{"role": "user", "content": "[[call a]] [[call a]]"}]
    calls = [*answer(history).calls, *answer([*history, *history]).calls]
    assert len({call.call_id for call in calls}) == len(calls) == 4


def test_outputs_are_quoted_in_words_and_not_called_for_again():
    history = [
        {"role": "user", "content": "Please find it"},
        {"type": "function_call", "call_id": "call_1", "name": "find", "arguments": "{}"},
        {"type": "function_call", "call_id": "call_2", "name": "get", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "On the shelf"},
        {"type": "function_call_output", "call_id": "call_2", "output": "Got it!"},
    ]
    made = answer(history, tools=(FIND,))
    assert "find says: On the shelf. get says: Got it!" in made.text
    assert made.calls == ()


def test_arguments_follow_the_schema():
    properties = {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "kind": {"enum": ["a", "b"]},
        "deep": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]},
        "free": {"type": "string"},
    }
    schema = {
        "type": "object",
        "properties": properties,
        "required": ["text", "count", "kind", "deep"],
    }
    (call,) = answer("find 42", tools=(Tool("find", schema),)).calls
    assert call.arguments == '{"text":"find 42","count":42,"kind":"a","deep":{"on":true}}'


def test_tools_and_choices_of_both_apis_are_read():
    inner = {"name": "find", "parameters": {}}
    flat, nested = {"type": "function", **inner}, {"type": "function", "function": inner}
    assert tools_of([flat, {"type": "web_search"}, nested]) == (FIND, FIND)
    assert choice_of(flat) == choice_of(nested) == Choice("required", ("find",))
    assert choice_of({"type": "allowed_tools", "mode": "auto", "tools": [flat]}) == Choice(
        "auto", ("find",)
    )
    assert choice_of(None) == Choice()


@pytest.mark.parametrize("order", ["Summarise the conversation.", "  summarize: shortly"])
def test_a_summary_is_shorter_and_keeps_every_anchor(order):
    said = (
        "The parcel {0} for Grace Hopper, https://shop.test/p/{0}?x=1, is in /var/parcels/{0}.txt. "
        + "It has been there for quite a while now and nobody has come to look after it. " * 4
    )
    history = [{"role": "user", "content": said.format(f"#P-{n}")} for n in range(20)]
    source = "".join(item["content"] for item in history)
    summary = answer(history, instructions=order).text
    assert len(summary) < len(source)
    assert not set(anchors_in(source)) - set(anchors_in(summary))


def test_a_summary_has_about_as_many_words_as_are_asked_for():
    history = [
        {"role": "user", "content": f"The parcel #P-{n} for Grace Hopper is on its way to Oslo."}
        for n in range(100)
    ]
    asked = {"role": "user", "content": "Summarise the conversation above in at most 50 words."}
    words = answer([*history, asked]).text.split()
    assert 25 <= len(words) <= 60


def test_a_summary_of_many_short_items_is_shorter_too():
    history = [{"role": "user", "content": f"Yes, number {n}."} for n in range(400)]
    source = "".join(item["content"] for item in history)
    assert len(answer(history, instructions="Summarise").text) < len(source)


def test_what_is_summarised_is_not_obeyed():
    made = answer("[[error 500]] [[call find]]", instructions="Summarise", tools=(FIND,))
    assert (made.trouble.error, made.calls) == (None, ())
