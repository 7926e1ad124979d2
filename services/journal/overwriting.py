"""Messages deleted so that their bytes are overwritten on disk, which no other way of NATS does."""

import msgspec
from nats.aio.client import Client

from services.journal import JournalUnavailable
from services.journal.patience import LED_ATTEMPT_S, patiently
from services.journal.publishing import Failure

_GONE = frozenset({10043, 10057})
"""JSSequenceNotFoundErrF, and JSStreamMsgDeleteFailedF, which says the same of a hole."""


class _Delete(msgspec.Struct):
    seq: int


class _Deleted(msgspec.Struct):
    error: Failure | None = None


async def overwrite(client: Client, stream: str, sequence: int, *, wait_s: float = 5.0) -> None:
    """Delete a message; twice is once. Raises `JournalUnavailable`."""

    async def once(attempt_s: float) -> None:
        where = f"$JS.API.STREAM.MSG.DELETE.{stream}"
        payload = msgspec.json.encode(_Delete(sequence))
        answer = await client.request(where, payload, timeout=attempt_s)
        error = msgspec.json.decode(answer.data, type=_Deleted).error
        if error is not None and error.err_code not in _GONE:
            raise JournalUnavailable(error.description)

    await patiently(once, wait_s=2 * wait_s, attempt_s=LED_ATTEMPT_S)
