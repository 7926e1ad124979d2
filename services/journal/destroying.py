"""The end of a conversation's key: an empty message in its place, and its bytes overwritten."""

from nats.aio.client import Client

from schemas import subjects
from services import ids
from services.journal import JournalUnavailable
from services.journal.expecting import EXPECTED, WRONG_LAST_SEQUENCE
from services.journal.publishing import MESSAGE_ID, publish
from services.journal.reading import Reader, sequence_of


async def destroy_key(
    client: Client, project: str, conversation_id: str, *, wait_s: float = 5.0
) -> list[int]:
    """Let nobody have a conversation's key any more, nor make one.

    Returns what is to be overwritten: sequences of the key on its stream. Twice is safe. Raises
    `JournalUnavailable`.
    """
    reader = Reader(client, wait_s=wait_s)
    subject = subjects.conversation_key(project, conversation_id)
    while True:
        newest = await reader.last_led(subjects.ENCRYPTION_KEYS, subject)
        if newest is not None and not newest.data:
            break
        expected = 0 if newest is None else sequence_of(newest)
        headers = {EXPECTED: str(expected), MESSAGE_ID: ids.unique()}
        ack = await publish(client, subject, b"", headers, wait_s=3 * wait_s)
        if ack.error is not None and ack.error.err_code != WRONG_LAST_SEQUENCE:
            raise JournalUnavailable(ack.error.description)
    kept = await reader.read(subjects.ENCRYPTION_KEYS, subject, after=0)
    return [sequence_of(each) for each in kept if each.data]
