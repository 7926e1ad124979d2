"""``turnlog parked``: what failed for good, to look at, to try again or to throw away."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import click
import msgspec
import nats.errors
from nats.aio.client import Client

from schemas import subjects, turn_requests
from schemas.turn_requests import TurnRequest
from services import ids
from services.cli import address, auditing, options
from services.cli.connection import connected
from services.journal import JournalUnavailable
from services.journal.parked import Parked, ParkedMessage
from services.journal.publishing import MESSAGE_ID
from services.journal.turn_requests import TurnRequests, decoded
from services.journal.vault import KeyDestroyed, Vault

T = TypeVar("T")


class NothingParked(click.ClickException):
    """There is no message of that sequence."""

    def __init__(self, sequence: int) -> None:
        super().__init__(f"nothing is parked at {sequence}: see `turnlog parked list`")


class LogUnavailable(click.ClickException):
    """The log cannot be reached."""


SEQUENCES = click.argument("sequences", nargs=-1, type=click.IntRange(min=1))
ALL = click.option("--all", "everything", is_flag=True, help="All that is parked now.")


@click.group(
    epilog="""\b
Examples:
  turnlog parked list
  turnlog parked show 3 | jq .body
  turnlog parked replay 3
  turnlog parked discard --all
"""
)
def parked() -> None:
    """Look at messages that failed for good, try them again, or throw them away.

    A turn request is parked when it could not be read, or was tried too often; its turn has ended
    as failed by then. A commit of the log is parked when the views cannot hold it: it stays in the
    log, and is in the views once a release that can read it has built them again.
    """


@parked.command("list")
@options.running_nats_url
@options.data_dir
def list_parked() -> None:
    """Print a line for each: sequence, since when, stream, reason, subject, response id."""

    async def work(client: Client) -> list[ParkedMessage]:
        vault = await auditing.vault(client)
        return [await _opened(client, vault, each) async for each in Parked(client).all()]

    for each in _on_log(work):
        at = each.at.strftime("%Y-%m-%d %H:%M:%S")
        request = _request(each)
        response_id = request.response_id if request else "-"
        click.echo(
            f"{each.sequence:>6}  {at}  {each.stream}  {each.reason:<10}  {each.subject}  "
            f"{response_id}"
        )


@parked.command()
@click.argument("sequence", type=click.IntRange(min=1))
@options.running_nats_url
@options.data_dir
def show(sequence: int) -> None:
    """Print the message parked at SEQUENCE as it was sent, opened if it was encrypted."""
    click.echo(_on_log(partial(_read, sequence=sequence)).payload)


@parked.command()
@SEQUENCES
@ALL
@options.running_nats_url
@options.data_dir
def replay(sequences: tuple[int, ...], *, everything: bool) -> None:
    """Put messages back where they came from; prints what becomes of each.

    The turn of a request that is tried again is a new one, under a response id of its own: the old
    one has ended.
    """
    for sequence in _chosen(sequences, everything=everything):
        click.echo(f"{sequence:>6}  {_on_log(partial(_replay, sequence=sequence))}")


@parked.command()
@SEQUENCES
@ALL
@options.running_nats_url
@options.data_dir
def discard(sequences: tuple[int, ...], *, everything: bool) -> None:
    """Throw messages away for good."""
    for sequence in _chosen(sequences, everything=everything):
        _on_log(partial(_discard, sequence=sequence))
        click.echo(f"{sequence:>6}  discarded")


def again(message: ParkedMessage) -> tuple[bytes, str | None]:
    """What is sent again of a message, and the response id its turn has then."""
    request = _request(message)
    if request is None:
        return message.payload, None
    fresh = msgspec.structs.replace(
        request,
        response_id=ids.response_id(request.conversation_id),
        # Whoever replays it wants it run, though its key stands for the old one, however late.
        request_id=None,
        expires_at=None,
    )
    return turn_requests.encode(fresh), fresh.response_id


async def _replay(client: Client, sequence: int) -> str:
    message = await _read(client, sequence)
    if message.stream == subjects.CONVERSATIONS:
        return "is in the log already: `turnlog replay --live` builds the views again"
    payload, response_id = again(message)
    if response_id is not None:
        project, conversation_id = subjects.turn_request_parts(message.subject)
        request = decoded(payload, conversation_id)
        assert request is not None
        vault = await auditing.vault(client)
        payload = await TurnRequests(client, vault).encoded(project, request)
    # Sent twice, if we die before it is removed, it is stored once.
    headers = {MESSAGE_ID: f"replayed-{sequence}-{message.at.isoformat()}"}
    await client.jetstream().publish(message.subject, payload, headers=headers)
    await Parked(client).remove(sequence)
    return f"replayed as {response_id}" if response_id else f"replayed on {message.subject}"


async def _discard(client: Client, sequence: int) -> None:
    if not await Parked(client).remove(sequence):
        raise NothingParked(sequence)


async def _get(client: Client, sequence: int) -> ParkedMessage:
    found = await Parked(client).get(sequence)
    if found is None:
        raise NothingParked(sequence)
    return found


async def _read(client: Client, sequence: int) -> ParkedMessage:
    return await _opened(client, await auditing.vault(client), await _get(client, sequence))


async def _opened(client: Client, vault: Vault | None, message: ParkedMessage) -> ParkedMessage:
    """A message with its content; as it is kept, if its conversation was erased."""
    if vault is None:
        return message
    if message.stream == subjects.CONVERSATIONS:
        payload = await vault.opened(message.payload)
    else:
        place = subjects.turn_request_parts(message.subject)
        try:
            payload = await TurnRequests(client, vault).opened(*place, message.payload)
        except KeyDestroyed:
            return message
    return msgspec.structs.replace(message, payload=payload)


def _request(message: ParkedMessage) -> TurnRequest | None:
    if message.stream != subjects.TURN_REQUESTS:
        return None
    try:
        return turn_requests.decode(message.payload)
    except msgspec.MsgspecError:
        return None


def _chosen(sequences: tuple[int, ...], *, everything: bool) -> tuple[int, ...]:
    if everything == bool(sequences):
        raise click.UsageError("name sequences of `turnlog parked list`, or --all")

    async def work(client: Client) -> tuple[int, ...]:
        return tuple([each.sequence async for each in Parked(client).all()])

    return _on_log(work) if everything else sequences


def _on_log(work: Callable[[Client], Awaitable[T]]) -> T:
    async def run() -> T:
        async with connected(address.nats_url(), name="turnlog parked") as client:
            return await work(client)

    try:
        return asyncio.run(run())
    except (JournalUnavailable, nats.errors.Error, OSError, TimeoutError) as error:
        raise LogUnavailable(f"the log cannot be reached: {error}") from error
