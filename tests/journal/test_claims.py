import asyncio

import nats
import pytest
import stamina

from schemas import subjects
from schemas.claims import Claim
from schemas.http.errors import KeyReused
from services import ids
from services.journal import streams
from services.journal.claims import Claims
from services.settings import Settings

PROJECT = "default"


def claim(*, fingerprint: str = "f") -> Claim:
    return Claim(id=ids.unique(), conversation_id="conv_1", fingerprint=fingerprint)


async def test_of_many_who_claim_a_key_at_once_one_has_it(connect):
    wanted = [claim() for _ in range(20)]
    clients = [Claims(await connect()) for _ in range(4)]
    held = await asyncio.gather(
        *(clients[index % 4].claim(PROJECT, "at once", each) for index, each in enumerate(wanted))
    )
    assert len({each.claim.id for each in held}) == 1
    assert held[0].claim in wanted
    assert len({each.sequence for each in held}) == 1


async def test_who_claims_again_finds_the_own_claim(client):
    claims, mine = Claims(client), claim()
    first = await claims.claim(PROJECT, "again", mine)
    assert await claims.claim(PROJECT, "again", mine) == first
    assert first.claim == mine


async def test_keys_of_two_projects_are_two(client):
    claims, mine, other = Claims(client), claim(), claim(fingerprint="g")
    assert (await claims.claim("one", "shared key", mine)).claim == mine
    assert (await claims.claim("two", "shared key", other)).claim == other


async def test_a_key_stands_for_no_other_request(client):
    claims = Claims(client)
    await claims.claim(PROJECT, "reused", claim())
    with pytest.raises(KeyReused):
        await claims.claim(PROJECT, "reused", claim(fingerprint="g"))


async def test_of_many_who_take_a_claim_over_one_has_it(connect):
    claims = [Claims(await connect()) for _ in range(3)]
    old = await claims[0].claim(PROJECT, "taken over", claim())
    wanted = [claim() for _ in range(9)]
    held = await asyncio.gather(
        *(
            claims[index % 3].claim(PROJECT, "taken over", each, instead_of=old.sequence)
            for index, each in enumerate(wanted)
        )
    )
    assert len({each.claim.id for each in held}) == 1
    assert held[0].claim in wanted
    late = await claims[1].claim(PROJECT, "taken over", claim(), instead_of=old.sequence)
    assert late == held[0]


async def test_a_claim_that_was_forgotten_is_taken_anew(client):
    claims = Claims(client)
    old = await claims.claim(PROJECT, "forgotten", claim())
    await client.jetstream().delete_msg(subjects.CLAIMS, old.sequence)
    mine = claim()
    assert (await claims.claim(PROJECT, "forgotten", mine, instead_of=old.sequence)).claim == mine


async def test_claims_are_synced_and_kept_for_a_day_one_for_each_key(client):
    info = await client.jetstream().stream_info(subjects.CLAIMS)
    config = info.config
    assert (
        config.storage,
        config.retention,
        config.discard,
        config.max_msgs_per_subject,
        config.max_age,
        config.allow_direct,
    ) == ("file", "limits", "old", 1, 24 * 3600, True)
    assert config.persist_mode in {None, "default"}


async def test_how_long_keys_are_known_can_be_set_at_any_time(empty_server_url):
    async with await nats.connect(empty_server_url) as client:
        js = client.jetstream()
        for given, kept in ((0, 24 * 3600), (30, 30), (7 * 24 * 3600, 7 * 24 * 3600), (0, 604800)):
            await streams.declare(client, chosen=Settings(idempotency_age_s=given))
            assert (await js.stream_info(subjects.CLAIMS)).config.max_age == kept
            assert (await js.stream_info(subjects.DELTAS)).config.max_age == 24 * 3600
            assert (await js.stream_info(subjects.REPEATS)).config.max_age == 15 * 60


async def test_a_key_can_be_claimed_anew_once_it_is_not_known_any_more(empty_server_url):
    async with await nats.connect(empty_server_url) as client:
        await streams.declare(client, chosen=Settings(idempotency_age_s=0.5))
        claims, other = Claims(client), claim(fingerprint="g")
        await claims.claim(PROJECT, "old", claim())

        async for attempt in stamina.retry_context(on=KeyReused, attempts=None, timeout=30):
            with attempt:
                assert (await claims.claim(PROJECT, "old", other)).claim == other
