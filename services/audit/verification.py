"""The log read once, in its order, and every promise it makes looked at.

Checking takes more time than reading, so conversations are dealt out to processes. What needs a
second look, since its chain is broken or too much was in its way, is read again afterwards, each
conversation alone.
"""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta
from multiprocessing import get_context
from typing import Self
from zlib import crc32

import msgspec
from nats.aio.client import Client

from schemas import envelope, subjects
from services import clock
from services.audit.chain import diagnose, link_of
from services.audit.checker import Begun, Checker, Seen, erasure
from services.audit.export import Exported
from services.audit.findings import Finding, Rule, settled
from services.audit.history import Histories
from services.journal import following
from services.journal.following import Logged
from services.journal.jetstream import JetStreamJournal
from services.journal.turn_requests import TurnRequests
from services.journal.vault import Vault

ALONE_MAX = 20_000
"""Commits of a log that one process checks before others would have begun."""
WAITING_MAX = 4
"""Batches that wait for each process."""

Progress = Callable[[int, int], None]
"""Told the sequence that was reached, and the last there is."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, up to sequence ``through``, and what was found, in the log's order.

    ``sealed`` counts the commits whose content could not be looked into.
    """

    through: int
    commits: int
    sealed: int
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing was found that does not pass by itself."""
        return all(finding.warning for finding in self.findings)


class Verification:
    """One look at a log."""

    def __init__(
        self,
        client: Client,
        vault: Vault | None,
        *,
        processes: int,
        orphan_after_s: float,
        progress: Progress,
    ) -> None:
        """A turn that nobody runs is told ``orphan_after_s`` seconds after it was requested.

        What ``vault`` has no key for is checked as far as that goes.
        """
        self._client = client
        self._vault = vault
        self._processes = processes
        self._orphan_after_s = orphan_after_s
        self._progress = progress

    async def run(self, wanted: Sequence[str]) -> Report:
        """Check the subjects ``wanted``; all of them: then what is gone from the log shows as well.

        Raises `JournalUnavailable` or `LogMissing`.
        """
        log = await following.state(self._client)
        gaps = _Gaps(1)
        processes = self._processes if log.messages > ALONE_MAX else 0
        findings: list[Finding] = []
        with _Checkers(processes) as checkers:
            async for batch in following.follow(
                self._client, wanted, after=0, through=log.last_seq
            ):
                gaps.note(batch)
                findings += await checkers.check(await following.unsealed(batch, self._vault))
                if batch:
                    self._progress(batch[-1].sequence, log.last_seq)
            late, seen = await checkers.finish()
        findings += late
        gaps.end(log.last_seq)
        explained = list[Finding]()
        removed = {number for each in seen for number in each.removed}
        for each in seen:
            for subject in each.broken:
                found, gone = await self._explained(subject, log.last_seq)
                explained += found
                removed |= gone
            for subject in each.forgotten:
                findings += await self._alone(subject, log.last_seq)
        if list(wanted) == [subjects.ALL_CONVERSATIONS]:
            known = {each.sequence for each in explained if each.rule is Rule.MISSING}
            findings += gaps.findings(known | removed)
        findings += await self._orphans([begun for each in seen for begun in each.running])
        self._progress(log.last_seq, log.last_seq)
        return Report(
            through=log.last_seq,
            commits=sum(each.commits for each in seen),
            sealed=sum(each.sealed for each in seen),
            findings=tuple(settled(findings, explained)),
        )

    async def compare(self, exported: Exported) -> list[Finding]:
        """What the log has no longer, or has another of, than an export that was made of it."""
        log = await following.state(self._client)
        subject = subjects.conversation(exported.project, exported.conversation_id)
        held = {
            logged.sequence: envelope.digest(logged.payload)
            for logged in await self._conversation(subject, log.last_seq)
        }
        return [
            Finding(
                subject=subject,
                sequence=sequence,
                rule=Rule.EXPORT,
                says="it is another than in the export" if sequence in held else "it is gone",
            )
            for sequence, digest in exported.digests.items()
            if held.get(sequence) != digest
        ]

    async def _conversation(self, subject: str, through: int) -> list[Logged]:
        found: list[Logged] = []
        async for batch in following.follow(self._client, [subject], after=0, through=through):
            found += batch
        return found

    async def _explained(self, subject: str, through: int) -> tuple[list[Finding], set[int]]:
        """What broke a chain, and which commits are gone since the conversation was erased."""
        commits = await self._conversation(subject, through)
        if envelope.erases(commits[-1].payload):
            last = envelope.decode(commits[-1].payload)
            erased = erasure(commits[-1], last)
            if erased is not None:
                # Not all of them may be gone yet.
                return [], set(erased.removed)
        return diagnose(subject, [link_of(logged) for logged in commits]), set()

    async def _alone(self, subject: str, through: int) -> list[Finding]:
        checker, findings = Checker(), list[Finding]()
        commits = await self._conversation(subject, through)
        for logged in await following.unsealed(commits, self._vault):
            findings += checker.check(logged)
        return [finding for finding in findings if finding.rule is Rule.OUTLINE]

    async def _orphans(self, running: Iterable[Begun]) -> list[Finding]:
        histories = Histories(JetStreamJournal(self._client, self._vault))
        requests = TurnRequests(self._client, self._vault)
        since = clock.now() - timedelta(seconds=self._orphan_after_s)
        return [
            Finding(
                subject=begun.subject,
                sequence=begun.sequence,
                rule=Rule.ORPHAN,
                says=f"{begun.response_id} has not ended, and nobody runs it",
                warning=True,
            )
            for begun in running
            if _is_before(begun.at, since) and await _is_orphan(begun, histories, requests)
        ]


def _is_before(at: datetime, since: datetime) -> bool:
    return at <= since


async def _is_orphan(begun: Begun, histories: Histories, requests: TurnRequests) -> bool:
    project, conversation_id = subjects.conversation_parts(begun.subject)
    if await requests.find(project, begun.response_id) is not None:
        return False
    # It may have ended since: its request leaves the queue only then.
    moment = await histories.moment(project, conversation_id)
    return moment is not None and moment.state.turn_running(begun.response_id) is not None


class _Gaps:
    """Sequences of the log that hold no message."""

    def __init__(self, first: int) -> None:
        self._next = first
        self._gaps: list[tuple[int, int]] = []

    def note(self, batch: Sequence[Logged]) -> None:
        for logged in batch:
            self.end(logged.sequence - 1)
            self._next = logged.sequence + 1

    def end(self, last: int) -> None:
        """Nothing came up to and with ``last``."""
        if last >= self._next:
            self._gaps.append((self._next, last))

    def findings(self, known: set[int]) -> Iterable[Finding]:
        """Those that no conversation's chain has told already."""
        for first, last in _without(self._gaps, known):
            says = "it is gone from the log"
            if last > first:
                says = f"all from here to {last} is gone from the log"
            yield Finding(subject="", sequence=first, rule=Rule.MISSING, says=says)


