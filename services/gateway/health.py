"""``GET /healthz``: 200 exactly when all four services can serve."""

import asyncio

import msgspec
import nats.errors
from nats.aio.client import Client
from starlette.requests import Request
from starlette.responses import Response

from schemas import subjects
from schemas.http.health import ServicesHealth
from schemas.queries import Health
from services.gateway import answers

ASKED = ("responder", "projector", "compactor")
WAIT_S = 1.0


class HealthEndpoint:
    """Asks every service, each time it is asked."""

    def __init__(self, client: Client) -> None:
        """``client`` is the gateway's connection."""
        self._client = client

    async def retrieve(self, _request: Request) -> Response:
        """GET /healthz."""
        gateway, *others = await asyncio.gather(
            self._gateway(), *(self._ask(process) for process in ASKED)
        )
        services = {"gateway": gateway, **dict(zip(ASKED, others, strict=True))}
        ok = all(health.ok for health in services.values())
        body = msgspec.json.encode(ServicesHealth(ok=ok, services=services))
        return answers.raw(body, status=200 if ok else 503)

    async def _gateway(self) -> Health:
        try:
            info = await self._client.jetstream().stream_info(subjects.CONVERSATIONS)
        except (nats.errors.Error, TimeoutError) as error:
            return Health(ok=False, detail=type(error).__name__)
        return Health(ok=True, sequence=info.state.last_seq)

    async def _ask(self, process: str) -> Health:
        try:
            answer = await self._client.request(subjects.ask_health(process), timeout=WAIT_S)
            return msgspec.json.decode(answer.data, type=Health)
        except (nats.errors.Error, msgspec.MsgspecError) as error:
            return Health(ok=False, detail=type(error).__name__)
