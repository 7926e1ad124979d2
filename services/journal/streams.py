"""Declares streams, consumers and buckets of keys; twice is safe, and nothing kept is ever lost."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext, api

from schemas import subjects
from services.journal import JournalUnavailable
from services.journal.patience import patiently
from services.settings import Settings

log = structlog.get_logger()

KEEP_S = 2.0
"""Time between looks for a consumer that delivers by itself."""
DECLARE_S_MAX = 30.0
"""Seconds a cluster that starts is given to choose its leaders."""
_NO_PEERS = frozenset({10005, 10023})
"""JSClusterNoPeersErrF and JSInsufficientResourcesErr of nats-server: not enough servers are there
to keep so many replicas, or not yet."""


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of what is not kept for ever, and how often everything is stored."""

    replicas: int = 1
    turns_waiting_max: int = 10_000
    conversation_turns_waiting_max: int = 1_000
    deltas_age_s: float = 24 * 3600
    deltas_bytes_max: int = 2 * 1024**3
    repeats_age_s: float = 15 * 60
    """Seconds for which a repeated request is known: the SDK waits ten minutes for an answer."""
    repeats_max: int = 100_000
    idempotency_age_s: float = 24 * 3600
    """Seconds for which an idempotency key stands for its request."""
    duplicate_window_s: float = 120
    ack_wait_s: float = 10
    """Seconds after which a responder that gives no sign is taken for dead."""
    compaction_wait_s: float = 60
    """Seconds without a sign of life after which another compactor is given the crossing."""


_CHOSEN = (
    *("deltas_age_s", "idempotency_age_s"),
    *("turns_waiting_max", "conversation_turns_waiting_max"),
)
"""Settings that are limits of streams; each is 0 where nobody has set it."""
_AGES = {subjects.DELTAS: "deltas_age_s", subjects.CLAIMS: "idempotency_age_s"}
"""Those that are ages, by the streams whose messages they end."""


async def declare(
    client: Client,
    retention: Retention | None = None,
    *,
    chosen: Settings | None = None,
    wait_s: float = DECLARE_S_MAX,
) -> None:
    """Make what is missing. What is there already stays as its operator configured it.

    Except for limits that are ``chosen``, which are set on what is there as well, and for more
    replicas than it has. Raises `JournalUnavailable`.
    """
    changed = {name: value for name in _CHOSEN if (value := getattr(chosen, name, 0))}
    replicas = 1 if chosen is None else chosen.replicas
    limits = msgspec.structs.replace(retention or Retention(), replicas=replicas, **changed)
    js = client.jetstream()
    encrypted = chosen is not None and chosen.encrypts
    for config in (*_streams(limits), *((_encryption_keys(limits),) if encrypted else ())):
        await _patiently(partial(_declare_stream, js, config, frozenset(changed)), wait_s)
    raised = "turns_waiting_max" in changed
    for stream, consumer in _consumers(limits):
        await _patiently(partial(_declare_consumer, js, stream, consumer, chosen=raised), wait_s)
    for bucket in (subjects.KEYS, subjects.API_KEYS):
        await _patiently(partial(_declare_keys, js, bucket, limits.replicas), wait_s)


async def declare_api_keys(client: Client, *, replicas: int = 1) -> None:
    """Make the bucket of API keys alone, for whoever makes a key before anything runs."""
    step = partial(_declare_keys, client.jetstream(), subjects.API_KEYS, replicas)
    await _patiently(step, DECLARE_S_MAX)


async def keep_consumer(client: Client, stream: str, consumer: api.ConsumerConfig) -> None:
    """Make a consumer again, for ever, whenever it is gone: it delivers where it did before."""
    js = client.jetstream()
    while True:
        await asyncio.sleep(KEEP_S)
        try:
            await js.consumer_info(stream, str(consumer.durable_name))
        except nats.js.errors.NotFoundError:
            log.warning("consumer.lost", stream=stream, consumer=consumer.durable_name)
            with suppress(nats.errors.Error, TimeoutError):
                await js.add_consumer(stream, consumer)
        except (nats.errors.Error, TimeoutError):
            # Whether it is gone will be known when there is a leader again.
            continue


