"""What is said on which NATS subject, and on a WebSocket: one row per channel.

Read by `schemas.asyncapi`. Whoever speaks or listens on NATS is a process of Turnlog or any backend
beside it: the same subjects, the same messages.
"""

from schemas import deltas, envelope, openapi, shapes, subjects
from schemas.asked import ASKED
from schemas.channel import COUNT, Channel, Message
from schemas.claims import Claim
from schemas.envelope import Commit
from schemas.http import websocket
from schemas.http.errors import ErrorBody
from schemas.repeats import Mark
from schemas.shapes import Shape
from schemas.turn_requests import Context, TurnRequest
from schemas.wrapped_keys import WrappedKey


def http(name: str) -> Shape:
    """A shape of the HTTP contract."""
    return {"$ref": f"{openapi.FILE}{shapes.COMPONENTS}{name}"}


PARAMETERS: dict[str, str] = {
    "project": f"The tenant; `{subjects.DEFAULT_PROJECT}` while no API keys are configured.",
    "conversation_id": "Id of the conversation, a hidden one for a chain without a conversation.",
    "response_id": "Id of the response, minted by whoever asks for the turn.",
    "digest": "SHA-256 of method, path, key and body, the first 32 digits.",
    "key_digest": "SHA-256 of the idempotency key.",
    "process": "Name of a process: `responder`, `projector`, `compactor`.",
    "stream": "The stream the message was taken from.",
    "reason": "Why it was given up, in one written word.",
}
"""What stands for itself in an address."""

_MESSAGE_ID = "Nats-Msg-Id"

_EVENTS = shapes.described(
    shapes.TEXT,
    "Server-sent events, ready for the wire; the data of each is a `ResponseStreamEvent`.",
)
_TURN_REQUEST = Message(
    name="turn_request",
    says="Asks for one turn.",
    payload=TurnRequest,
    optional={
        _MESSAGE_ID: shapes.described(shapes.TEXT, "The response id: sent twice, run once."),
    },
)
_DELTAS = (
    Message(
        name="deltas",
        says="What the turn has said since; more will come.",
        payload=_EVENTS,
        content_type=openapi.EVENT_STREAM,
        headers={deltas.KIND_HEADER: shapes.exactly(deltas.EVENTS), deltas.FIRST_HEADER: COUNT},
        optional={deltas.ATTEMPT_HEADER: COUNT},
    ),
    Message(
        name="attempt",
        says="The request was delivered again. What earlier attempts than `Turnlog-Attempt` say "
        "from here on does not count.",
        payload=shapes.ANY,
        headers={deltas.KIND_HEADER: shapes.exactly(deltas.ATTEMPT)},
        optional={deltas.ATTEMPT_HEADER: COUNT},
    ),
    Message(
        name="end",
        says="The terminal event. The turn is in the log at `Turnlog-Sequence` (0: nowhere).",
        payload=_EVENTS,
        content_type=openapi.EVENT_STREAM,
        headers={
            deltas.KIND_HEADER: shapes.exactly(deltas.END),
            deltas.FIRST_HEADER: COUNT,
            deltas.SEQUENCE_HEADER: COUNT,
        },
    ),
    Message(
        name="refusal",
        says="The turn was refused, by the rules or by the model; nothing follows.",
        payload=ErrorBody,
        headers={deltas.KIND_HEADER: shapes.exactly(deltas.REFUSAL), deltas.STATUS_HEADER: COUNT},
        optional={deltas.RETRY_AFTER_HEADER: COUNT},
    ),
)

_REPEATED = Message(
    name="repeated",
    says="The request was made before, with the same `request_id`: listen to, or read, the "
    "response it names. Nothing follows.",
    payload=deltas.Repeat,
    headers={deltas.KIND_HEADER: shapes.exactly(deltas.REPEAT)},
)
_CONTEXT = Message(
    name="context",
    says="What the turn leaves to one that follows; told if the request wanted it, before its end.",
    payload=Context,
    headers={deltas.KIND_HEADER: shapes.exactly(deltas.CONTEXT)},
)

