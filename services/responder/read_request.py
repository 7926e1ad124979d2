"""From a turn request to what the rules are asked: read, checked, its items found."""

from collections.abc import Callable, Sequence

import msgspec

from schemas import items
from schemas.http import checks
from schemas.http.create_response import read_create
from schemas.turn_requests import TurnRequest
from services.conversation.history import Item
from services.journal.conversations import Conversations
from services.journal.known_items import known_items
from services.model.intake import Intake
from services.responder.asked import Asked, check_target


class RequestReader:
    """Reads requests; what they only name is looked up in the log."""

    def __init__(self, conversations: Conversations, intake: Intake) -> None:
        """``intake`` makes stored items of what was sent."""
        self._conversations = conversations
        self._intake = intake

    async def read(
        self, project: str, request: TurnRequest, mint: Callable[[str], str], *, first: bool
    ) -> Asked:
        """The request, its items under ids of ``mint``; raises `ApiError`.

        ``first``: it was never delivered before.
        """
        create = read_create(bytes(request.body), strict=False, generate=request.generate)
        check_target(request, create)
        given, summarised = _split(create.input)
        admitted_before = None
        if not first:
            admitted_before = await self._conversations.turn(
                project, request.conversation_id, request.response_id
            )
        if admitted_before is not None:
            # What it was admitted with counts, whatever has become of items it only named.
            input_items = admitted_before.input
        else:
            intake = self._intake.of(create.model)
            input_items = await self._input(project, request, given, mint, intake)
        return Asked(
            project=project,
            request=request,
            create=create,
            items=input_items,
            summarised=summarised,
        )

    async def _input(
        self,
        project: str,
        request: TurnRequest,
        given: msgspec.Raw | Sequence[msgspec.Raw],
        mint: Callable[[str], str],
        intake: Intake,
    ) -> tuple[Item, ...]:
        if isinstance(given, msgspec.Raw):
            return intake.text(given, mint=mint)
        known = await known_items(
            self._conversations,
            project,
            items.references(given, "input"),
            conversation_id=request.conversation_id,
        )
        return await intake.take(given, "input", mint=mint, known=known)


def _split(given: msgspec.Raw | None) -> tuple[msgspec.Raw | Sequence[msgspec.Raw], bool]:
    """The text or the values of an input, and whether a summary is all it asks for."""
    if given is None:
        return (), False
    if checks.first_byte(given) == b'"':
        return given, False
    return items.without_trigger(checks.array(given, "input"), "input")