async def _patiently(step: Callable[[], Awaitable[None]], wait_s: float) -> None:
    async def once(_attempt_s: float) -> None:
        try:
            await step()
        except nats.js.errors.APIError as error:
            if error.err_code in _NO_PEERS:
                raise JournalUnavailable(str(error)) from error
            raise

    await patiently(once, wait_s=wait_s)


async def _declare_stream(
    js: JetStreamContext, config: api.StreamConfig, chosen: frozenset[str]
) -> None:
    name, replicas = str(config.name), config.num_replicas or 1
    try:
        info = await js.stream_info(name)
    except nats.js.errors.NotFoundError:
        await js.add_stream(config)
        return
    found = info.config
    wanted = found.evolve(**_changes(info, config, chosen))
    if (found.num_replicas or 1) < replicas:
        if found.persist_mode == api.PersistMode.ASYNC:
            # The server lets no stream change that. What such a stream holds is not for long.
            log.warning("stream.not_replicated", stream=name)
        else:
            wanted = wanted.evolve(num_replicas=replicas)
    if wanted != found:
        await js.update_stream(wanted)


async def _declare_consumer(
    js: JetStreamContext, stream: str, consumer: api.ConsumerConfig, *, chosen: bool
) -> None:
    try:
        found = (await js.consumer_info(stream, str(consumer.durable_name))).config
    except nats.js.errors.NotFoundError:
        await js.add_consumer(stream, consumer)
        return
    if chosen and (consumer.max_ack_pending or 0) > (found.max_ack_pending or 0):
        await js.add_consumer(stream, found.evolve(max_ack_pending=consumer.max_ack_pending))


def _changes(
    info: api.StreamInfo, config: api.StreamConfig, chosen: frozenset[str]
) -> dict[str, Any]:
    """What is different about a stream that is there, as far as somebody chose that."""
    found, changes = info.config, dict[str, Any]()
    match config.name:
        case subjects.DELTAS | subjects.CLAIMS if _AGES[config.name] in chosen:
            changes["max_age"] = config.max_age
            if found.max_age != config.max_age:
                changes["duplicate_window"] = config.duplicate_window
        case subjects.TURN_REQUESTS:
            if "turns_waiting_max" in chosen:
                changes["max_msgs"] = config.max_msgs
            if "conversation_turns_waiting_max" in chosen and _may_be_set(info, config):
                changes["max_msgs_per_subject"] = config.max_msgs_per_subject
                changes["discard_new_per_subject"] = True
        case _:
            pass
    return changes


def _may_be_set(info: api.StreamInfo, config: api.StreamConfig) -> bool:
    """Whether a stream can be given its limit per subject.

    A lower one makes the server delete the oldest messages above it, which were accepted. So it has
    to wait until so few are there that none can be.
    """
    there, wanted = info.config.max_msgs_per_subject or 0, config.max_msgs_per_subject or 0
    if there == wanted:
        return False
    if there <= 0 or wanted < there:
        lowered = info.state.messages <= wanted // 2
        if not lowered:
            log.warning("limit.not_lowered", stream=config.name, found=there, wanted=wanted)
        return lowered
    return True


def _streams(limits: Retention) -> tuple[api.StreamConfig, ...]:
    return (
        api.StreamConfig(
            name=subjects.CONVERSATIONS,
            subjects=[subjects.ALL_CONVERSATIONS],
            storage=api.StorageType.FILE,
            retention=api.RetentionPolicy.LIMITS,
            allow_direct=True,
            duplicate_window=limits.duplicate_window_s,
            num_replicas=limits.replicas,
        ),
        api.StreamConfig(
            name=subjects.TURN_REQUESTS,
            subjects=[subjects.ALL_TURN_REQUESTS],
            storage=api.StorageType.FILE,
            retention=api.RetentionPolicy.WORK_QUEUE,
            discard=api.DiscardPolicy.NEW,
            max_msgs=limits.turns_waiting_max,
            max_msgs_per_subject=limits.conversation_turns_waiting_max,
            discard_new_per_subject=True,
            allow_direct=True,
            duplicate_window=limits.duplicate_window_s,
            num_replicas=limits.replicas,
        ),
        *_kept_for_a_while(limits),
        api.StreamConfig(
            name=subjects.PARKED,
            subjects=[subjects.ALL_PARKED],
            storage=api.StorageType.FILE,
            retention=api.RetentionPolicy.LIMITS,
            num_replicas=limits.replicas,
        ),
    )


