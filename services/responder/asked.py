"""A turn request as the responder works on it: read, checked, and in the words of the rules."""

import msgspec

from schemas import ids as id_forms
from schemas.http import checks
from schemas.http.create_response import CreateResponse
from schemas.http.errors import Invalid
from schemas.turn_requests import OVERLAPS, TurnRequest, promised
from services import clock
from services.conversation import commands
from services.conversation.history import Item, Turn

_encode = msgspec.json.Encoder().encode


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A turn request, read and checked; ``summarised`` if a summary is all it asks for.

    ``retold``: an earlier attempt has told a part of an answer, so of this one only the end is.
    """

    project: str
    request: TurnRequest
    create: CreateResponse
    items: tuple[Item, ...]
    summarised: bool = False
    retold: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Project and response id."""
        return self.project, self.request.response_id

    @property
    def streamed(self) -> bool:
        """Whether the answer is told while it is made."""
        return self.create.stream and not self.retold

    @property
    def promised(self) -> bool:
        """Whether its asker was told that it waits, and may look for its response at any time."""
        return promised(self.request, background=self.create.background, store=self.create.store)

    def admission(
        self,
        *,
        interrupts: str | None = None,
        ends: commands.CancelTurn | commands.FailTurn | None = None,
    ) -> commands.RequestTurn:
        """What is asked of the conversation; ``interrupts`` is a turn to be ended for it.

        ``ends``: it is recorded with this end instead of being run.
        """
        create = self.create
        return commands.RequestTurn(
            response_id=self.request.response_id,
            model=create.model,
            items=self.items,
            parameters=msgspec.Raw(_encode(create.parameters)),
            on_line=create.conversation is not None,
            parent=create.previous_response_id,
            store=create.store,
            summarised=self.summarised,
            interrupts=interrupts,
            ends=ends,
        )


class _Words(msgspec.Struct):
    """Those of a body by which its asker was promised that it waits."""

    model: str
    background: bool | None = False
    store: bool | None = True
    stream: bool | None = False


_decode_words = msgspec.json.Decoder(_Words).decode


def unread(request: TurnRequest, *, ends: commands.FailTurn) -> commands.RequestTurn | None:
    """As `Asked.admission`, of a request that is not to be read; none if nothing was promised."""
    try:
        words = _decode_words(request.body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    background, store = words.background is True, words.store is not False
    if not promised(request, background=background, store=store):
        return None
    parameters = {"background": True, "stream": words.stream is True}
    return commands.RequestTurn(
        response_id=request.response_id,
        model=words.model,
        items=(),
        parameters=msgspec.Raw(_encode(parameters)),
        on_line=True,
        parent=None,
        store=True,
        ends=ends,
    )


def unstored(command: commands.RequestTurn, *, model: str) -> Turn:
    """The turn itself, where no log may know of it."""
    return Turn(
        id=command.response_id,
        status="in_progress",
        model=model,
        parameters=command.parameters,
        input=command.items,
        on_line=False,
        parent=command.parent,
        store=False,
        requested_at=clock.now(),
    )


def check_target(request: TurnRequest, create: CreateResponse) -> None:
    """The ids of a request must lead to the subject it was sent to, and its words be known."""
    checks.one_of(request.overlap, OVERLAPS, "overlap")
    checks.named(request.conversation_id, id_forms.CONVERSATION_PREFIX, "conversation_id")
    targets = {
        "response_id": id_forms.conversation_of(request.response_id),
        "conversation": create.conversation,
        "previous_response_id": create.previous_response_id
        and id_forms.conversation_of(create.previous_response_id),
    }
    unstored_child = not create.store and create.conversation is None
    for param, target in targets.items():
        if target is None and param != "response_id":
            continue
        if target != request.conversation_id and not (unstored_child and param == "response_id"):
            raise Invalid(
                f"Invalid '{param}': it does not belong to '{request.conversation_id}'.",
                param=param,
                code="invalid_value",
            )
