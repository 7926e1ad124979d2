"""Every reason the rules have to say no, each with the contract's status, param and code."""

from schemas.http.errors import ApiError


class Refused(ApiError):
    """The caller asked for what the rules do not grant; nothing was stored."""


class ConversationUnknown(Refused):
    """There is no such conversation, or not any more."""

    status = 404

    def __init__(self, conversation_id: str) -> None:
        """``conversation_id`` as the caller spelled it."""
        super().__init__(f"Conversation with id '{conversation_id}' not found.")


class ForkOfChain(Refused):
    """A chain of responses branches by itself."""

    param = "conversation_id"
    code = "invalid_value"

    def __init__(self) -> None:
        super().__init__(
            "This is a chain of responses. "
            "It branches wherever a response is named as 'previous_response_id'."
        )


class ItemUnknown(Refused):
    """The conversation has no such item, or not any more."""

    status = 404

    def __init__(self, item_id: str) -> None:
        """``item_id`` as the caller spelled it."""
        super().__init__(f"Item with id '{item_id}' not found in conversation.")


class ResponseUnknown(Refused):
    """There is no such response, or not any more."""

    status = 404

    def __init__(self, response_id: str) -> None:
        """``response_id`` as the caller spelled it."""
        super().__init__(f"Response with id '{response_id}' not found.")


class ConversationLocked(Refused):
    """A turn is running on this conversation; 400, since SDKs retry a 409 by themselves."""

    param = "conversation"
    code = "conversation_locked"

    def __init__(self) -> None:
        super().__init__(
            "Another process is currently operating on this conversation. "
            "Please retry in a few seconds."
        )


class PreviousResponseUnknown(Refused):
    """The response to follow was never stored, or was deleted."""

    param = "previous_response_id"
    code = "previous_response_not_found"

    def __init__(self, response_id: str, *, running: bool = False, unstored: bool = False) -> None:
        """``running``: it exists, but has not ended. ``unstored``: it is not in the log."""
        why = "is still in progress" if running else "not found"
        if unstored:
            why += ": it was not stored, so that only a response with store=false can follow it"
        super().__init__(f"Previous response with id '{response_id}' {why}.")


class DuplicateItem(Refused):
    """An item with this id is already in the context."""

    param = "input"

    def __init__(self, item_id: str) -> None:
        """``item_id`` as the caller spelled it."""
        super().__init__(
            f"Duplicate item found with id {item_id}. "
            "Remove duplicate items from your input and try again."
        )


class ToolOutputMissing(Refused):
    """A tool call has no output anywhere in the window."""

    param = "input"

    def __init__(self, call_id: str, *, call: str) -> None:
        """``call`` is the type of the call."""
        super().__init__(f"No tool output found for {_words(call)} {call_id}.")


class ToolCallMissing(Refused):
    """A tool output answers no call in the window."""

    param = "input"

    def __init__(self, call_id: str, *, answer: str) -> None:
        """``answer`` is the type of the output."""
        super().__init__(f"No tool call found for {_words(answer)} with call_id {call_id}.")


def _words(item_type: str) -> str:
    return item_type.replace("_", " ").replace("mcp", "MCP")


class ReasoningAlone(Refused):
    """Reasoning was sent without the output it led to."""

    param = "input"

    def __init__(self, item_id: str) -> None:
        """``item_id`` of the reasoning."""
        super().__init__(
            f"Item '{item_id}' of type 'reasoning' was provided without its required "
            "following item."
        )


class NotCancellable(Refused):
    """Only what runs in the background can be cancelled, and only while it runs."""

    def __init__(self, what: str) -> None:
        """``what`` it is instead, with its article."""
        super().__init__(f"Cannot cancel {what} response.")


class NothingToCompact(Refused):
    """A summary was asked for of an empty context."""

    param = "input"

    def __init__(self) -> None:
        super().__init__("There is nothing to compact: neither input nor history has any items.")


class ResponseInFlight(Refused):
    """A response cannot be deleted while it runs."""

    def __init__(self) -> None:
        super().__init__("Cannot delete an in-flight response.")


class AttemptSuperseded(Refused):
    """A worker reports on a turn that has ended, or that another attempt has taken over."""

    def __init__(self, response_id: str) -> None:
        """``response_id`` of the turn."""
        super().__init__(f"Turn {response_id} is no longer run by this attempt.")


class CompactionSuperseded(Refused):
    """The line changed under a compaction in a way its summary does not cover."""

    def __init__(self) -> None:
        super().__init__("The items this compaction covers are no longer what they were.")
