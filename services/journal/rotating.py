"""Master keys changed over: keys of projects are wrapped anew, and nothing else is touched.

Processes that have both master keys read all there is at any time. What the old one had wrapped is
overwritten on disk once the new one has.
"""

import msgspec
import nats.js.errors
from nats.aio.client import Client

from schemas import subjects, wrapped_keys
from services import ids
from services.encryption import Masters
from services.journal import JournalUnavailable
from services.journal.expecting import EXPECTED, WRONG_LAST_SEQUENCE
from services.journal.overwriting import overwrite
from services.journal.patience import patiently
from services.journal.publishing import MESSAGE_ID, publish
from services.journal.reading import Reader, sequence_of
from services.journal.vault import PROJECT

WAIT_S = 5.0


class ProjectKey(msgspec.Struct, frozen=True, kw_only=True):
    """A project's key: its id, and that of the master key that wraps it."""

    project: str
    id: str
    under: str


async def project_keys(client: Client) -> list[ProjectKey]:
    """Those of all projects; raises `JournalUnavailable`."""
    reader, found = Reader(client, wait_s=WAIT_S), list[ProjectKey]()
    for subject in await _subjects(client):
        stored = await reader.last_led(subjects.ENCRYPTION_KEYS, subject)
        assert stored is not None
        key = wrapped_keys.decode(stored.data)
        project = subjects.project_key_project(subject)
        found.append(ProjectKey(project=project, id=key.id, under=key.under))
    return found


async def rotate(client: Client, masters: Masters) -> list[str]:
    """Have the first of ``masters`` wrap every project's key; the projects of which it had not.

    Twice is safe, and so is several at once. Raises `MasterKeyUnknown`, `Altered` or
    `JournalUnavailable`.
    """
    changed = []
    for subject in await _subjects(client):
        project = subjects.project_key_project(subject)
        if await _wrapped_anew(client, masters, subject, project):
            changed.append(project)
    return changed


async def _wrapped_anew(client: Client, masters: Masters, subject: str, project: str) -> bool:
    """Whether a key had to be; what was stored of it before is overwritten in any case."""
    reader, changed = Reader(client, wait_s=WAIT_S), False
    while True:
        stored = await reader.last_led(subjects.ENCRYPTION_KEYS, subject)
        assert stored is not None
        wrapped = wrapped_keys.decode(stored.data)
        if wrapped.under == masters.first.id:
            break
        key = masters.unwrap(wrapped, PROJECT, project)
        anew = wrapped_keys.encode(masters.first.wrap(key, PROJECT, project))
        headers = {EXPECTED: str(sequence_of(stored)), MESSAGE_ID: ids.unique()}
        ack = await publish(client, subject, anew, headers, wait_s=3 * WAIT_S)
        if ack.error is None:
            changed = True
        elif ack.error.err_code != WRONG_LAST_SEQUENCE:
            raise JournalUnavailable(ack.error.description)
    for older in (await reader.read(subjects.ENCRYPTION_KEYS, subject, after=0))[:-1]:
        await overwrite(client, subjects.ENCRYPTION_KEYS, sequence_of(older))
    return changed


async def _subjects(client: Client) -> list[str]:
    async def once(_attempt_s: float) -> list[str]:
        try:
            info = await client.jetstream().stream_info(
                subjects.ENCRYPTION_KEYS, subjects_filter=subjects.ALL_PROJECT_KEYS
            )
        except nats.js.errors.NotFoundError:
            return []
        return sorted(info.state.subjects or {})

    return await patiently(once, wait_s=2 * WAIT_S)
