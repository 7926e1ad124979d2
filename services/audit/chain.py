"""What has happened to a conversation whose commits do not follow each other; pure.

Each commit carries the digest of the one before it, and a header with its sequence. Where a link is
broken, the links around it tell which commit is not what it was.
"""

from collections.abc import Sequence

import msgspec

from schemas import envelope
from services.audit.findings import Finding, Rule
from services.journal.expecting import EXPECTED
from services.journal.following import Logged

NOWHERE = -1
"""What a commit follows whose header does not say it."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A commit as far as the chain goes: what it is, and what it says of the one before.

    ``readable`` is false for what is no commit, which says nothing.
    """

    sequence: int = 0
    previous: int = 0
    digest: str | None = None
    prev: str | None = None
    readable: bool = True


def link_of(logged: Logged) -> Link:
    """The chain's part of a commit."""
    prev, readable = None, True
    try:
        prev = envelope.decode(logged.payload).prev
    except msgspec.MsgspecError:
        readable = False
    return Link(
        sequence=logged.sequence,
        previous=previous_of(logged),
        digest=envelope.digest(logged.payload),
        prev=prev,
        readable=readable,
    )


def previous_of(logged: Logged) -> int:
    """Sequence of the commit that this one's header says it was appended after."""
    written = logged.headers.get(EXPECTED, "")
    return int(written) if written.isdecimal() else NOWHERE


def diagnose(subject: str, links: Sequence[Link]) -> list[Finding]:
    """Every commit of a conversation that is not where or what it was, oldest first."""
    chain = _Chain(subject, links)
    while chain.index < len(links):
        chain.step()
    return sorted(chain.findings, key=lambda finding: finding.sequence)


class _Chain:
    """A walk along the commits of a conversation.

    ``base`` is what the next commit has to follow; ``blamed``: it is known to be altered, so that
    nothing can carry its digest.
    """

    def __init__(self, subject: str, links: Sequence[Link]) -> None:
        self.findings: list[Finding] = []
        self.index = 0
        self._subject = subject
        self._links = links
        self._base = Link()
        self._blamed = False
        self._places = {link.digest: place for place, link in enumerate(links)}
        self._followed = {link.prev: place for place, link in enumerate(links) if link.readable}

    def step(self) -> None:
        """Go on by a commit, or several that are explained together."""
        here, base = self._links[self.index], self._base
        if not here.readable:
            self._find(here.sequence, Rule.UNREADABLE, "it is no commit")
            self._go_on(here, blamed=True)
        elif here.prev == base.digest:
            if here.previous != base.sequence:
                says = f"its header puts it after {here.previous}, not after {base.sequence}"
                self._find(here.sequence, Rule.ORDER, says)
            self._go_on(here)
        elif self._blamed:
            self._go_on(here)
        elif not (self._swapped(here) or self._forged(here)):
            self._explain(here)
            self._go_on(here, blamed=self.findings[-1].sequence == here.sequence)

    def _swapped(self, here: Link) -> bool:
        """Whether this commit and the next one have changed places."""
        after = self._after()
        if after is None or (after.prev, here.prev) != (self._base.digest, after.digest):
            return False
        says = f"it has changed places with {after.sequence}, which it was appended after"
        self._find(here.sequence, Rule.SWAPPED, says)
        self.index += 2
        # What comes next was appended after this one, and stands behind the other.
        self._base = msgspec.structs.replace(here, sequence=after.sequence)
        return True

    def _forged(self, here: Link) -> bool:
        """Whether the conversation goes on as if this commit, and perhaps more, were not there."""
        place = self._followed.get(self._base.digest, 0)
        if place <= self.index or here.prev in self._places:
            return False
        follower = self._links[place].sequence
        for link in self._links[self.index : place]:
            says = f"nothing was appended after it: {follower} follows {self._base.sequence}"
            self._find(link.sequence, Rule.FORGED, says)
        self.index = place
        return True

    def _explain(self, here: Link) -> None:
        base, after, number = self._base, self._after(), here.sequence
        if here.prev in self._places:
            place = self._links[self._places[here.prev]].sequence
            if here.prev == base.prev and base.digest not in self._followed:
                says = f"{number} was appended after {place} as well, and nothing after this one"
                self._find(base.sequence, Rule.FORGED, says)
                return
            says = f"it was appended after {place}, and stands after {base.sequence}"
            self._find(number, Rule.SWAPPED, says)
        elif base.sequence < here.previous < number:
            self._find(here.previous, Rule.MISSING, f"it is gone: {number} was appended after it")
        elif after is not None and after.prev != here.digest:
            says = f"its bytes are not those that {after.sequence} was appended after"
            self._find(number, Rule.ALTERED, says)
        elif base.digest is None:
            says = "it is the first, and carries the digest of one before it"
            self._find(number, Rule.FORGED, says)
        elif after is not None and here.prev is not None:
            says = f"its bytes are not those that {number} was appended after"
            self._find(base.sequence, Rule.ALTERED, says)
        else:
            says = f"it does not carry the digest of {base.sequence}; or that one was altered"
            self._find(number, Rule.FORGED, says)

    def _after(self) -> Link | None:
        place = self.index + 1
        return self._links[place] if place < len(self._links) else None

    def _go_on(self, here: Link, *, blamed: bool = False) -> None:
        self.index += 1
        self._base, self._blamed = here, blamed

    def _find(self, sequence: int, rule: Rule, says: str) -> None:
        self.findings.append(
            Finding(subject=self._subject, sequence=sequence, rule=rule, says=says)
        )