_LANE = shapes.described(
    shapes.text(pattern=f"^{websocket.STREAM_ID.pattern}$"),
    "The lane of a request and its events: one after the other within, at once beside each other.",
)
_CREATE = shapes.record(
    {
        "type": shapes.exactly(websocket.CREATE),
        "stream_id": shapes.nullable(_LANE),
        "generate": shapes.described(
            shapes.nullable(shapes.BOOLEAN), "False: take the input, do not ask the model."
        ),
    },
    required=("type",),
)
_REFUSED = shapes.record(
    {
        "type": shapes.exactly("error"),
        "status": shapes.integer(least=400),
        "error": shapes.record(
            {
                "type": shapes.TEXT,
                "code": shapes.nullable(shapes.TEXT),
                "message": shapes.TEXT,
                "param": shapes.nullable(shapes.TEXT),
                "headers": shapes.mapping(shapes.TEXT),
            },
            required=("type", "code", "message", "param"),
        ),
        "stream_id": _LANE,
    },
    required=("type", "status", "error"),
)


def _keeping(address: str, whose: str) -> Channel:
    message = Message(name="wrapped_key", says="A wrapped key.", payload=WrappedKey)
    says, stream = f"Keeps the key of {whose}.", subjects.ENCRYPTION_KEYS
    return Channel(address=address, says=says, does="send", stream=stream, messages=(message,))


