"""What becomes of each turn request: worked on, left for later, parked; then acked, then told."""

import asyncio

import nats.errors
import structlog
from faststream.nats import NatsMessage
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import ids as id_forms
from schemas import subjects
from schemas.http.errors import Overloaded, ServerFault, TooMany
from schemas.turn_requests import TurnRequest, queues
from services import clock, faults
from services.conversation.refusals import AttemptSuperseded, ConversationUnknown
from services.journal import JournalUnavailable
from services.journal.deltas import Deltas
from services.journal.parked import Parked
from services.journal.publishing import MESSAGE_ID
from services.journal.turn_requests import TurnRequests, decoded
from services.journal.vault import KeyDestroyed, Vault
from services.responder.admission import LeftAlone, LeftRunning, TakenElsewhere
from services.responder.answer_turn import TurnAnswerer
from services.responder.at_work import AtWork, Responders
from services.responder.door import Door, out_of_time
from services.responder.outbox import Outbox
from services.responder.outcome import End, Outcome, Repeated, refusal
from services.responder.running import HandedOver
from services.responder.settings import ResponderSettings
from services.responder.taken import Delivered, Found, Taken
from services.responder.turn_order import TurnOrder
from services.responder.unharmed import Unharmed

log = structlog.get_logger()

HEARTBEAT_S = 3.0
"""Time between signs of life for the turns that run; well below the queue's ack wait."""
REDELIVERY_WAIT_S = 1.0
"""Time before a turn that met a fault of ours is tried again."""