def _encryption_keys(limits: Retention) -> api.StreamConfig:
    return api.StreamConfig(
        name=subjects.ENCRYPTION_KEYS,
        subjects=[subjects.ALL_PROJECT_KEYS, subjects.ALL_CONVERSATION_KEYS],
        storage=api.StorageType.FILE,
        retention=api.RetentionPolicy.LIMITS,
        # No key takes the place of another by itself: only what is deleted is overwritten on disk.
        allow_direct=True,
        num_replicas=limits.replicas,
    )


def _kept_for_a_while(limits: Retention) -> tuple[api.StreamConfig, ...]:
    return (
        api.StreamConfig(
            name=subjects.DELTAS,
            subjects=[subjects.ALL_DELTAS],
            storage=api.StorageType.FILE,
            retention=api.RetentionPolicy.LIMITS,
            discard=api.DiscardPolicy.OLD,
            max_age=limits.deltas_age_s,
            # Nothing here has an id; the window may not be longer than what it looks at is kept.
            duplicate_window=min(limits.deltas_age_s, limits.duplicate_window_s),
            max_bytes=limits.deltas_bytes_max,
            allow_direct=True,
            # Replicated streams have no asynchronous mode; theirs is cheap enough.
            persist_mode=api.PersistMode.ASYNC if limits.replicas == 1 else None,
            num_replicas=limits.replicas,
        ),
        api.StreamConfig(
            name=subjects.REPEATS,
            subjects=[subjects.ALL_REPEATS],
            storage=api.StorageType.FILE,
            retention=api.RetentionPolicy.LIMITS,
            discard=api.DiscardPolicy.OLD,
            max_age=limits.repeats_age_s,
            max_msgs=limits.repeats_max,
            max_msgs_per_subject=1,
            allow_direct=True,
            persist_mode=api.PersistMode.ASYNC if limits.replicas == 1 else None,
            num_replicas=limits.replicas,
        ),
        api.StreamConfig(
            name=subjects.CLAIMS,
            subjects=[subjects.ALL_CLAIMS],
            storage=api.StorageType.FILE,
            retention=api.RetentionPolicy.LIMITS,
            discard=api.DiscardPolicy.OLD,
            max_age=limits.idempotency_age_s,
            max_msgs_per_subject=1,
            duplicate_window=min(limits.idempotency_age_s, limits.duplicate_window_s),
            allow_direct=True,
            num_replicas=limits.replicas,
        ),
    )


def _consumers(limits: Retention) -> tuple[tuple[str, api.ConsumerConfig], ...]:
    return (
        (
            subjects.TURN_REQUESTS,
            api.ConsumerConfig(
                durable_name=subjects.RESPONDER,
                filter_subject=subjects.ALL_TURN_REQUESTS,
                ack_policy=api.AckPolicy.EXPLICIT,
                ack_wait=limits.ack_wait_s,
                # Requests that wait for their conversation hold nobody up.
                max_ack_pending=limits.turns_waiting_max,
            ),
        ),
        (
            subjects.CONVERSATIONS,
            api.ConsumerConfig(
                durable_name=subjects.COMPACTOR,
                filter_subject=subjects.ALL_CONVERSATIONS,
                deliver_subject=subjects.COMPACTOR_DELIVERY,
                deliver_group=subjects.COMPACTOR,
                ack_policy=api.AckPolicy.EXPLICIT,
                ack_wait=limits.compaction_wait_s,
                headers_only=True,
            ),
        ),
    )


async def _declare_keys(js: JetStreamContext, bucket: str, replicas: int) -> None:
    try:
        found = (await js.stream_info(f"KV_{bucket}")).config
    except nats.js.errors.NotFoundError:
        await js.create_key_value(
            api.KeyValueConfig(
                bucket=bucket,
                storage=api.StorageType.FILE,
                replicas=replicas,
                # Those that are read again and again, all that were changed at once.
                direct=bucket == subjects.API_KEYS,
            )
        )
        return
    if (found.num_replicas or 1) < replicas:
        await js.update_stream(found.evolve(num_replicas=replicas))
