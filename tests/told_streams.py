"""What an upstream may say: a whole stream for every type of item, with every type of event.

Every event has all the fields the SDK's strict types demand; ids are the upstream's own.
"""

from typing import Any

Event = dict[str, Any]


def event(name: str, index: int | None = None, /, **fields: Any) -> Event:
    """An event as the wire has it: type first, then the alphabet."""
    if index is not None:
        fields["output_index"] = index
    return {"type": f"response.{name}", **dict(sorted({**fields, "sequence_number": 7}.items()))}


def added(item: Event, index: int = 0) -> Event:
    return event("output_item.added", index, item=item)


def done(item: Event, index: int = 0) -> Event:
    return event("output_item.done", index, item=item)


def text_part(text: str = "", **fields: Any) -> Event:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text, **fields}


def message(index: int = 0, *texts: str, item_id: str = "msg_up", **fields: Any) -> list[Event]:
    """A message of one text, told in these pieces."""
    text = "".join(texts)
    first = {
        "id": item_id,
        "type": "message",
        "status": "in_progress",
        "content": [],
        "role": "assistant",
    }
    place = {"item_id": item_id, "content_index": 0}
    last = {**first, "status": "completed", "content": [text_part(text)], **fields}
    return [
        added(first, index),
        event("content_part.added", index, **place, part=text_part()),
        *(event("output_text.delta", index, **place, delta=each, logprobs=[]) for each in texts),
        event("output_text.done", index, **place, logprobs=[], text=text),
        event("content_part.done", index, **place, part=text_part(text)),
        done(last, index),
    ]


def function_call(index: int = 0, *pieces: str, call_id: str = "call_1") -> list[Event]:
    item = {
        "id": f"fc_up{index}",
        "type": "function_call",
        "status": "in_progress",
        "arguments": "",
        "call_id": call_id,
        "name": "look",
    }
    whole = "".join(pieces)
    name = "function_call_arguments"
    return [
        added(item, index),
        *(event(f"{name}.delta", index, item_id=item["id"], delta=piece) for piece in pieces),
        event(f"{name}.done", index, item_id=item["id"], arguments=whole, name="look"),
        done({**item, "status": "completed", "arguments": whole}, index),
    ]


def reasoning(index: int = 0, *, summary: str = "I think.", text: str = "Hm.") -> list[Event]:
    item = {"id": "rs_up", "type": "reasoning", "summary": []}
    of = {"item_id": "rs_up", "summary_index": 0}
    inside = {"item_id": "rs_up", "content_index": 0}
    summary_part = {"type": "summary_text", "text": summary}
    text_of = {"type": "reasoning_text", "text": text}
    return [
        added(item, index),
        event("reasoning_summary_part.added", index, **of, part={**summary_part, "text": ""}),
        event("reasoning_summary_text.delta", index, **of, delta=summary),
        event("reasoning_summary_text.done", index, **of, text=summary),
        event("reasoning_summary_part.done", index, **of, part=summary_part),
        event("content_part.added", index, **inside, part={**text_of, "text": ""}),
        event("reasoning_text.delta", index, **inside, delta=text),
        event("reasoning_text.done", index, **inside, text=text),
        event("content_part.done", index, **inside, part=text_of),
        done({**item, "summary": [summary_part], "content": [text_of]}, index),
    ]


CITATION = {
    "type": "url_citation",
    "start_index": 0,
    "end_index": 2,
    "title": "T",
    "url": "https://x.test/",
}
LIKELY = {"token": "Hi", "bytes": [72, 105], "logprob": -0.5, "top_logprobs": []}


def _cited() -> list[Event]:
    events = message(0, "Hi", " there")
    place = {"item_id": "msg_up", "content_index": 0}
    events[2]["logprobs"] = [LIKELY]
    annotation = event(
        "output_text.annotation.added", 0, **place, annotation=CITATION, annotation_index=0
    )
    part = text_part("Hi there", annotations=[CITATION], logprobs=[LIKELY])
    events[-2]["part"], events[-1]["item"]["content"] = part, [part]
    return [*events[:4], annotation, *events[4:]]


