"""Bodies as they are on the wire, for whoever reads the documents."""

from collections.abc import Mapping
from typing import Any

_CONVERSATION_ID = "conv_69255d1e5f0c8d2b7a91c4e3f6082d57"
_RESPONSE_ID = "resp_69255d1e5f0c8d2b7a91c4e3f6082d5714c07be92f3d6a85e1"
_MODEL = "gpt-5.6-terra"

_USAGE = {
    "input_tokens": 21,
    "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
    "output_tokens": 12,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 33,
}
_SAID = {
    "id": "msg_69255d1f0c84e1b2d9a7f35608c4e2b1",
    "type": "message",
    "status": "completed",
    "content": [{"type": "input_text", "text": "Where is order #12345?"}],
    "role": "user",
}
_ANSWERED = {
    "id": "msg_69255d20a7b3c1d94e5f6082d5714c07",
    "type": "message",
    "status": "completed",
    "content": [
        {
            "type": "output_text",
            "annotations": [],
            "logprobs": [],
            "text": "It left our warehouse this morning.",
        }
    ],
    "role": "assistant",
}
_CONVERSATION = {
    "id": _CONVERSATION_ID,
    "object": "conversation",
    "created_at": 1764056350,
    "metadata": {"user_id": "user_123", "topic": "support"},
}
_LOOK_UP = {
    "type": "function",
    "name": "look_up_order",
    "description": "Where an order is.",
    "parameters": {"type": "object", "properties": {"number": {"type": "string"}}},
}

REQUESTS: Mapping[str, Mapping[str, Any]] = {
    "createConversation": {
        "empty": {},
        "with items": {
            "metadata": {"user_id": "user_123", "topic": "support"},
            "items": [{"role": "user", "content": "Where is order #12345?"}],
        },
    },
    "updateConversation": {"metadata": {"metadata": {"topic": "refund"}}},
    "createConversationItems": {
        "message": {"items": [{"role": "user", "content": "Where is order #12345?"}]},
        "tool call and output": {
            "items": [
                {
                    "type": "function_call",
                    "call_id": "call_Qx9vT2bLr0pWm4cYk7Zs1aHd",
                    "name": "look_up_order",
                    "arguments": '{"number":"12345"}',
                },
                {
                    "type": "function_call_output",
                    "call_id": "call_Qx9vT2bLr0pWm4cYk7Zs1aHd",
                    "output": "on its way",
                },
            ]
        },
    },
    "createResponse": {
        "text": {"model": _MODEL, "input": "Tell me a joke"},
        "in a conversation": {
            "model": _MODEL,
            "input": "Where is order #12345?",
            "conversation": _CONVERSATION_ID,
        },
        "streamed, with a tool": {
            "model": _MODEL,
            "input": [{"role": "user", "content": "Where is order #12345?"}],
            "tools": [_LOOK_UP],
            "stream": True,
        },
        "kept nowhere": {"model": _MODEL, "input": "Tell me a joke", "store": False},
    },
    "compactResponse": {
        "by previous response": {"model": _MODEL, "previous_response_id": _RESPONSE_ID},
        "by input": {"model": _MODEL, "input": [_SAID, _ANSWERED]},
    },
    "countInputTokens": {"text": {"model": _MODEL, "input": "Tell me a joke"}},
}
"""By operation; each under a name."""

ANSWERS: Mapping[str, Any] = {
    "Conversation": _CONVERSATION,
    "ConversationDeleted": {
        "id": _CONVERSATION_ID,
        "object": "conversation.deleted",
        "deleted": True,
    },
    "Item": _SAID,
    "ItemList": {
        "object": "list",
        "data": [_ANSWERED, _SAID],
        "first_id": _ANSWERED["id"],
        "has_more": False,
        "last_id": _SAID["id"],
    },
    "Response": {
        "id": _RESPONSE_ID,
        "object": "response",
        "created_at": 1764056352,
        "status": "completed",
        "background": False,
        "completed_at": 1764056353,
        "conversation": {"id": _CONVERSATION_ID},
        "error": None,
        "frequency_penalty": 0.0,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": _MODEL,
        "moderation": None,
        "output": [_ANSWERED],
        "parallel_tool_calls": True,
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "prompt_cache_retention": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": _USAGE,
        "user": None,
        "metadata": {},
    },
    "ResponseDeleted": {"id": _RESPONSE_ID, "object": "response", "deleted": True},
    "CompactedResponse": {
        "id": _RESPONSE_ID,
        "object": "response.compaction",
        "created_at": 1764056360,
        "output": [
            _SAID,
            {
                "id": "cmp_69255d28c4e3f6082d57140be92f3d6a",
                "type": "compaction",
                "encrypted_content": "dDHiA2wq4Qx2bLr0pWm4cYk7Zs1aHd",
            },
        ],
        "usage": _USAGE,
    },
    "InputTokens": {"object": "response.input_tokens", "input_tokens": 11},
    "ModelList": {
        "object": "list",
        "data": [
            {"id": _MODEL, "object": "model", "created": 1756000000, "owned_by": "openai"},
        ],
    },
    "Model": {"id": _MODEL, "object": "model", "created": 1756000000, "owned_by": "openai"},
}
"""By component."""


def _error(message: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    inner = {
        "message": message,
        "type": "invalid_request_error",
        "param": param,
        "code": code,
    }
    return {"error": inner}


REFUSALS: Mapping[int, Mapping[str, Any]] = {
    400: {
        "wrong parameter": _error(
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, "
            "but got 1 instead.",
            param="max_output_tokens",
            code="integer_below_min_value",
        ),
        "busy conversation": _error(
            "Another process is currently operating on this conversation. "
            "Please retry in a few seconds.",
            param="conversation",
            code="conversation_locked",
        ),
    },
    404: {"absent": _error(f"Conversation with id '{_CONVERSATION_ID}' not found.")},
}
"""By status; each under a name."""
