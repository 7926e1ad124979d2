"""What is taken and refused of the parameters of ``POST /v1/responses``."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.http import checks, parameters
from schemas.http.create_response import read_create
from tests.builders import PROPERTY, raw
from tests.schemas.answers import bounded, invalid, lacking, long, refusal, unsupported, wrong

MODEL = {"model": "m", "input": "x"}
FUNCTION = {"type": "function", "name": "look", "parameters": {"type": "object"}}
NOTHING = invalid(
    "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation' must be provided.",
    param=None,
    code="missing_required_parameter",
)


def sent(value):
    return bytes(raw(value))


def created(**fields: object):
    return read_create(sent({**MODEL, **fields}), strict=False)


def refused(**fields: object):
    return refusal(read_create, sent({**MODEL, **fields}), strict=False)


# What is taken


def test_a_minimal_request_is_read_with_its_defaults():
    read = created()
    assert msgspec.structs.asdict(read) == {
        "model": "m",
        "input": raw("x"),
        "conversation": None,
        "previous_response_id": None,
        "store": True,
        "stream": False,
        "background": False,
        "include": (),
        "include_obfuscation": False,
        "context_managed": False,
        "compact_threshold": None,
        "truncation": "disabled",
        "parameters": {"model": raw("m")},
    }


def test_parameters_are_kept_as_the_clients_bytes_without_state_and_nulls():
    body = (
        b'{"model":"m", "input":[ 1], "temperature":1.50, "store":false, "stream":true,'
        b'"stream_options":{}, "metadata":null, "tools":[ {"type":"web_search"} ], "zzz":"\\u00e9",'
        b'"background":false}'
    )
    read = read_create(body, strict=False)
    assert {name: bytes(value) for name, value in read.parameters.items()} == {
        "model": b'"m"',
        "temperature": b"1.50",
        "stream": b"true",
        "tools": b'[ {"type":"web_search"} ]',
        "zzz": b'"\\u00e9"',
        "background": b"false",
    }
    assert (read.store, read.stream, bytes(read.input)) == (False, True, b"[ 1]")


def test_what_this_server_acts_on_is_told_apart():
    read = created(
        background=True,
        stream=True,
        stream_options={"include_obfuscation": True},
        include=["reasoning.encrypted_content", "message.output_text.logprobs"],
        truncation="auto",
        context_management=[{"type": "compaction", "compact_threshold": 2000}],
    )
    assert (
        read.background,
        read.stream,
        read.include_obfuscation,
        read.include,
        read.truncation,
        read.context_managed,
        read.compact_threshold,
    ) == (
        True,
        True,
        True,
        ("reasoning.encrypted_content", "message.output_text.logprobs"),
        "auto",
        True,
        2000,
    )


@pytest.mark.parametrize(
    ("entries", "threshold"),
    [
        ([{"type": "compaction"}], None),
        ([{"type": "compaction", "compact_threshold": None}], None),
        ([{"type": "compaction", "compact_threshold": 1000}], 1000),
        (
            [
                {"type": "compaction", "compact_threshold": 3000},
                {"type": "compaction"},
                {"type": "compaction", "compact_threshold": 2000},
            ],
            2000,
        ),
    ],
)
def test_a_compaction_is_asked_for_at_the_lowest_threshold_or_the_servers_own(entries, threshold):
    read = created(context_management=entries)
    assert (read.context_managed, read.compact_threshold) == (True, threshold)


@pytest.mark.parametrize("value", ["conv_1", {"id": "conv_1"}])
def test_a_conversation_is_named_by_id_or_object(value):
    assert created(conversation=value).conversation == "conv_1"


def test_null_is_absence_in_every_parameter_but_the_model():
    names = [*parameters.CREATE, "conversation", "previous_response_id"]
    assert created(**dict.fromkeys(names)) == created()


@pytest.mark.parametrize(
    "source", [{"input": "x"}, {"previous_response_id": "resp_1"}, {"conversation": "conv_1"}]
)
def test_any_one_source_of_context_is_enough(source):
    assert read_create(sent({"model": "m", **source}), strict=True).model == "m"


@pytest.mark.parametrize("source", [{"previous_response_id": "resp_1"}, {"conversation": "conv_1"}])
@pytest.mark.parametrize("brought", ["", []])
def test_an_input_may_be_empty_where_there_is_a_history(source, brought):
    assert created(input=brought, **source).input == raw(brought)


def test_the_model_may_be_left_to_the_previous_response():
    read = read_create(sent({"previous_response_id": "resp_1"}), strict=True)
    assert (read.model, read.previous_response_id) == (None, "resp_1")


def test_unknown_parameters_are_tolerated():
    assert created(unheard_of={"a": 1}).parameters["unheard_of"] == raw({"a": 1})


TAKEN = {
    "metadata": {"k" * 64: "v" * 512},
    "text": {
        "format": {
            "type": "json_schema",
            "name": "n" * 64,
            "schema": {},
            "strict": None,
            "description": "d",
        },
        "verbosity": None,
    },
    "temperature": 2,
    "top_p": 0,
    "top_logprobs": 20,
    "presence_penalty": -2,
    "frequency_penalty": 2.0,
    "max_output_tokens": 16,
    "max_tool_calls": 1,
    "reasoning": {
        "effort": "xhigh",
        "summary": "auto",
        "context": "all_turns",
        "mode": "pro",
        "generate_summary": "detailed",
    },
    "tools": [
        {"type": "function", "name": "a-B_9" * 25, "parameters": None, "strict": None},
        {"type": "custom", "name": "c"},
        {"type": "mcp", "server_label": "s"},
        {"type": "a hosted one of next year"},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function"}]},
    "prompt_cache_options": {
        "mode": "explicit",
        "ttl": "12h",
        "comparison_response_id": "resp_1",
        "prewarm": False,
    },
    "prompt_cache_key": "k" * 64,
    "prompt_cache_retention": "24h",
    "safety_identifier": "s" * 128,
    "user": "u" * 128,
    "service_tier": "ultrafast",
    "moderation": {"model": "m", "policy": {"input": {"mode": "score"}, "output": None}},
    "image": {"context_compression": "disabled"},
    "access_programs": {"cyber": "standard"},
    "background_options": {"completion_window": "soonest", "continuation_id": "c"},
    "parallel_tool_calls": False,
    "instructions": "",
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_parameter_at_its_limits_is_taken_even_strictly(name):
    read = read_create(sent({**MODEL, name: TAKEN[name]}), strict=True)
    assert read.parameters[name] == raw(TAKEN[name])


@pytest.mark.parametrize("choice", ["none", "auto", "required", {"type": "web_search_preview"}])
def test_a_tool_choice_is_a_word_or_an_object(choice):
    assert created(tool_choice=choice).parameters["tool_choice"] == raw(choice)


# What is refused

INCLUDABLE = checks.listed(checks.INCLUDABLE, "and")
INCLUDABLE_ENDS = (
    "one of 'fil...lts', 'web...lts', 'web...ces', 'mes...url', 'com...url', 'cod...uts', "
    "'rea...ent', or 'mes...obs'"
)
EFFORTS = "'none', 'minimal', 'low', 'medium', 'high', 'xhigh', and 'max'"
TIERS = "'auto', 'default', 'flex', 'scale', 'priority', 'fast', and 'ultrafast'"
WINDOW = "background_options.completion_window"
STANDARD_ONLY = invalid(
    "Invalid value: '2h'. It is only supported when 'background' is enabled, with standard "
    "processing and without 'stream'.",
    param=WINDOW,
    code="invalid_value",
)
MISNAMED = [{"role": "user", "content": "x", "id": "fc_1"}]


def named(param, value, prefix):
    message = f"Invalid '{param}': '{value}'. Expected an ID that begins with '{prefix}'."
    return invalid(message, param=param, code="invalid_value")


def patterned(param):
    message = (
        f"Invalid '{param}': string does not match pattern. Expected a string that matches the "
        "pattern '^[a-zA-Z0-9_-]+$'."
    )
    return invalid(message, param=param, code="invalid_value")


def blank(param):
    message = (
        f"Invalid '{param}': empty string. Expected a string with minimum length 1, but got an "
        "empty string instead."
    )
    return invalid(message, param=param, code="empty_string")


REFUSED = [
    ({"model": None}, wrong("model", "a string", "an object")),
    ({"model": 5}, wrong("model", "a string", "an integer")),
    # Sources
    ({"input": None}, NOTHING),
    ({"input": ""}, NOTHING),
    ({"input": []}, NOTHING),
    ({"input": 5}, wrong("input", "one of a string or array of input items", "an integer")),
    ({"input": {}}, wrong("input", "one of a string or array of input items", "an object")),
    ({"input": "x" * 10_485_761}, long("input", 10_485_760, 10_485_761)),
    ({"conversation": "abc"}, named("conversation", "abc", "conv")),
    ({"conversation": {"id": "abc"}}, named("conversation", "abc", "conv")),
    ({"conversation": {}}, lacking("conversation.id")),
    ({"conversation": {"id": 5}}, wrong("conversation.id", "a string", "an integer")),
    ({"conversation": 5}, wrong("conversation", "a string", "an integer")),
    ({"previous_response_id": "abc"}, named("previous_response_id", "abc", "resp")),
    ({"previous_response_id": {}}, wrong("previous_response_id", "a string", "an object")),
    (
        {"conversation": "conv_1", "previous_response_id": "resp_1"},
        invalid(
            "Mutually exclusive parameters: ''. Ensure you are only providing one of: "
            "'pre..._id' or 'conversation'.",
            param=None,
            code="mutually_exclusive_parameters",
        ),
    ),
    ({"prompt": "x"}, wrong("prompt", "an object", "a string")),
    ({"prompt": {}}, lacking("prompt.id")),
    ({"prompt": {"id": 1}}, wrong("prompt.id", "a string", "an integer")),
    ({"prompt": {"id": "p", "version": 2}}, wrong("prompt.version", "a string", "an integer")),
    ({"prompt": {"id": "p", "variables": []}}, wrong("prompt.variables", "an object", "an array")),
    (
        {"prompt": {"id": "p", "variables": {"city": 1}}},
        wrong("prompt.variables.city", "a string", "an integer"),
    ),
    (
        {"prompt": {"id": "p", "variables": {"city": {"type": "smell"}}}},
        unsupported(
            "prompt.variables.city.type", "smell", "'input_text', 'input_image', and 'input_file'"
        ),
    ),
    # What comes back
    ({"include": "x"}, wrong("include", f"an array of {INCLUDABLE_ENDS}", "a string")),
    ({"include": [5]}, wrong("include[0]", INCLUDABLE_ENDS, "an integer")),
    (
        {"include": ["message.output_text.logprobs", "all"]},
        unsupported("include[1]", "all", INCLUDABLE),
    ),
    ({"metadata": {"k": 5}}, wrong("metadata.k", "a string", "an integer")),
    ({"metadata": {"k": "v" * 513}}, long("metadata.k", 512, 513)),
    ({"metadata": "x"}, wrong("metadata", "a metadata object", "a string")),
    # Tools
    ({"tools": {}}, wrong("tools", "an array of tools", "an object")),
    ({"tools": [1]}, wrong("tools[0]", "an object", "an integer")),
    ({"tools": [{}]}, lacking("tools[0].type")),
    ({"tools": [{"type": 1}]}, wrong("tools[0].type", "a string", "an integer")),
    ({"tools": [{"type": "web_search"}, {"type": "function"}]}, lacking("tools[1].name")),
    ({"tools": [{"type": "function", "function": FUNCTION}]}, lacking("tools[0].name")),
    ({"tools": [{**FUNCTION, "name": None}]}, wrong("tools[0].name", "a string", "null")),
    ({"tools": [{**FUNCTION, "name": ""}]}, blank("tools[0].name")),
    ({"tools": [{**FUNCTION, "name": "a.b"}]}, patterned("tools[0].name")),
    ({"tools": [{**FUNCTION, "name": "a\n"}]}, patterned("tools[0].name")),
    ({"tools": [{**FUNCTION, "name": "a" * 129}]}, long("tools[0].name", 128, 129)),
    (
        {"tools": [{**FUNCTION, "parameters": 1}]},
        wrong("tools[0].parameters", "an object", "an integer"),
    ),
    ({"tools": [{**FUNCTION, "strict": 1}]}, wrong("tools[0].strict", "a boolean", "an integer")),
    (
        {"tools": [{**FUNCTION, "description": 1}]},
        wrong("tools[0].description", "a string", "an integer"),
    ),
    ({"tools": [{"type": "custom"}]}, lacking("tools[0].name")),
    ({"tools": [{"type": "mcp"}]}, lacking("tools[0].server_label")),
    (
        {"tool_choice": 7},
        wrong("tool_choice", "one of an object or 'none', 'auto', or 'required'", "an integer"),
    ),
    ({"tool_choice": "any"}, unsupported("tool_choice", "any", "'none', 'auto', and 'required'")),
    ({"tool_choice": {}}, lacking("tool_choice.type")),
    ({"tool_choice": {"type": "function"}}, lacking("tool_choice.name")),
    ({"tool_choice": {"type": "custom"}}, lacking("tool_choice.name")),
    ({"tool_choice": {"type": "mcp"}}, lacking("tool_choice.server_label")),
    ({"tool_choice": {"type": "allowed_tools", "tools": []}}, lacking("tool_choice.mode")),
    ({"tool_choice": {"type": "allowed_tools", "mode": "auto"}}, lacking("tool_choice.tools")),
    (
        {"tool_choice": {"type": "allowed_tools", "mode": "none", "tools": []}},
        unsupported("tool_choice.mode", "none", "'auto' and 'required'"),
    ),
    (
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [1]}},
        wrong("tool_choice.tools[0]", "an object", "an integer"),
    ),
    # Text
    ({"text": "x"}, wrong("text", "an object", "a string")),
    (
        {"text": {"verbosity": "chatty"}},
        unsupported("text.verbosity", "chatty", "'low', 'medium', and 'high'"),
    ),
    ({"text": {"format": 5}}, wrong("text.format", "an object", "an integer")),
    ({"text": {"format": {}}}, lacking("text.format.type")),
    (
        {"text": {"format": {"type": "xml"}}},
        unsupported("text.format.type", "xml", "'json_object', 'text', and 'json_schema'"),
    ),
    ({"text": {"format": {"type": "json_schema"}}}, lacking("text.format.name")),
    (
        {"text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}},
        patterned("text.format.name"),
    ),
    (
        {"text": {"format": {"type": "json_schema", "name": "n" * 65, "schema": {}}}},
        long("text.format.name", 64, 65),
    ),
    ({"text": {"format": {"type": "json_schema", "name": "n"}}}, lacking("text.format.schema")),
    (
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": "s"}}},
        wrong("text.format.schema", "an object", "a string"),
    ),
    (
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": "x"}}},
        wrong("text.format.strict", "a boolean", "a string"),
    ),
    # Numbers
    ({"temperature": 3}, bounded("temperature", "decimal", 3, most=2)),
    ({"temperature": -0.5}, bounded("temperature", "decimal", -0.5, least=0)),
    ({"temperature": "hot"}, wrong("temperature", "a decimal", "a string")),
    ({"top_p": 1.5}, bounded("top_p", "decimal", 1.5, most=1)),
    ({"top_p": "x"}, wrong("top_p", "a decimal", "a string")),
    ({"presence_penalty": 3}, bounded("presence_penalty", "decimal", 3, most=2)),
    ({"frequency_penalty": -3}, bounded("frequency_penalty", "decimal", -3, least=-2)),
    ({"top_logprobs": 21}, bounded("top_logprobs", "integer", 21, most=20)),
    ({"top_logprobs": -1}, bounded("top_logprobs", "integer", -1, least=0)),
    ({"max_output_tokens": 15}, bounded("max_output_tokens", "integer", 15, least=16)),
    ({"max_output_tokens": 16.5}, wrong("max_output_tokens", "an integer", "a decimal")),
    ({"max_tool_calls": 0}, bounded("max_tool_calls", "integer", 0, least=1)),
    ({"max_tool_calls": True}, wrong("max_tool_calls", "an integer", "a boolean")),
    # How it is run
    ({"parallel_tool_calls": "yes"}, wrong("parallel_tool_calls", "a boolean", "a string")),
    ({"stream": 1}, wrong("stream", "a boolean", "an integer")),
    ({"stream_options": "x"}, wrong("stream_options", "an object", "a string")),
    (
        {"stream": True, "stream_options": {"include_obfuscation": 1}},
        wrong("stream_options.include_obfuscation", "a boolean", "an integer"),
    ),
    (
        {"stream_options": {}},
        invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
            code=None,
        ),
    ),
    ({"background": "yes"}, wrong("background", "a boolean", "a string")),
    (
        {"background": True, "store": False},
        invalid(
            "Unsupported parameter: 'background' needs the response to be stored.",
            param="background",
            code="unsupported_parameter",
        ),
    ),
    ({"background_options": []}, wrong("background_options", "an object", "an array")),
    (
        {"background": True, "background_options": {"completion_window": "1h"}},
        unsupported(WINDOW, "1h", "'soonest', '2h', and '8h'"),
    ),
    (
        {"background_options": {"continuation_id": 5}},
        wrong("background_options.continuation_id", "a string", "an integer"),
    ),
    ({"background_options": {"completion_window": "2h"}}, STANDARD_ONLY),
    (
        {"background_options": {"completion_window": "2h"}, "background": True, "stream": True},
        STANDARD_ONLY,
    ),
    (
        {
            "background_options": {"completion_window": "2h"},
            "background": True,
            "service_tier": "priority",
        },
        STANDARD_ONLY,
    ),
    ({"store": "x"}, wrong("store", "a boolean", "a string")),
    ({"truncation": "bogus"}, unsupported("truncation", "bogus", "'auto' and 'disabled'")),
    ({"truncation": {}}, wrong("truncation", "one of 'auto' or 'disabled'", "an object")),
    ({"service_tier": "gold"}, unsupported("service_tier", "gold", TIERS)),
    (
        {"service_tier": 5},
        wrong("service_tier", f"one of {TIERS.replace('and', 'or')}", "an integer"),
    ),
    # Reasoning
    ({"reasoning": "high"}, wrong("reasoning", "an object", "a string")),
    ({"reasoning": {"effort": "bogus"}}, unsupported("reasoning.effort", "bogus", EFFORTS)),
    (
        {"reasoning": {"effort": ["low"]}},
        wrong(
            "reasoning.effort",
            f"one of one of {EFFORTS.replace('and', 'or')} or integer",
            "an array",
        ),
    ),
    (
        {"reasoning": {"summary": "bogus"}},
        unsupported("reasoning.summary", "bogus", "'concise', 'detailed', and 'auto'"),
    ),
    (
        {"reasoning": {"generate_summary": "bogus"}},
        unsupported("reasoning.generate_summary", "bogus", "'concise', 'detailed', and 'auto'"),
    ),
    (
        {"reasoning": {"context": "bogus"}},
        unsupported("reasoning.context", "bogus", "'auto', 'current_turn', and 'all_turns'"),
    ),
    ({"reasoning": {"mode": 5}}, wrong("reasoning.mode", "a string", "an integer")),
    # Who asks, and the cache
    ({"instructions": 5}, wrong("instructions", "a string", "an integer")),
    ({"user": {}}, wrong("user", "a string", "an object")),
    ({"user": "u" * 129}, long("user", 128, 129)),
    ({"safety_identifier": "s" * 129}, long("safety_identifier", 128, 129)),
    ({"prompt_cache_key": "k" * 65}, long("prompt_cache_key", 64, 65)),
    ({"prompt_cache_key": 1}, wrong("prompt_cache_key", "a string", "an integer")),
    (
        {"prompt_cache_retention": "x"},
        unsupported("prompt_cache_retention", "x", "'in_memory' and '24h'"),
    ),
    ({"prompt_cache_options": "x"}, wrong("prompt_cache_options", "an object", "a string")),
    (
        {"prompt_cache_options": {"mode": "x"}},
        unsupported("prompt_cache_options.mode", "x", "'implicit' and 'explicit'"),
    ),
    (
        {"prompt_cache_options": {"ttl": "1h"}},
        unsupported("prompt_cache_options.ttl", "1h", "'30m' and '12h'"),
    ),
    (
        {"prompt_cache_options": {"comparison_response_id": 1}},
        wrong("prompt_cache_options.comparison_response_id", "a string", "an integer"),
    ),
    (
        {"prompt_cache_options": {"prewarm": 1}},
        wrong("prompt_cache_options.prewarm", "a boolean", "an integer"),
    ),
    # The context
    ({"context_management": {}}, wrong("context_management", "an array of objects", "an object")),
    ({"context_management": ["x"]}, wrong("context_management[0]", "an object", "a string")),
    (
        {"context_management": []},
        invalid(
            "Invalid 'context_management': empty array. Expected an array with minimum length 1, "
            "but got an empty array instead.",
            param="context_management",
            code="empty_array",
        ),
    ),
    ({"context_management": [{}]}, lacking("context_management[0].type")),
    (
        {"context_management": [{"type": "summary"}]},
        invalid(
            "Unsupported context_management type: 'summary'.",
            param="context_management",
            code=None,
        ),
    ),
    (
        {"context_management": [{"type": "compaction", "compact_threshold": 999}]},
        bounded("context_management[0].compact_threshold", "integer", 999, least=1000),
    ),
    (
        {"context_management": [{"type": "compaction", "compact_threshold": 1000.0}]},
        wrong("context_management[0].compact_threshold", "an integer", "a decimal"),
    ),
    # What only the hosted platform has
    ({"moderation": "x"}, wrong("moderation", "an object", "a string")),
    ({"moderation": {}}, lacking("moderation.model")),
    (
        {"moderation": {"model": "m", "policy": {"input": {"mode": "x"}}}},
        unsupported("moderation.policy.input.mode", "x", "'score' and 'block'"),
    ),
    (
        {"image": {"context_compression": "x"}},
        unsupported("image.context_compression", "x", "'auto', 'enabled', and 'disabled'"),
    ),
    (
        {"access_programs": {"cyber": "x"}},
        unsupported(
            "access_programs.cyber", "x", "'standard', 'daybreak_blue', and 'daybreak_red'"
        ),
    ),
]


@pytest.mark.parametrize(
    ("fields", "answer"), REFUSED, ids=[str(fields)[:60] for fields, _ in REFUSED]
)
def test_a_parameter_that_cannot_be_is_refused(fields, answer):
    assert refused(**fields) == answer


def test_every_parameter_has_a_value_that_is_refused():
    known = {*parameters.CREATE, "model", "input", "conversation", "previous_response_id"}
    assert known - {name for fields, _ in REFUSED for name in fields} == set()


@pytest.mark.parametrize(
    "body", [{"input": "x"}, {"conversation": "conv_1", "input": "x"}, {"prompt": None}, {}]
)
def test_a_request_names_its_model(body):
    assert refusal(read_create, sent(body), strict=False) == lacking("model")


@pytest.mark.parametrize("others", [{}, {"input": "x"}, {"previous_response_id": "resp_1"}])
def test_no_prompt_template_is_known_here(others):
    status, body = refusal(
        read_create, sent({"model": "m", "prompt": {"id": "pmpt_1"}, **others}), strict=False
    )
    assert (status, body["error"]) == (
        404,
        {
            "message": "Prompt with id 'pmpt_1' not found.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        },
    )


def test_a_value_of_any_length_is_told_in_few_words():
    _, body = refused(truncation="x" * 1_000_000)
    assert len(body["error"]["message"]) < 200


# The order of checks

WRONG = {
    "prompt": 5,
    "moderation": 5,
    "include": 5,
    "tools": 5,
    "tool_choice": 5,
    "metadata": 5,
    "text": 5,
    "temperature": 5,
    "top_p": 5,
    "presence_penalty": 5,
    "frequency_penalty": 5,
    "parallel_tool_calls": 5,
    "stream": 5,
    "stream_options": 5,
    "background": 5,
    "background_options": 5,
    "max_output_tokens": 5,
    "max_tool_calls": 0,
    "reasoning": 5,
    "user": 5,
    "safety_identifier": 5,
    "prompt_cache_options": 5,
    "prompt_cache_key": 5,
    "prompt_cache_retention": 5,
    "truncation": 5,
    "instructions": 5,
    "store": 5,
    "service_tier": 5,
    "top_logprobs": 500,
    "context_management": 5,
    "image": 5,
    "access_programs": 5,
}
"""Wrong values in the contract's order of checks (contract 1.3)."""


