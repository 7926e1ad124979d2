"""Idempotency keys: the first request that is sent with one claims it.

A claim is stored before what it stands for is asked for, so that of any number of equal requests
at any doors one is the first, and the others find what that came to.
"""

import hashlib

import msgspec
from nats.aio.client import Client

from schemas import claims, subjects
from schemas.claims import Claim
from schemas.http.errors import KeyReused
from services import ids
from services.journal import JournalUnavailable
from services.journal.expecting import EXPECTED, WRONG_LAST_SEQUENCE
from services.journal.publishing import MESSAGE_ID, publish
from services.journal.reading import Reader, sequence_of
from services.journal.vault import Vault


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The claim that a key stands for, and where it is stored."""

    claim: Claim
    sequence: int


class Claims:
    """Who has a key: messages of the stream CLAIMS."""

    def __init__(self, client: Client, vault: Vault | None = None, *, wait_s: float = 5.0) -> None:
        """``vault`` lets nobody guess a request by its fingerprint.

        ``wait_s`` bounds each request, and three times that a claim with its repeats.
        """
        self._client = client
        self._vault = vault
        self._reader = Reader(client, wait_s=wait_s)
        self._wait_s = wait_s

    async def claim(self, project: str, key: str, wanted: Claim, *, instead_of: int = 0) -> Held:
        """Who has a key now: ``wanted`` if nobody had, or the claim at sequence ``instead_of``.

        Raises `KeyReused` if it stands for another request, or `JournalUnavailable`.
        """
        subject = subjects.claim(project, hashlib.sha256(key.encode()).hexdigest())
        expected, plain = instead_of, wanted.fingerprint
        if self._vault is not None:
            fingerprint = await self._vault.digest(project, plain.encode())
            wanted = msgspec.structs.replace(wanted, fingerprint=fingerprint)
        while True:
            stored = await self._store(subject, wanted, expected)
            if stored is not None:
                return Held(claim=wanted, sequence=stored)
            message = await self._reader.last(subjects.CLAIMS, subject)
            if message is None:
                # What there was has been forgotten meanwhile.
                expected = 0
                continue
            held = Held(claim=claims.decode(message.data), sequence=sequence_of(message))
            # It may be from before anything was encrypted.
            if held.claim.fingerprint not in {wanted.fingerprint, plain}:
                raise KeyReused
            return held

    async def _store(self, subject: str, claim: Claim, expected: int) -> int | None:
        """The sequence of a claim that takes the place of that at ``expected``; none if it cannot.

        It may be stored even then, if it came through only after it had been given up.
        """
        # An id of its own each time: who claims again may have been replaced meanwhile.
        headers = {EXPECTED: str(expected), MESSAGE_ID: ids.unique()}
        payload = claims.encode(claim)
        ack = await publish(self._client, subject, payload, headers, wait_s=3 * self._wait_s)
        if ack.error is None:
            return None if ack.duplicate else ack.seq
        if ack.error.err_code == WRONG_LAST_SEQUENCE:
            return None
        raise JournalUnavailable(f"claim refused: {ack.error.err_code} {ack.error.description}")
