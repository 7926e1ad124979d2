"""What a key must allow for each operation of `schemas.http.operations`: the one table of that.

An operation that has no row is served to nobody: the gateway does not start with it.
"""

from collections.abc import Mapping

from schemas.api_keys import ADMIN, READ, SCOPES, WRITE, Scope
from schemas.http.errors import Forbidden, Unauthorized

OPERATION_SCOPES: Mapping[str, Scope | None] = {
    "createConversation": WRITE,
    "getConversation": READ,
    "updateConversation": WRITE,
    "deleteConversation": WRITE,
    "createConversationItems": WRITE,
    "listConversationItems": READ,
    "getConversationItem": READ,
    "deleteConversationItem": WRITE,
    "getHistory": READ,
    "listHistoryEvents": READ,
    "getHistoryDiff": READ,
    "verifyHistory": READ,
    "exportHistory": READ,
    "forkConversation": WRITE,
    # What it does cannot be undone.
    "eraseConversation": ADMIN,
    "createResponse": WRITE,
    "getResponse": READ,
    "deleteResponse": WRITE,
    "cancelResponse": WRITE,
    "listInputItems": READ,
    "listConversations": READ,
    "runSql": ADMIN,
    # The model is called.
    "compactResponse": WRITE,
    # Nothing is run or kept.
    "countInputTokens": READ,
    "listModels": READ,
    "getModel": READ,
    "getHealth": None,
    "getDocument": None,
    "getQueueDocument": None,
}
"""By id of the operation; none: whoever asks, key or not."""


def allows(held: Scope, needed: Scope) -> bool:
    """Whether a key with the scope ``held`` may do what needs ``needed``."""
    return SCOPES.index(held) >= SCOPES.index(needed)


class KeyMissing(Unauthorized):
    """No key was sent."""

    def __init__(self) -> None:
        super().__init__(
            "You didn't provide an API key. You need to provide your API key in an Authorization "
            "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
        )


class KeyIncorrect(Unauthorized):
    """The key that was sent lets nobody in; whether it ever did is not told."""

    code = "invalid_api_key"

    def __init__(self) -> None:
        super().__init__("Incorrect API key provided. It is unknown, was revoked, or has expired.")


class ScopeMissing(Forbidden):
    """The key does not allow this."""

    code = "missing_scope"

    def __init__(self, needed: Scope) -> None:
        super().__init__(
            f"You have insufficient permissions for this operation. Missing scopes: {needed}."
        )
