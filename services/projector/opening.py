"""Commits of the log with their content, before they are prepared."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from schemas import envelope
from schemas.envelope import Commit
from services import encryption
from services.encryption import Altered, Key
from services.journal.vault import Owner, Vault
from services.projector.facts import Message


class Opener:
    """Opens batches with the keys of a vault, on a thread that has no other work meanwhile."""

    def __init__(self, vault: Vault, thread: ThreadPoolExecutor) -> None:
        """``thread`` is where batches are prepared."""
        self._vault = vault
        self._thread = thread

    async def opened(self, messages: Sequence[Message]) -> list[Message]:
        """The messages, without those of conversations whose keys are destroyed.

        What cannot be opened otherwise stays as it is. Raises `JournalUnavailable`.
        """
        loop = asyncio.get_running_loop()
        commits = await loop.run_in_executor(self._thread, _sealed, messages)
        if not commits:
            return list(messages)
        owners = {_owner(commit) for commit in commits.values()}
        keys, destroyed = await self._vault.find_all(owners)
        return await loop.run_in_executor(self._thread, _opened, messages, commits, keys, destroyed)


def _sealed(messages: Sequence[Message]) -> dict[int, Commit]:
    """Those that are sealed, by their place among the messages."""
    found = {}
    for place, message in enumerate(messages):
        try:
            commit = envelope.decode(message.payload)
        except msgspec.MsgspecError:
            continue
        if commit.key is not msgspec.UNSET:
            found[place] = commit
    return found


def _opened(
    messages: Sequence[Message],
    commits: dict[int, Commit],
    keys: dict[Owner, Key],
    destroyed: set[Owner],
) -> list[Message]:
    opened = []
    for place, message in enumerate(messages):
        commit = commits.get(place)
        if commit is None:
            opened.append(message)
        elif _owner(commit) not in destroyed:
            opened.append(_unsealed(message, commit, keys.get(_owner(commit))))
    return opened


def _unsealed(message: Message, commit: Commit, key: Key | None) -> Message:
    if key is None or key.id != commit.key:
        return message
    try:
        return message._replace(payload=envelope.encode(encryption.unseal(commit, key)))
    except Altered:
        # It is no event any more: told as unreadable, like any that is not.
        return message


def _owner(commit: Commit) -> Owner:
    return commit.project, commit.conversation_id