def _without(gaps: Sequence[tuple[int, int]], known: set[int]) -> Iterable[tuple[int, int]]:
    """Gaps without what is known of; what is left of one may be several."""
    places = sorted(known)
    for first, last in gaps:
        start = first
        for number in places[bisect_left(places, first) : bisect_right(places, last)]:
            if start < number:
                yield start, number - 1
            start = number + 1
        if start <= last:
            yield start, last


class _Checkers:
    """One checker for each process, or one in this; a conversation always comes to the same."""

    def __init__(self, processes: int) -> None:
        self._own = Checker()
        self._processes = processes
        self._pools: list[Executor] = []
        self._stack = ExitStack()
        self._waiting: list[asyncio.Future[list[Finding]]] = []

    def __enter__(self) -> Self:
        self._pools = [
            self._stack.enter_context(
                # Forked, it would share this one's connection.
                ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin)
            )
            for _ in range(self._processes)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    async def check(self, batch: Sequence[Logged]) -> list[Finding]:
        """What is known by now of this batch and earlier ones."""
        if not self._pools:
            # Signs of life are read in between.
            await asyncio.sleep(0)
            return [finding for logged in batch for finding in self._own.check(logged)]
        loop = asyncio.get_running_loop()
        dealt: list[list[Logged]] = [[] for _ in self._pools]
        for logged in batch:
            dealt[crc32(logged.subject.encode()) % len(dealt)].append(logged)
        for pool, share in zip(self._pools, dealt, strict=True):
            if share:
                self._waiting.append(loop.run_in_executor(pool, _check, share))
        findings: list[Finding] = []
        while len(self._waiting) > WAITING_MAX * len(self._pools):
            findings += await self._waiting.pop(0)
        return findings

    async def finish(self) -> tuple[list[Finding], list[Seen]]:
        """What was still to be told, and what is left to look at."""
        if not self._pools:
            return [], [self._own.seen()]
        loop = asyncio.get_running_loop()
        findings = [finding for each in await asyncio.gather(*self._waiting) for finding in each]
        ends = (loop.run_in_executor(pool, _finish) for pool in self._pools)
        return findings, list(await asyncio.gather(*ends))


_checkers: list[Checker] = []
"""The checker of a process that has no other work."""


def _begin() -> None:
    _checkers.append(Checker())


def _check(batch: Sequence[Logged]) -> list[Finding]:
    return [finding for logged in batch for finding in _checkers[0].check(logged)]


def _finish() -> Seen:
    return _checkers[0].seen()