class Responder:
    """Takes turn requests off the queue and tells their outcome on their delta subject."""

    def __init__(
        self,
        client: Client,
        answerer: TurnAnswerer,
        at_work: AtWork,
        responders: Responders,
        door: Door,
        settings: ResponderSettings,
        vault: Vault | None,
    ) -> None:
        """``client`` is the connection outcomes are told on; ``vault`` has the keys."""
        self._client = client
        self._at_work = at_work
        self._responders = responders
        self._answerer = answerer
        self._door = door
        self._settings = settings
        self._deltas = Deltas(client, vault)
        self._parked = Parked(client)
        self._queue = TurnRequests(client, vault)
        self._order = TurnOrder(self._queue)
        self._deliveries: set[Delivered] = set()
        self._unstored = 0
        self._stopping = False
        self._gone_on: set[asyncio.Task[None]] = set()
        """Work on what other processes have left."""
        self._unharmed = Unharmed()

    async def take(self, message: NatsMessage, *, old: bool = False) -> None:
        """One delivery of a stored turn request, and what waits behind it.

        ``old``: it may have been delivered to somebody else since, and be done with.
        """
        subject = message.raw_message.subject
        project, conversation_id = subjects.turn_request_parts(subject)
        taken = Delivered(message, old=old)
        try:
            request = await self._queue.decoded(project, conversation_id, message.body)
        except KeyDestroyed:
            await self._refuse_erased(project, conversation_id, message, taken)
            return
        except JournalUnavailable as error:
            log.warning("turn.delayed", subject=subject, error=str(error))
            await taken.again(wait_s=REDELIVERY_WAIT_S)
            return
        if request is None:
            await self._park(subject, message.body, "unreadable")
            await taken.done()
            return
        if self._stopping:
            await taken.again(wait_s=0)
            return
        self._deliveries.add(taken)
        try:
            free = await self._in_order(project, request, taken)
        finally:
            self._deliveries.discard(taken)
        if free or (self._stopping and request.on_line):
            await self._go_on(project, conversation_id, taken.place)

    async def take_unstored(self, message: NatsMessage) -> None:
        """A turn request of which nothing may be kept; it is lost if this process is."""
        project = subjects.turn_request_unstored_project(message.raw_message.subject)
        started = clock.monotonic()
        request = decoded(message.body, None)
        if request is None:
            log.error("turn.unreadable", subject=message.raw_message.subject)
            return
        outbox = Outbox(self._client, project, request.response_id, stored=False, key=None)
        if self._unstored >= self._settings.turns_running_max:
            # No queue keeps it until there is room: it would wait where nobody sees it.
            refused = refusal(TooMany("Too many turns are running. Please retry."))
            await self._tell(project, request, outbox, refused, started=started, stored=False)
            return
        self._unstored += 1
        try:
            outcome: Outcome = (
                refusal(late)
                if (late := out_of_time(request)) is not None
                else await self._answerer.answer_unstored(project, request, outbox)
            )
        except JournalUnavailable:
            outcome = refusal(
                Overloaded("The service is temporarily unable to read. Please retry.")
            )
        except Exception:
            # Nobody delivers it again: the asker has to be told.
            log.exception("turn.crashed", response_id=request.response_id)
            outcome = refusal(ServerFault("The server had an error while processing your request."))
        finally:
            self._unstored -= 1
        await self._tell(project, request, outbox, outcome, started=started, stored=False)

    async def listen(self) -> None:
        """Hear, from now on, which turns are to end, and who asks for one that runs here."""
        await self._responders.listen(self._go_on_for_another)
        await self._client.subscribe(subjects.ALL_CANCELS, cb=self.cancel)
        await self._client.subscribe(
            subjects.ALL_CANCELS_WAITING, queue=subjects.RESPONDER, cb=self.cancel_waiting
        )

    async def cancel(self, message: Msg) -> None:
        """A turn is to end; only the process that waits for its model answers."""
        project, response_id = subjects.cancel_parts(message.subject)
        interrupted_by = message.data.decode(errors="replace") or None
        if self._answerer.stop(project, response_id, interrupted_by=interrupted_by):
            await message.respond(b"")

    async def cancel_waiting(self, message: Msg) -> None:
        """A turn that waits on the queue is to end before it begins; answers once it has ended."""
        project, response_id = subjects.cancel_parts(message.subject)
        started = clock.monotonic()
        try:
            waiting = await self._order.find(project, response_id)
            if waiting is not None:
                request, place = waiting.request, waiting.place
                outcome = await self._answerer.cancel_waiting(project, request, place=place)
                if outcome is not None:
                    await self._queue.remove(place)
                    outbox = await self._outbox(project, response_id, sealed=waiting.sealed)
                    await self._tell(
                        project, request, outbox, outcome, started=started, stored=True
                    )
        except LeftRunning:
            # It has just begun: whoever runs it is asked next.
            log.info("cancel.too_late", response_id=response_id)
        except JournalUnavailable as error:
            # Without an answer the asker is told to ask again.
            log.warning("cancel.delayed", response_id=response_id, error=str(error))
            return
        await message.respond(b"")

    async def show_life(self) -> None:
        """Tell the queue, for ever, that the turns taken are still worked on."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            try:
                for taken in tuple(self._deliveries):
                    await taken.show_life()
            except Exception as error:  # noqa: BLE001 - without signs of life all turns are lost
                # The connection comes back, and the next sign of life may still be in time.
                log.warning("life.not_shown", error=type(error).__name__)

    async def stop(self, *, wait_s: float) -> None:
        """Begin nothing more; what has not ended after ``wait_s`` seconds is handed over."""
        self._stopping = True
        asyncio.get_running_loop().call_later(wait_s, self._answerer.hand_over)
        await self._responders.leave()
        if self._gone_on:
            # Deliveries are waited for by whoever has delivered them.
            await asyncio.wait(self._gone_on)

    async def _go_on_for_another(self, project: str, conversation_id: str) -> None:
        if self._stopping or len(self._gone_on) >= self._settings.turns_running_max:
            # Who waits is delivered again.
            return
        task = asyncio.create_task(self._go_on(project, conversation_id, 0))
        self._gone_on.add(task)
        task.add_done_callback(self._gone_on.discard)

    async def _in_order(self, project: str, request: TurnRequest, taken: Delivered) -> bool:
        """Work on a delivery unless it has to wait; whether its conversation is free then."""
        if taken.old or queues(request):
            try:
                if taken.old and not await self._queue.holds(taken.place):
                    log.info("turn.done_elsewhere", response_id=request.response_id)
                    return False
                if queues(request) and await self._order.waits(project, request, taken.place):
                    # What is turned away need not wait for its turn.
                    if await self._door.turned_away(project, request) is not None:
                        await self._answer(project, request, taken)
                    return False
            except JournalUnavailable as error:
                log.warning("turn.delayed", response_id=request.response_id, error=str(error))
                await taken.again(wait_s=REDELIVERY_WAIT_S)
                return False
        return await self._work(project, request, taken)

    async def _go_on(self, project: str, conversation_id: str, place: int) -> None:
        """Work on what waits for a conversation, for as long as it is free.

        The request at ``place`` is acked. Whoever still sees it in front waits for us to look once
        it is really gone. A process that stops leaves that to another one.
        """
        gone = 0
        try:
            while not self._stopping:
                found = await self._order.first(project, conversation_id)
                if found is None:
                    return
                if found.place == gone:
                    return
                if found.place == place:
                    await self._queue.remove(place)
                    gone = place
                    continue
                gone = found.place
                taken = Found(self._queue, found)
                if not await self._work(project, found.request, taken) and not self._stopping:
                    return
            await self._responders.go_on(project, conversation_id)
        except (JournalUnavailable, nats.errors.Error) as error:
            log.warning("turns.delayed", conversation_id=conversation_id, error=str(error))

    async def _work(self, project: str, request: TurnRequest, taken: Taken) -> bool:
        """Answer a request; whether others may wait for its conversation, which is free now."""
        if not request.on_line:
            await self._answer(project, request, taken)
            return False
        with self._order.worked_on(project, request, taken.place):
            outcome = await self._answer(project, request, taken)
        # Nearly always nobody waits, and who does has told: the queue is not asked for nothing.
        waited_for = self._at_work.was_waited_for((project, request.response_id))
        may_be_waited_for = waited_for or queues(request) or not taken.first
        return outcome is not None and outcome.frees_line and may_be_waited_for

    async def _answer(self, project: str, request: TurnRequest, taken: Taken) -> Outcome | None:
        """The outcome of a request, stored, acked and told; none if it is not done with."""
        started = clock.monotonic()
        faults.point("taken")
        line = log.bind(response_id=request.response_id)
        try:
            outbox = await self._outbox(project, request.response_id, sealed=taken.sealed)
            outcome = await self._outcome(project, request, outbox, taken)
            if isinstance(outcome, End) and outcome.given_up:
                await self._park_request(project, request, "attempts")
        except TakenElsewhere:
            line.info("turn.repeated")
            await taken.done()
            return None
        except LeftAlone as left:
            # It comes again by itself, or is found by whoever ends what it waits for.
            line.info("turn.left", reason=left.reason)
            return None
        except AttemptSuperseded:
            # Whether it has ended or runs elsewhere is for the next delivery to find out.
            line.warning("turn.superseded")
            await taken.again(wait_s=0)
            return None
        except HandedOver:
            line.info("turn.handed_over")
            await taken.again(wait_s=0)
            return None
        except JournalUnavailable as error:
            line.warning("turn.delayed", error=str(error))
            await taken.again(wait_s=REDELIVERY_WAIT_S)
            return None
        except Exception:
            log.exception("turn.crashed", response_id=request.response_id)
            await taken.again(wait_s=REDELIVERY_WAIT_S)
            return None
        faults.point("ended")
        logged = isinstance(outcome, End)
        try:
            if not logged:
                # Of a refusal only these words are left once the request is off the queue.
                await self._tell(project, request, outbox, outcome, started=started, stored=True)
            await taken.done()
            await faults.point_behind("acked", self._client.flush)
            if logged:
                await self._tell(project, request, outbox, outcome, started=started, stored=True)
        except (nats.errors.Error, JournalUnavailable) as error:
            # It comes again if it was not acked, and whoever listens finds its end in the log.
            line.warning("turn.untold", error=str(error) or type(error).__name__)
        return outcome

    async def _outcome(
        self, project: str, request: TurnRequest, outbox: Outbox, taken: Taken
    ) -> Outcome:
        if (turned_away := await self._door.turned_away(project, request)) is not None:
            return turned_away
        key, attempts, noted = (project, request.response_id), 0, False
        if not taken.first and isinstance(taken, Delivered):
            # A request that ends every process that reads it must not be read for ever.
            if noted := await self._answerer.may_begin(project, request):
                attempts = await self._deltas.attempted(project, request.response_id)
            if attempts - self._unharmed.of(key) > self._settings.turn_attempts_max:
                await self._park_request(project, request, "attempts")
                return await self._answerer.give_up(project, request, place=taken.place)
        try:
            outcome = await self._answerer.answer(
                project, request, outbox, place=taken.place, first=taken.first
            )
        except (JournalUnavailable, LeftAlone):
            # That was no fault of the request.
            if noted:
                self._unharmed.add(key)
            raise
        self._unharmed.forget(key)
        return outcome

    async def _park_request(self, project: str, request: TurnRequest, reason: str) -> None:
        subject = subjects.turn_request(project, request.conversation_id)
        await self._park(subject, await self._queue.encoded(project, request), reason)

    async def _outbox(self, project: str, response_id: str, *, sealed: bool) -> Outbox:
        """What is said of a turn is encrypted if its request was."""
        key = await self._deltas.key(project, response_id) if sealed else None
        return Outbox(self._client, project, response_id, stored=True, key=key)

    async def _refuse_erased(
        self, project: str, conversation_id: str, message: NatsMessage, taken: Delivered
    ) -> None:
        """A request that nobody can read any more: of its response only the id is known."""
        response_id = message.headers.get(MESSAGE_ID, "")
        if id_forms.acceptable(response_id):
            refused = refusal(ConversationUnknown(conversation_id))
            outbox = Outbox(self._client, project, response_id, stored=True, key=None)
            await outbox.refuse(refused.body, status=refused.status, retry_after_s=None)
        await taken.done()
        log.info("turn.refused", response_id=response_id, http_status=ConversationUnknown.status)

    async def _park(self, subject: str, payload: bytes, reason: str) -> None:
        await self._parked.put(subjects.TURN_REQUESTS, reason, subject=subject, payload=payload)
        log.error("turn.parked", subject=subject, reason=reason)

    async def _tell(
        self,
        project: str,
        request: TurnRequest,
        outbox: Outbox,
        outcome: Outcome,
        *,
        started: float,
        stored: bool,
    ) -> None:
        line = log.bind(
            project=project,
            response_id=request.response_id,
            conversation_id=request.conversation_id if stored else None,
            duration_ms=round((clock.monotonic() - started) * 1000, 1),
        )
        if isinstance(outcome, End):
            if outcome.context is not None:
                await outbox.tell_context(outcome.context)
            await outbox.end(outcome.frame, number=outcome.number, sequence=outcome.sequence)
            line.info(
                "turn.ended",
                status=outcome.status,
                tokens=outcome.tokens,
                sequence=outcome.sequence,
            )
        elif isinstance(outcome, Repeated):
            await outbox.repeat(outcome.response_id)
            line.info("turn.repeated", first=outcome.response_id)
        else:
            await outbox.refuse(
                outcome.body, status=outcome.status, retry_after_s=outcome.retry_after_s
            )
            line.info("turn.refused", http_status=outcome.status)