CHANNELS: dict[str, Channel] = {
    "conversation": Channel(
        address=subjects.conversation("{project}", "{conversation_id}"),
        says="The truth: every commit of one conversation, in order. Only Turnlog appends to it.",
        does="send",
        stream=subjects.CONVERSATIONS,
        messages=(
            Message(
                name="commit",
                says="The events of one decision, all of them or none.",
                payload=Commit,
                headers={
                    _MESSAGE_ID: shapes.described(shapes.TEXT, "The id of the commit."),
                    "Nats-Expected-Last-Subject-Sequence": shapes.described(
                        COUNT, "Sequence of the conversation's commit before; 0 for its first."
                    ),
                    envelope.EVENTS_HEADER: shapes.described(
                        shapes.TEXT, "The types of its events, comma-separated."
                    ),
                    envelope.OUTLINE_HEADER: shapes.described(
                        shapes.TEXT, "An `Outline` of the conversation after it, as JSON."
                    ),
                },
            ),
        ),
    ),
    "turn_request": Channel(
        address=subjects.turn_request("{project}", "{conversation_id}"),
        says="Asks for a turn that is run whatever dies. First listen on `delta`.",
        does="receive",
        stream=subjects.TURN_REQUESTS,
        queue=subjects.RESPONDER,
        messages=(_TURN_REQUEST,),
    ),
    "turn_request_unstored": Channel(
        address=subjects.turn_request_unstored("{project}"),
        says="Asks for a turn that may touch no disk (`store: false` without a conversation).",
        does="receive",
        queue=subjects.RESPONDER,
        messages=(_TURN_REQUEST,),
    ),
    "delta": Channel(
        address=subjects.delta("{project}", "{response_id}"),
        says="What a running turn says: events, then its end; or only why there are none.",
        does="send",
        stream=subjects.DELTAS,
        messages=(*_DELTAS, _REPEATED),
    ),
    "delta_unstored": Channel(
        address=subjects.delta_unstored("{project}", "{response_id}"),
        says="The same of a turn of which nothing may be kept.",
        does="send",
        messages=(*_DELTAS, _CONTEXT),
    ),
    "cancel": Channel(
        address=subjects.cancel("{project}", "{response_id}"),
        says="Asks whoever runs a turn to end it; the end is told on `delta`.",
        does="receive",
        messages=(
            Message(
                name="cancel",
                says="Says nothing, or the response id of the turn it is ended for.",
                payload=shapes.ANY,
            ),
        ),
        reply=Message(name="cancelling", says="Says nothing but that it runs.", payload=shapes.ANY),
    ),
    "cancel_waiting": Channel(
        address=subjects.cancel_waiting("{project}", "{response_id}"),
        says="Asks a responder to end a turn in the background that waits on the queue.",
        does="receive",
        messages=(Message(name="cancel_waiting", says="Says nothing.", payload=shapes.ANY),),
        reply=Message(
            name="cancelled",
            says="Says nothing: the log tells what it came to.",
            payload=shapes.ANY,
        ),
    ),
    "running": Channel(
        address=subjects.running("{project}", "{response_id}"),
        says="Asks whether a turn is worked on anywhere.",
        does="receive",
        messages=(
            Message(
                name="running_question",
                says="Says nothing, or the name of the responder that asks.",
                payload=shapes.ANY,
            ),
        ),
        reply=Message(name="running", says="Says nothing but that it runs.", payload=shapes.ANY),
    ),
    "waited_for": Channel(
        address=subjects.waited_for("{project}", "{response_id}"),
        says="Tells whoever runs a turn that another waits for its conversation.",
        does="receive",
        messages=(Message(name="waits", says="Says nothing.", payload=shapes.ANY),),
        reply=Message(name="noted", says="Says nothing but that it runs.", payload=shapes.ANY),
    ),
    "left": Channel(
        address=subjects.left("{project}", "{conversation_id}"),
        says="Leaves those who wait for a conversation to another responder.",
        does="receive",
        queue=subjects.RESPONDER,
        messages=(Message(name="left", says="Says nothing.", payload=shapes.ANY),),
    ),
    "erased": Channel(
        address=subjects.erased("{project}", "{conversation_id}"),
        says="Has every process forget a conversation that was erased.",
        does="send",
        messages=(Message(name="erased", says="Says nothing.", payload=shapes.ANY),),
    ),
    "parked": Channel(
        address=subjects.parked("{stream}", "{reason}"),
        says="Messages that failed for good.",
        does="send",
        stream=subjects.PARKED,
        messages=(
            Message(
                name="parked",
                says="The message as it was taken from its stream.",
                payload=shapes.ANY,
                headers={
                    subjects.PARKED_FROM_HEADER: shapes.described(
                        shapes.TEXT, "Where it came from."
                    )
                },
            ),
        ),
    ),
    "repeat": Channel(
        address=subjects.repeat("{project}", "{digest}"),
        says="Marks a request that its client may send again, and finds the first of them.",
        does="send",
        stream=subjects.REPEATS,
        messages=(Message(name="mark", says="What the request came to.", payload=Mark),),
    ),
    "project_key": _keeping(
        subjects.project_key("{project}"), "a project, wrapped by the master key"
    ),
    "conversation_key": _keeping(
        subjects.conversation_key("{project}", "{conversation_id}"),
        "a conversation, wrapped by its project's; empty once destroyed",
    ),
    "claim": Channel(
        address=subjects.claim("{project}", "{key_digest}"),
        says="Has an idempotency key stand for a request, and finds what it stands for.",
        does="send",
        stream=subjects.CLAIMS,
        messages=(
            Message(
                name="claim",
                says="What the first request with the key came to, and what it was.",
                payload=Claim,
                headers={
                    "Nats-Expected-Last-Subject-Sequence": shapes.described(
                        COUNT, "Sequence of the claim it takes the place of; 0: of none."
                    ),
                },
            ),
        ),
    ),
    **ASKED,
    "responses": Channel(
        address="/v1/responses",
        says="WebSocket mode of `POST /v1/responses`: turns asked for and told on one connection.",
        does="receive",
        server="gateway",
        messages=(
            Message(
                name="create",
                says="Asks for a response; `stream` and `background` mean nothing here.",
                payload={"allOf": [http("CreateResponseRequest"), _CREATE]},
            ),
        ),
        back=(
            Message(
                name="event",
                says="An event of a response.",
                payload={
                    "allOf": [http("ResponseStreamEvent"), shapes.record({"stream_id": _LANE})]
                },
            ),
            Message(name="error", says="A request was refused.", payload=_REFUSED),
        ),
    ),
}
"""Those of NATS by the names of the functions that build their subjects."""
