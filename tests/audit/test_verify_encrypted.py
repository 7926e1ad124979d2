"""``turnlog verify`` on an encrypted log: without the keys as far as that goes, with them all."""

import base64
import contextlib

import msgspec
import pytest

from schemas import envelope
from services.encryption import Key, Masters
from services.journal import streams
from services.journal.jetstream import JetStreamJournal
from services.journal.vault import Vault
from services.settings import Settings
from tests.audit.recording import copy, flipped, on, record, whole
from tests.audit.test_verify import findings, ran
from tests.journal.conftest import server

KEY = base64.b64encode(Key.fresh().raw).decode()
SETTINGS = Settings(master_key=KEY)
OTHER = base64.b64encode(bytes(32)).decode()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A log whose beginning is plain, and the messages of its keys."""
    with server(tmp_path_factory.mktemp("recorded")) as url:

        async def run(client):
            await streams.declare(client, chosen=SETTINGS)
            await record(JetStreamJournal(client), seed=5, conversations=2, steps=20)
            plain = len(await whole(client))
            journal = JetStreamJournal(client, Vault(client, Masters.read(KEY)))
            await record(journal, seed=6, conversations=4, steps=120)
            found = await client.jetstream().stream_info("ENCRYPTION_KEYS", subjects_filter=">")
            keys = {
                subject: (await client.jetstream().get_msg("ENCRYPTION_KEYS", subject=subject)).data
                for subject in found.state.subjects
            }
            return await whole(client), keys, plain

        yield on(url, run)


@pytest.fixture
def serve(tmp_path, recorded, monkeypatch):
    _, keys, _ = recorded

    @contextlib.contextmanager
    def serving(log, *, key=KEY):
        monkeypatch.delenv("TURNLOG_MASTER_KEY", raising=False)
        if key:
            monkeypatch.setenv("TURNLOG_MASTER_KEY", key)
        with server(tmp_path) as url:

            async def fill(client):
                await copy(client, log)
                await streams.declare(client, chosen=SETTINGS)
                for subject, data in keys.items():
                    await client.jetstream().publish(subject, data)

            on(url, fill)
            yield url

    return serving


def sealed(log):
    return [place for place, each in enumerate(log) if b'"key":"' in each.payload]


def test_with_the_key_everything_is_looked_into(recorded, serve):
    log, _, plain = recorded
    assert 0 < plain < len(log)
    assert sealed(log) == list(range(plain, len(log)))
    with serve(log) as url:
        done = ran(url)
    assert (done.exit_code, done.output) == (
        0,
        f"{len(log)} commits up to sequence {len(log)}: nothing found\n",
    )


def test_without_it_the_chain_is_and_what_was_not_looked_into_is_told(recorded, serve):
    log, _, plain = recorded
    with serve(log, key=None) as url:
        done = ran(url)
    dark = f" ({len(log) - plain} of them sealed, and not looked into)"
    said = f"{len(log)} commits{dark} up to sequence {len(log)}: nothing found\n"
    assert (done.exit_code, done.output) == (0, said)


def test_with_another_one_nothing_is_said_at_all(recorded, serve):
    log, _, _ = recorded
    with serve(log, key=OTHER) as url:
        done = ran(url)
    assert done.exit_code != 0
    assert "wrapped by master key" in str(done.exception)


@pytest.mark.parametrize("key", [KEY, None], ids=["with the key", "without"])
def test_a_changed_ciphertext_is_found(recorded, serve, key):
    log, _, _ = recorded
    of = [place for place in sealed(log) if log[place].subject == log[-1].subject]
    place = of[len(of) // 2]
    changed = list(log)
    data = log[place].payload.index(b'"data":"') + 40
    changed[place] = flipped(log[place], data)
    with serve(changed, key=key) as url:
        assert (log[place].subject, log[place].sequence, "altered") in findings(url)


def test_the_last_ciphertext_of_all_is_not_chained_but_authenticated(recorded, serve):
    log, _, _ = recorded
    payload = log[-1].payload
    place = payload.index(b'"data":"') + 40
    swapped = b"A" if payload[place : place + 1] != b"A" else b"B"
    changed = log[-1]._replace(payload=payload[:place] + swapped + payload[place + 1 :])
    with serve([*log[:-1], changed]) as url:
        assert findings(url) == [(changed.subject, changed.sequence, "altered")]


def test_what_is_readable_of_the_last_is_authenticated_too(recorded, serve):
    log, _, _ = recorded
    another = msgspec.structs.replace(envelope.decode(log[-1].payload), actor="somebody else")
    changed = log[-1]._replace(payload=envelope.encode(another))
    with serve([*log[:-1], changed]) as url:
        assert findings(url) == [(changed.subject, changed.sequence, "altered")]