def _refused() -> list[Event]:
    events = message()
    place = {"item_id": "msg_up", "content_index": 0}
    part = {"type": "refusal", "refusal": "I cannot."}
    return [
        events[0],
        event("content_part.added", 0, **place, part={**part, "refusal": ""}),
        event("refusal.delta", 0, **place, delta="I "),
        event("refusal.delta", 0, **place, delta="cannot."),
        event("refusal.done", 0, **place, refusal="I cannot."),
        event("content_part.done", 0, **place, part=part),
        done({**events[-1]["item"], "content": [part]}),
    ]


def _custom() -> list[Event]:
    item = {
        "id": "ctc_up",
        "type": "custom_tool_call",
        "status": "in_progress",
        "call_id": "call_c",
        "input": "",
        "name": "sql",
    }
    name = "custom_tool_call_input"
    return [
        added(item),
        event(f"{name}.delta", 0, item_id="ctc_up", delta="SELECT "),
        event(f"{name}.delta", 0, item_id="ctc_up", delta='"1"'),
        event(f"{name}.done", 0, item_id="ctc_up", input='SELECT "1"'),
        done({**item, "status": "completed", "input": 'SELECT "1"'}),
    ]


def _hosted(item: Event, steps: list[str], **last: Any) -> list[Event]:
    """An item that only reports its progress."""
    of = {"item_id": item["id"]}
    return [
        added({**item, "status": "in_progress"}),
        *(event(f"{item['type']}.{step}", 0, **of) for step in steps),
        done({**item, "status": "completed", **last}),
    ]


def _mcp_call(*, fails: bool) -> list[Event]:
    item = {
        "id": "mcp_up",
        "type": "mcp_call",
        "status": "in_progress",
        "approval_request_id": None,
        "arguments": "",
        "error": None,
        "name": "roll",
        "output": None,
        "server_label": "dice",
    }
    of = {"item_id": "mcp_up"}
    last: Event = {"status": "completed", "output": "7"}
    if fails:
        error = {"type": "http_error", "code": 500, "message": "broken"}
        last = {"status": "failed", "error": error}
    return [
        added(item),
        event("mcp_call.in_progress", 0, **of),
        event("mcp_call_arguments.delta", 0, **of, delta='{"n":'),
        event("mcp_call_arguments.delta", 0, **of, delta="2}"),
        event("mcp_call_arguments.done", 0, **of, arguments='{"n":2}'),
        event(f"mcp_call.{'failed' if fails else 'completed'}", 0, **of),
        done({**item, "arguments": '{"n":2}', **last}),
    ]


def _mcp_tools(*, fails: bool) -> list[Event]:
    item = {"id": "mcpl_up", "type": "mcp_list_tools", "server_label": "dice", "tools": []}
    of = {"item_id": "mcpl_up"}
    return [
        added(item),
        event("mcp_list_tools.in_progress", 0, **of),
        event(f"mcp_list_tools.{'failed' if fails else 'completed'}", 0, **of),
        done({**item, "error": "unreachable" if fails else None}),
    ]


def _code() -> list[Event]:
    item = {
        "id": "ci_up",
        "type": "code_interpreter_call",
        "code": "",
        "container_id": "cntr_1",
        "outputs": None,
    }
    events = _hosted(item, ["in_progress", "interpreting", "completed"], code="print(1)")
    of = {"item_id": "ci_up"}
    name = "code_interpreter_call_code"
    told = [
        event(f"{name}.delta", 0, **of, delta="print"),
        event(f"{name}.delta", 0, **of, delta="(1)"),
        event(f"{name}.done", 0, **of, code="print(1)"),
    ]
    return [*events[:2], *told, *events[2:]]


def _image() -> list[Event]:
    item = {"id": "ig_up", "type": "image_generation_call", "result": None}
    events = _hosted(item, ["in_progress", "generating", "completed"], result="aGk=")
    partial = event(
        "image_generation_call.partial_image",
        0,
        item_id="ig_up",
        partial_image_index=0,
        partial_image_b64="aA==",
        size="1024x1024",
        quality="low",
        background="opaque",
        output_format="png",
    )
    return [*events[:3], partial, *events[3:]]


