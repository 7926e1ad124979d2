"""``/v1/turnlog/conversations``: the log as an auditor reads it, hidden and deleted ones included.

Everything is read from the log itself, and of it only what is asked for.
"""

from typing import NoReturn

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from schemas.http import checks
from schemas.http.errors import Invalid
from schemas.http.history import (
    COMMITS_MAX,
    CommitList,
    CommitStored,
    ConversationFork,
    ForkedFrom,
)
from services.audit import picture, points
from services.audit.fork import Forks
from services.audit.history import Histories, Moment
from services.audit.points import Point
from services.conversation.refusals import ConversationUnknown
from services.gateway import answers
from services.gateway.identify import project_of
from services.journal import Stored

PAGE_BYTES = 8 * 1024 * 1024
"""Bytes of commits after which a page ends, however few they are."""


class HistoryEndpoints:
    """Read what was, and begin anew from there."""

    def __init__(self, histories: Histories, forks: Forks) -> None:
        """Reads with ``histories``, writes with ``forks``."""
        self._histories = histories
        self._forks = forks

    async def retrieve(self, request: Request) -> Response:
        """GET /turnlog/conversations/{id}."""
        conversation_id = conversation_id_in(request)
        (moment,) = await self._moments(request, conversation_id, _point(request, "at"))
        if moment is None:
            raise ConversationUnknown(conversation_id)
        return answers.json(picture.then(conversation_id, moment), sequence=moment.sequence)

    async def diff(self, request: Request) -> Response:
        """GET /turnlog/conversations/{id}/diff."""
        conversation_id = conversation_id_in(request)
        earlier, later = _point(request, "from"), _point(request, "to")
        if earlier is None:
            raise checks.missing("from")
        before, after = await self._moments(request, conversation_id, earlier, later)
        if before is None and after is None:
            raise ConversationUnknown(conversation_id)
        found = picture.difference(conversation_id, before, after)
        return answers.json(found, sequence=max(found.from_sequence, found.to_sequence))

    async def list_events(self, request: Request) -> Response:
        """GET /turnlog/conversations/{id}/events."""
        conversation_id = conversation_id_in(request)
        limit, after = 20, 0
        for name, value in request.query_params.multi_items():
            match name:
                case "limit":
                    limit = checks.query_integer(value, name, least=1, most=COMMITS_MAX)
                case "after":
                    after = checks.query_integer(
                        value, name, least=0, most=10**points.SEQUENCE_DIGITS_MAX - 1
                    )
                case _:
                    pass
        found, more = await self._histories.page(
            project_of(request), conversation_id, after=after, limit=limit, bytes_max=PAGE_BYTES
        )
        if not found and not await self._histories.is_known(project_of(request), conversation_id):
            raise ConversationUnknown(conversation_id)
        last = found[-1].sequence if found else None
        body = CommitList(data=tuple(map(_told, found)), has_more=more, last_sequence=last)
        return answers.json(body, sequence=last)

    async def fork(self, request: Request) -> Response:
        """POST /turnlog/conversations/{id}/fork."""
        conversation_id = conversation_id_in(request)
        forked_id, granted, origin = await self._forks.fork(
            project_of(request), conversation_id, _point(request, "at")
        )
        assert granted.state.created_at is not None
        body = ConversationFork(
            id=forked_id,
            created_at=int(granted.state.created_at.timestamp()),
            metadata=granted.state.metadata,
            forked_from=ForkedFrom(
                conversation_id=conversation_id, sequence=origin.sequence, digest=origin.digest
            ),
        )
        return answers.json(body, sequence=granted.sequence)

    async def _moments(
        self, request: Request, conversation_id: str, *wanted: Point | None
    ) -> list[Moment | None]:
        return await self._histories.moments(project_of(request), conversation_id, *wanted)


def _told(stored: Stored) -> CommitStored:
    return CommitStored(
        sequence=stored.sequence,
        previous=stored.previous,
        digest=stored.digest,
        commit=msgspec.Raw(stored.payload),
    )


def conversation_id_in(request: Request) -> str:
    """The id the path names, if it can be one."""
    return checks.named(answers.path_id(request, "conversation_id"), "conv", "conversation_id")


def _point(request: Request, name: str) -> Point | None:
    value = request.query_params.get(name)
    if value is None:
        return None
    try:
        return points.read(value)
    except points.PointUnreadable:
        _refuse(name, value)


def _refuse(name: str, value: str) -> NoReturn:
    raise Invalid(
        f"Invalid '{name}': '{checks.told(value)}'. Expected a sequence of the log, or a time.",
        param=name,
        code="invalid_value",
    ) from None
