"""Asking the log again while it cannot answer: its leader died, or its disk is slow.

Only what is harmless when it is done twice may be asked so.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import nats.errors
import nats.js.errors
import stamina
import structlog

from services import clock
from services.journal import JournalUnavailable

log = structlog.get_logger()

ATTEMPT_S = 2.0
"""Seconds an answer is waited for until the question counts as lost with a leader that died. A new
one is elected within four to eight."""

LED_ATTEMPT_S = 0.5
"""The same at first, where nobody answers until there is a new leader; doubled each time."""

_WAIT_S_FIRST = 0.02
_WAIT_S_MAX = 0.25
_JITTER_S = 0.05

TRANSIENT = (
    nats.errors.TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.ConnectionReconnectingError,
    nats.errors.OutboundBufferLimitError,
    nats.errors.StaleConnectionError,
    nats.js.errors.ServiceUnavailableError,
    nats.js.errors.NoStreamResponseError,
    JournalUnavailable,
)
"""Faults of an attempt that pass by themselves, `JournalUnavailable` among them."""

T = TypeVar("T")


async def patiently(
    ask: Callable[[float], Awaitable[T]], *, wait_s: float, attempt_s: float = ATTEMPT_S
) -> T:
    """What ``ask``, given the seconds it may wait for an answer, returns in the end.

    Begun again for ``wait_s`` seconds. Raises `JournalUnavailable`.
    """
    attempt_s = min(attempt_s, wait_s)
    begun = clock.monotonic()
    try:
        with suppress(*TRANSIENT):
            return await ask(attempt_s)
        async for attempt in stamina.retry_context(
            on=TRANSIENT,
            attempts=None,
            timeout=wait_s,
            wait_initial=_WAIT_S_FIRST,
            wait_max=_WAIT_S_MAX,
            wait_jitter=_JITTER_S,
        ):
            attempt_s = min(2 * attempt_s, ATTEMPT_S, wait_s)
            with attempt:
                answer = await ask(attempt_s)
                log.info("log.waited_for", duration_ms=round((clock.monotonic() - begun) * 1000))
                return answer
    except nats.errors.Error as error:
        raise JournalUnavailable(str(error) or type(error).__name__) from error
    raise AssertionError("a retry context either returns or raises")
