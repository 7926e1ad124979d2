"""How far the views are behind the log, as the log itself says when it is asked."""

import msgspec
import nats.errors
from nats.aio.client import Client

from schemas import subjects
from schemas.queries import Health
from services import clock
from services.projector.generations import Generations

WAIT_S = 0.4
"""Seconds the log is given to say where it is; who asks for health waits for it too."""


class Lag:
    """Asked for, and never measured otherwise: nothing is spent on it while commits come."""

    def __init__(self, client: Client, views: Generations) -> None:
        """``client`` asks the log."""
        self._jetstream = client.jetstream(timeout=WAIT_S)
        self._views = views

    async def health(self) -> Health:
        """Whether the views are at the end of the log, or on their way, and how far that is."""
        views = self._views
        parked = views.current.parked
        detail = views.hindrance()
        ok = detail != "the log cannot be reached"
        if not detail and parked:
            detail = (
                f"{parked} {'commit' if parked == 1 else 'commits'} could not be projected: "
                "see the view parked"
            )
        health = Health(ok=ok, detail=detail, sequence=views.sequence, parked=parked)
        return await self._measured(health) if ok else health

    async def _measured(self, health: Health) -> Health:
        assert health.sequence is not None
        try:
            info = await self._jetstream.stream_info(subjects.CONVERSATIONS)
            end = info.state.last_seq
            # It may have come nearer meanwhile, and comes nearer while the log is asked again.
            reached = self._views.sequence
            behind = max(0, end - reached)
            waits_ms = await self._waits_ms(reached + 1) if behind else 0.0
        except (nats.errors.Error, TimeoutError):
            return health
        return msgspec.structs.replace(
            health,
            sequence=max(health.sequence, min(reached, end)),
            log_sequence=end,
            lag_commits=behind,
            lag_ms=waits_ms,
        )

    async def _waits_ms(self, sequence: int) -> float:
        """Milliseconds since the first commit from ``sequence`` on was stored."""
        oldest = await self._jetstream.get_msg(
            subjects.CONVERSATIONS, seq=sequence, subject=subjects.ALL_CONVERSATIONS, next=True
        )
        assert oldest.time is not None
        return round(max(0.0, (clock.now() - oldest.time).total_seconds() * 1000), 1)
