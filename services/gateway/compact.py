"""``POST /v1/responses/compact``: asked of whichever compactor is free."""

import msgspec
import nats.errors
from nats.aio.client import Client
from starlette.requests import Request
from starlette.responses import Response

from schemas import subjects
from schemas.http.compact import read_compact
from schemas.http.errors import Overloaded
from schemas.queries import Compact, CompactAnswer
from services import clock
from services.gateway import answers
from services.gateway.body_reader import BodyReader
from services.gateway.identify import project_of
from services.gateway.settings import GatewaySettings

SILENCE_S = 10.0
"""Seconds without a sign of life after which whoever took the request is taken to be gone."""
_NO_RESPONDER = "503"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(CompactAnswer).decode


class CompactEndpoint:
    """The contract's section 5.3."""

    def __init__(self, client: Client, settings: GatewaySettings, reader: BodyReader) -> None:
        """``client`` is the gateway's connection; ``settings`` hold how long a client waits."""
        self._client = client
        self._settings = settings
        self._reader = reader

    async def create(self, request: Request) -> Response:
        """POST /responses/compact."""
        payload = await self._reader.read(request)
        # Read here as well: what is no JSON at all could not be handed on.
        read_compact(payload, strict=self._settings.strict)
        asked = Compact(project=project_of(request), body=msgspec.Raw(payload))
        told = await self._asked(_encode(asked))
        return answers.raw(bytes(told.body), status=told.status, retry_after_s=told.retry_after_s)

    async def _asked(self, question: bytes) -> CompactAnswer:
        inbox = self._client.new_inbox()
        subscription = await self._client.subscribe(inbox)
        until = clock.monotonic() + self._settings.answer_wait_s
        try:
            await self._client.publish(subjects.ask("compact"), question, reply=inbox)
            while clock.monotonic() < until:
                message = await subscription.next_msg(timeout=SILENCE_S)
                if (message.headers or {}).get("Status") == _NO_RESPONDER:
                    raise Overloaded("No compactor is running. Please retry.")
                if message.data:
                    return _decode(message.data)
        except nats.errors.Error as error:
            raise Overloaded("The compactor cannot be reached. Please retry.") from error
        finally:
            if not self._client.is_closed:
                await subscription.unsubscribe()
        raise Overloaded("The window was not compacted in time. Please retry.")
