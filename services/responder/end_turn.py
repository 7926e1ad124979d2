"""The end of a turn, into the log: what the model was paid for is not given up lightly."""

from contextlib import suppress
from functools import partial
from typing import TypeAlias

import msgspec
import stamina

from schemas.http.errors import TooLarge
from services.conversation import commands
from services.journal import JournalUnavailable
from services.journal.conversations import Conversations, Granted

TurnEnd: TypeAlias = commands.CompleteTurn | commands.FailTurn | commands.CancelTurn

END_S_MAX = 120.0
"""Seconds for which the end of a turn is tried to be stored."""


async def stored_end(
    conversations: Conversations, project: str, conversation_id: str, end: TurnEnd
) -> Granted:
    """The end in the log, however long that is away; raises `Refused`, and `JournalUnavailable`.

    What no message of the log can hold is left out: asked again, the model would say as much.
    """
    try:
        return await _granted(conversations, project, conversation_id, end)
    except TooLarge:
        if not end.items:
            raise
        return await _granted(conversations, project, conversation_id, _without_items(end))


async def _granted(
    conversations: Conversations, project: str, conversation_id: str, end: TurnEnd
) -> Granted:
    grant = partial(conversations.grant, project, conversation_id, end, command_id=_command_id(end))
    with suppress(JournalUnavailable):
        return await grant()
    async for attempt in stamina.retry_context(
        on=JournalUnavailable, attempts=None, timeout=END_S_MAX, wait_max=1.0
    ):
        with attempt:
            return await grant()
    raise AssertionError("a retry context either returns or raises")


def _without_items(end: TurnEnd) -> TurnEnd:
    if isinstance(end, commands.CompleteTurn):
        return commands.FailTurn(
            response_id=end.response_id,
            attempt=end.attempt,
            code="server_error",
            message="The answer is too large to be stored.",
        )
    return msgspec.structs.replace(end, items=())


def _command_id(end: TurnEnd) -> str:
    if isinstance(end, commands.CancelTurn):
        return f"{end.response_id}.cancelled"
    return f"{end.response_id}.ended.{end.attempt}"
