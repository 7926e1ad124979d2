"""What the projector says of itself: how far its views are behind the log."""

from tests.projector.serving import projecting, settings_for, until_health
from tests.projector.test_follow import chatter


async def test_views_at_the_end_of_the_log_have_no_lag(nats_server, client, tmp_path):
    await chatter(20).publish(client.jetstream())
    async with projecting(settings_for(nats_server, tmp_path)):
        health = await until_health(client, lambda health: health.sequence == 20)
        assert (health.log_sequence, health.lag_commits, health.lag_ms) == (20, 0, 0.0)


async def test_lag_is_counted_in_commits_and_in_the_age_of_the_oldest_of_them(
    nats_server, client, tmp_path
):
    log = chatter(20)
    await log.publish(client.jetstream())
    async with projecting(settings_for(nats_server, tmp_path)) as views:
        await until_health(client, lambda health: health.sequence == 20)
        views.current.projection.end_at(20)
        chatter(5, start=log)
        await log.publish(client.jetstream(), start=20)
        first = await until_health(client, lambda health: health.log_sequence == 25)
        later = await until_health(client, lambda health: health.lag_ms > first.lag_ms + 50)
        assert (first.sequence, first.lag_commits, later.lag_commits) == (20, 5, 5)
        assert first.lag_ms > 0
        views.current.projection.end_at(None)
        caught_up = await until_health(client, lambda health: health.lag_commits == 0)
        assert (caught_up.sequence, caught_up.lag_ms, caught_up.ok) == (25, 0.0, True)