def _shell() -> list[Event]:
    action: Event = {"commands": [], "max_output_length": None, "timeout_ms": None}
    item = {
        "id": "sh_up",
        "type": "shell_call",
        "status": "in_progress",
        "action": action,
        "call_id": "call_s",
        "environment": None,
    }
    commands = ["ls -l", "pwd"]
    told: list[Event] = []
    for place, command in enumerate(commands):
        told += [
            event("shell_call_command.added", 0, command_index=place, command=""),
            event("shell_call_command.delta", 0, command_index=place, delta=command[:2]),
            event("shell_call_command.delta", 0, command_index=place, delta=command[2:]),
            event("shell_call_command.done", 0, command_index=place, command=command),
        ]
    last = {**item, "status": "completed", "action": {**action, "commands": commands}}
    return [added(item), *told, done(last)]


def _shell_output() -> list[Event]:
    item = {
        "id": "sho_up",
        "type": "shell_call_output",
        "status": "in_progress",
        "call_id": "call_s",
        "max_output_length": None,
        "output": [],
    }
    outputs = [
        {"outcome": {"type": "exit", "exit_code": 0}, "stderr": "", "stdout": "a\n"},
        {"outcome": {"type": "timeout"}, "stderr": "e", "stdout": ""},
    ]
    told: list[Event] = []
    for place, output in enumerate(outputs):
        of = {"item_id": "sho_up", "command_index": place}
        delta = {"stdout": output["stdout"], "stderr": output["stderr"]}
        told += [
            event("shell_call_output_content.delta", 0, **of, delta=delta),
            event("shell_call_output_content.done", 0, **of, output=[output]),
        ]
    return [added(item), *told, done({**item, "status": "completed", "output": outputs})]


def _compaction() -> list[Event]:
    item = {"id": "cmp_up", "type": "compaction", "encrypted_content": ""}
    compacting = event("compaction.compacting", 0, item_id="cmp_up")
    return [added(item), compacting, compacting, done({**item, "encrypted_content": "gAAA"})]


def _audio() -> list[Event]:
    return [
        event("audio.delta", delta="aGk="),
        event("audio.transcript.delta", delta="hi"),
        event("audio.transcript.done"),
        event("audio.done"),
    ]


_SEARCH = ["in_progress", "searching", "completed"]

STREAMS: dict[str, list[Event]] = {
    "message": message(0, "Hel", "lo"),
    "message_cited": _cited(),
    "message_refused": _refused(),
    "reasoning": reasoning(),
    "function_call": function_call(0, '{"a":', "1}"),
    "custom_tool_call": _custom(),
    "mcp_call": _mcp_call(fails=False),
    "mcp_call_failed": _mcp_call(fails=True),
    "mcp_list_tools": _mcp_tools(fails=False),
    "mcp_list_tools_failed": _mcp_tools(fails=True),
    "web_search_call": _hosted(
        {
            "id": "ws_up",
            "type": "web_search_call",
            "action": {"type": "search", "query": "cats", "queries": ["cats"]},
        },
        _SEARCH,
    ),
    "file_search_call": _hosted(
        {"id": "fs_up", "type": "file_search_call", "queries": ["cats"], "results": None}, _SEARCH
    ),
    "code_interpreter_call": _code(),
    "image_generation_call": _image(),
    "shell_call": _shell(),
    "shell_call_output": _shell_output(),
    "compaction": _compaction(),
    "audio": _audio(),
}
"""By what they are about."""


def items_of(events: list[Event]) -> list[Event]:
    """The items a stream has ended, in order."""
    ended = {e["output_index"]: e["item"] for e in events if e["type"].endswith("item.done")}
    return [ended[index] for index in sorted(ended)]


def response(status: str, output: list[Event] | None, **fields: Any) -> Event:
    """An upstream's own response object."""
    return {
        "id": "resp_up",
        "object": "response",
        "created_at": 1,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": "scripted-1",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 3,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 4,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 7,
        },
        **fields,
    }


def whole(events: list[Event], status: str = "completed", **fields: Any) -> list[Event]:
    """A stream from its first event to its last."""
    output = fields.pop("output", items_of(events))
    begun = response("in_progress", [], usage=None)
    return [
        event("created", response=begun),
        event("in_progress", response=begun),
        *events,
        event(status, response=response(status, output, **fields)),
    ]