@PROPERTY
@given(st.sets(st.sampled_from(list(WRONG)), min_size=1), st.randoms(use_true_random=False))
def test_the_same_wrong_request_yields_the_same_error_whatever_the_order_of_its_keys(names, random):
    shuffled = sorted(names)
    random.shuffle(shuffled)
    _, body = refused(**{name: WRONG[name] for name in shuffled})
    assert body["error"]["param"] == next(name for name in WRONG if name in names)


REFERRING = [{"type": "item_reference", "id": "rs_1"}]
FIRST = [
    ({}, "model"),
    ({"model": "m", "temperature": 9}, None),
    ({**MODEL, "input": 5, "conversation": "x", "temperature": 9}, "input"),
    ({**MODEL, "input": MISNAMED, "conversation": "x", "temperature": 9}, "input[0].id"),
    ({**MODEL, "input": MISNAMED, "conversation": "conv_1", "prompt": {"id": "p"}}, "input[0].id"),
    ({**MODEL, "input": REFERRING, "include": 5}, "include"),
    ({**MODEL, "input": [*REFERRING, *MISNAMED], "include": 5}, "input[1].id"),
    ({**MODEL, "input": [*REFERRING, {"type": "compaction_trigger"}], "include": 5}, "include"),
    ({**MODEL, "conversation": "x", "previous_response_id": "x", "include": 5}, "conversation"),
    ({**MODEL, "previous_response_id": "x", "include": 5}, "previous_response_id"),
    (
        {**MODEL, "conversation": "conv_1", "previous_response_id": "resp_1", "temperature": 9},
        "temperature",
    ),
    ({**MODEL, "stream_options": {}, "top_logprobs": 99}, "top_logprobs"),
    ({**MODEL, "prompt": {"id": "p"}, "background": True, "store": False}, "background"),
    ({"model": "m", "input": [], "truncation": "bogus"}, "truncation"),
]


@pytest.mark.parametrize(("body", "param"), FIRST)
def test_of_several_faults_the_contracts_first_is_told(body, param):
    _, answer = refusal(read_create, sent(body), strict=False)
    assert answer["error"]["param"] == param


def test_two_histories_come_before_a_prompt_and_a_prompt_before_an_empty_input():
    both = {"conversation": "conv_1", "previous_response_id": "resp_1"}
    _, body = refused(prompt={"id": "p"}, **both)
    assert body["error"]["code"] == "mutually_exclusive_parameters"
    status, _ = refused(prompt={"id": "p"}, input=[])
    assert status == 404
