"""The keys of one log's conversations: found, made once, and never seen unwrapped by the log.

They are on a stream of their own, ENCRYPTION_KEYS: each project's key wrapped by the master key,
each conversation's by its project's. A backup of the log without this stream can be read by nobody.

A conversation's key is stored before anything is sealed with it. A process that dies in between
leaves a key that seals nothing yet, and whoever writes to the conversation next takes that one. Of
several that make it at once the log lets one win, and the others take that one.

A key that is destroyed leaves an empty message in its place, so that it is never made again, and
its own message is overwritten on disk (`destroy`). What other processes have in memory does not
outlive the notice of it, nor a lost connection, in which a notice may be missed.

The newest keys are kept unwrapped, a bounded number of them: a conversation that is new to a
process costs one read, any other none.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

import msgspec
import nats.js.errors
from nats.aio.client import Client

from schemas import envelope, subjects, wrapped_keys
from schemas.envelope import Commit
from schemas.events import ERASED
from schemas.wrapped_keys import WrappedKey
from services import encryption, ids, master_keys
from services.encryption import Altered, Key, MasterKeyUnknown, Masters
from services.journal import JournalUnavailable
from services.journal.expecting import EXPECTED, WRONG_LAST_SEQUENCE
from services.journal.patience import patiently
from services.journal.publishing import MESSAGE_ID, publish
from services.journal.reading import Reader
from services.settings import PREFIX, Settings, SettingsError

KEYS_MAX = 20_000
"""Conversations of which a process has the key in memory."""
OPEN_S_MAX = 10.0
"""Seconds the log may take to say whether there are keys."""
READS_MAX = 64
"""Keys that are read at the same time, where many are wanted."""

Owner = tuple[str, str]
"""Project and conversation id."""

PROJECT, CONVERSATION = "project", "conversation"
"""What a wrapped key is of: authenticated with it."""


class KeyDestroyed(Exception):
    """The conversation was erased."""


class Vault:
    """Unwraps the keys of one log; its methods raise `JournalUnavailable`.

    And `MasterKeyUnknown` for what another master key has wrapped.
    """

    def __init__(
        self, client: Client, masters: Masters, *, keys_max: int = KEYS_MAX, wait_s: float = 5.0
    ) -> None:
        """``keys_max`` bounds what is kept; ``wait_s`` is for each answer of the log."""
        self._client = client
        self._masters = masters
        self._reader = Reader(client, wait_s=wait_s)
        self._wait_s = wait_s
        self._keys_max = keys_max
        self._projects: dict[str, Key] = {}
        self._known: OrderedDict[Owner, Key] = OrderedDict()
        self._reconnects = client.stats["reconnects"]

    def known(self, project: str, conversation_id: str) -> Key | None:
        """A conversation's key, if it is in memory."""
        if self._client.stats["reconnects"] != self._reconnects:
            self._reconnects = self._client.stats["reconnects"]
            self._known.clear()
        key = self._known.get((project, conversation_id))
        if key is not None:
            self._known.move_to_end((project, conversation_id))
        return key

    async def find(self, project: str, conversation_id: str) -> Key | None:
        """A conversation's key, if it has one; raises `KeyDestroyed`."""
        key = self.known(project, conversation_id)
        if key is not None:
            return key
        subject = subjects.conversation_key(project, conversation_id)
        stored = await self._reader.last(subjects.ENCRYPTION_KEYS, subject)
        if stored is None:
            return None
        if not stored.data:
            raise KeyDestroyed
        above = await self._project(project)
        key = above.unwrap(wrapped_keys.decode(stored.data), CONVERSATION, project, conversation_id)
        self._keep((project, conversation_id), key)
        return key

    async def find_all(self, owners: Iterable[Owner]) -> tuple[dict[Owner, Key], set[Owner]]:
        """The keys of several conversations, and those whose keys are destroyed."""
        places = asyncio.Semaphore(READS_MAX)
        keys: dict[Owner, Key] = {}
        destroyed: set[Owner] = set()

        async def one(owner: Owner) -> None:
            async with places:
                try:
                    key = await self.find(*owner)
                except KeyDestroyed:
                    destroyed.add(owner)
                else:
                    if key is not None:
                        keys[owner] = key

        await asyncio.gather(*map(one, owners))
        return keys, destroyed

    async def make(self, project: str, conversation_id: str, *, fresh: bool = False) -> Key:
        """A conversation's key, which it has from now on; raises `KeyDestroyed`.

        ``fresh``: it will hardly have one.
        """
        key = self.known(project, conversation_id)
        if key is None and not fresh:
            key = await self.find(project, conversation_id)
        if key is not None:
            return key
        above, key = await self._project(project), Key.fresh()
        wrapped = above.wrap(key, CONVERSATION, project, conversation_id)
        subject = subjects.conversation_key(project, conversation_id)
        if await self._store(subject, wrapped):
            self._keep((project, conversation_id), key)
            return key
        return await self._found(project, conversation_id)

    async def encoded(self, commit: Commit) -> bytes:
        """A commit as it is to be stored; raises `KeyDestroyed`."""
        if commit.events[0].type == ERASED:
            return envelope.encode(commit)
        project, conversation_id = commit.project, commit.conversation_id
        key = self.known(project, conversation_id)
        if key is None:
            key = await self.make(project, conversation_id, fresh=commit.prev is None)
        return envelope.encode(encryption.seal(commit, key))

    async def opened(self, payload: bytes) -> bytes:
        """A stored commit with its content; sealed still, if the key is not there any more.

        Raises `Altered`. What is no commit comes back as it is.
        """
        try:
            commit = envelope.decode(payload)
        except msgspec.MsgspecError:
            return payload
        if commit.key is msgspec.UNSET:
            return payload
        try:
            key = await self.find(commit.project, commit.conversation_id)
        except KeyDestroyed:
            return payload
        if key is None or key.id != commit.key:
            return payload
        return envelope.encode(encryption.unseal(commit, key))

    def forget(self, project: str, conversation_id: str) -> None:
        """Keep a conversation's key in memory no longer."""
        self._known.pop((project, conversation_id), None)

    async def digest(self, project: str, content: bytes) -> str:
        """A digest of what is not to be guessed by it."""
        return (await self._project(project)).digest(content)

    async def check(self) -> None:
        """Raise `MasterKeyUnknown` if the master keys are not those of this log."""
        stored = await self._reader.last_led(subjects.ENCRYPTION_KEYS, subjects.ALL_PROJECT_KEYS)
        if stored is not None:
            project = subjects.project_key_project(stored.subject)
            self._masters.unwrap(wrapped_keys.decode(stored.data), PROJECT, project)

    async def _project(self, project: str) -> Key:
        key = self._projects.get(project)
        if key is None:
            key = self._projects[project] = await self._project_made(project)
        return key

    async def _project_made(self, project: str) -> Key:
        subject = subjects.project_key(project)
        while True:
            stored = await self._reader.last(subjects.ENCRYPTION_KEYS, subject)
            if stored is not None:
                return self._masters.unwrap(wrapped_keys.decode(stored.data), PROJECT, project)
            key = Key.fresh()
            if await self._store(subject, self._masters.first.wrap(key, PROJECT, project)):
                return key

    async def _found(self, project: str, conversation_id: str) -> Key:
        """The key that somebody else has made."""
        key = await self.find(project, conversation_id)
        if key is None:
            raise JournalUnavailable("the conversation's key is being written")
        return key

    async def _store(self, subject: str, wrapped: WrappedKey) -> bool:
        """Whether a key is the first on its subject; if the answer was lost, it may seem not."""
        headers = {EXPECTED: "0", MESSAGE_ID: ids.unique()}
        payload = wrapped_keys.encode(wrapped)
        ack = await publish(self._client, subject, payload, headers, wait_s=3 * self._wait_s)
        if ack.error is None:
            return True
        if ack.error.err_code == WRONG_LAST_SEQUENCE:
            return False
        raise JournalUnavailable(f"key refused: {ack.error.err_code} {ack.error.description}")

    def _keep(self, owner: Owner, key: Key) -> None:
        self._known[owner] = key
        self._known.move_to_end(owner)
        while len(self._known) > self._keys_max:
            self._known.popitem(last=False)


def room(client: Client, vault: Vault | None) -> int:
    """Bytes of content for which there is room in a message: sealed it takes a third more."""
    return client.max_payload if vault is None else client.max_payload // 4 * 3


async def opened(client: Client, settings: Settings) -> Vault | None:
    """The vault of a log; none if nothing in it is encrypted, nor is to be.

    Raises `SettingsError` if the master key for what is encrypted was not given.
    """
    masters = master_keys.given(settings)

    async def keys(_attempt_s: float) -> int | None:
        try:
            found = await client.jetstream().stream_info(subjects.ENCRYPTION_KEYS)
        except nats.js.errors.NotFoundError:
            return None
        return found.state.messages

    count = await patiently(keys, wait_s=OPEN_S_MAX)
    if count is None:
        return None
    if masters is None:
        if not count:
            return None
        raise SettingsError(f"{PREFIX}MASTER_KEY: required, since the log is encrypted")
    vault = Vault(client, masters)
    try:
        await vault.check()
    except MasterKeyUnknown as error:
        raise SettingsError(f"{PREFIX}MASTER_KEY: {error}") from None
    except Altered:
        raise SettingsError(f"{PREFIX}MASTER_KEY: not the one this log is encrypted with") from None
    return vault
