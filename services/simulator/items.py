"""The finished output items of an answer, as the Responses API spells them."""

from typing import Any

from services import ids
from services.simulator.answer import Answer, Call, pieces
from services.simulator.hosted_items import (
    CONTAINER_ID,
    FILE_ID,
    FILE_NAME,
    SOURCE_URL,
    items_of,
)
from services.simulator.hosted_tools import Item, Use
from services.simulator.logprobs import logprobs_of

ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"


def output_of(answer: Answer, *, include: frozenset[str], top_logprobs: int) -> list[Item]:
    """All items in their order; the last one is a message if the answer `speaks`."""
    status = "completed" if answer.status == "completed" else "incomplete"
    items: list[Item] = []
    if answer.reasoning is not None:
        items.append(_reasoning(answer, answer.reasoning, include))
    if answer.commentary is not None:
        items.append(_message(_output_text(answer.commentary), "completed", phase="commentary"))
    for use in answer.uses:
        items.extend(items_of(use, include))
    items.extend(_call(call, "completed") for call in answer.calls)
    if answer.calls:
        items[-1]["status"] = status
    if answer.speaks:
        if answer.refused:
            part: Item = {"type": "refusal", "refusal": answer.text}
            items.append(_message(part, status))
        else:
            part = _output_text(answer.text)
            if answer.uses:
                part["annotations"] = annotations_of(answer.uses, answer.text)
            if LOGPROBS in include:
                part["logprobs"] = logprobs_of(pieces(answer.text), top=top_logprobs)
            items.append(_message(part, status, phase="final_answer"))
    return items


def annotations_of(uses: tuple[Use, ...], text: str) -> list[Item]:
    """What a text cites: the whole of it, once for each tool that found or made something."""
    whole = {"start_index": 0, "end_index": len(text)}
    file = {"file_id": FILE_ID, "filename": FILE_NAME}
    forms: dict[str, Item] = {
        "web_search": {"type": "url_citation", **whole, "title": "Found", "url": SOURCE_URL},
        "file_search": {"type": "file_citation", **file, "index": len(text)},
        "code_interpreter": {
            "type": "container_file_citation",
            "container_id": CONTAINER_ID,
            **file,
            **whole,
        },
    }
    return [forms[use.kind] for use in uses if use.kind in forms and not use.failed]


def _reasoning(answer: Answer, text: str, include: frozenset[str]) -> Item:
    summary = [{"type": "summary_text", "text": text}]
    item: Item = {
        "id": ids.item_id("rs"),
        "type": "reasoning",
        "summary": [] if answer.reasoning_form == "text" else summary,
    }
    if answer.reasoning_form != "summary":
        item["content"] = [{"type": "reasoning_text", "text": text}]
    if ENCRYPTED in include:
        item["encrypted_content"] = answer.encrypted
    return item


def _call(call: Call, status: str) -> Item:
    if call.custom:
        item: Item = {
            "id": ids.item_id("ctc"),
            "type": "custom_tool_call",
            "status": status,
            "call_id": call.call_id,
            "input": call.arguments,
            "name": call.name,
        }
    else:
        item = {
            "id": ids.item_id("fc"),
            "type": "function_call",
            "status": status,
            "arguments": call.arguments,
            "call_id": call.call_id,
            "name": call.name,
        }
    return item if call.namespace is None else {**item, "namespace": call.namespace}


def _message(part: Item, status: str, *, phase: str | None = None) -> Item:
    phased = {} if phase is None else {"phase": phase}
    return {
        "id": ids.item_id("msg"),
        "type": "message",
        "status": status,
        "content": [part],
        **phased,
        "role": "assistant",
    }


def _output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
