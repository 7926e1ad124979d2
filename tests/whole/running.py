"""All processes of one ``turnlog up``, with a simulated model of its own that outlives kills."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import msgspec
from nats.aio.client import Client
from nats.js.api import ConsumerInfo
from openai import OpenAI

from schemas import envelope, subjects
from schemas.queries import Sql, SqlAnswer
from services import settings
from services.cli.up import free_port
from services.journal import Stored
from services.journal.connect import servers
from services.journal.conversations import Loaded, advanced
from services.journal.jetstream import JetStreamJournal

ROOT = Path(__file__).parents[2]
PYTHON = (sys.executable, "-P", "-m")
MARK = "TURNLOG_WHOLE_MARK"
SESSION = secrets.token_hex(8)
"""Every process a session starts inherits this mark, and so do its children."""
PROJECT = subjects.DEFAULT_PROJECT
WAIT_S = 30.0
MODEL = "simulator"

T = TypeVar("T")
R = TypeVar("R")


def until(condition: Callable[[], T], *, wait_s: float = WAIT_S) -> T:
    """What ``condition`` returns once that is true; fails after ``wait_s`` seconds."""
    deadline = time.monotonic() + wait_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {wait_s} s: {value!r}"
        time.sleep(0.02)
    return value


def together(work: Callable[[T], R], inputs: Iterable[T], *, workers: int) -> list[R]:
    """``work`` on every input, several at once; results in the order of the inputs."""
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, inputs))


def marked(mark: str) -> dict[int, str]:
    """Living processes with this mark: pid to command line; zombies do not count."""
    found = {}
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        with suppress(OSError):
            if f"{MARK}={mark}".encode() in (directory / "environ").read_bytes():
                if (directory / "stat").read_text().rpartition(") ")[2][0] == "Z":
                    continue
                words = (directory / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(directory.name)] = words.decode()
    return found


def own(mark: str, **variables: str) -> dict[str, str]:
    """The environment of a child: no setting of the outside, and a mark to find it by."""
    kept = {
        name: value
        for name, value in settings.inherited().items()
        if not name.startswith(settings.PREFIX) and name != "OPENAI_API_KEY"
    }
    return kept | {"PYTHONPATH": str(ROOT), MARK: mark} | variables


class Child:
    """One process, its log in a file."""

    def __init__(self, log_path: Path, mark: str, *argv: str, **variables: str) -> None:
        self.log_path = log_path
        with log_path.open("ab") as written:
            self.process = subprocess.Popen(
                argv,
                env=own(mark, **variables),
                cwd=log_path.parent,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,
            )

    def lines(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Its log lines of ``event`` that have all of ``fields``."""
        found = []
        for text in self.log_path.read_text().splitlines():
            with suppress(json.JSONDecodeError):
                line = json.loads(text)
                if line.get("event") == event and fields.items() <= line.items():
                    found.append(line)
        return found

    def said(self, event: str, **fields: object) -> dict[str, Any]:
        """Its newest log line of ``event``, once there is one."""

        def newest() -> list[dict[str, Any]]:
            assert self.process.poll() is None, self.log_path.read_text()[-3000:]
            return self.lines(event, **fields)

        return until(newest)[-1]

    def end(self, number: signal.Signals = signal.SIGTERM, *, wait_s: float = WAIT_S) -> int:
        """Signal it and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(wait_s)


class Running:
    """``turnlog up`` on a directory of its own, and the simulated model behind it."""

    def __init__(self, directory: Path, **variables: str) -> None:
        """``variables`` are settings without their prefix: ``tokens_budget="0"``."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.data = directory / "data"
        self.mark = f"{SESSION}-{secrets.token_hex(4)}"
        self.variables = {
            settings.PREFIX + name.upper(): value for name, value in variables.items()
        }
        self.simulator = Child(
            directory / "simulator.log", self.mark, *PYTHON, "services.simulator", "--port", "0"
        )
        self.up: Child | None = None
        self._others: list[Child] = []
        self.simulator_url = ""
        self.url = ""
        self.nats_url = ""

    def begin(self) -> None:
        """Start it without waiting."""
        if not self.simulator_url:
            self.simulator_url = self.simulator.said("simulator.started")["url"]
        assert self.up is None
        for name in ("http-url", "nats-url"):
            (self.data / name).unlink(missing_ok=True)
        given = {
            "TURNLOG_DATA_DIR": str(self.data),
            "TURNLOG_PORT": "0",
            "TURNLOG_MODEL_URL": self.simulator_url,
            "TURNLOG_MODEL_KEY": "simulator",
            **self.variables,
        }
        self.up = Child(
            self.directory / "up.log", self.mark, *PYTHON, "services.cli", "up", **given
        )

    def ready(self) -> "Running":
        """Wait until everything it started can serve."""
        up = self.up
        assert up is not None

        def published() -> bool:
            assert up.process.poll() is None, up.log_path.read_text()[-3000:]
            return (self.data / "http-url").exists()

        until(published, wait_s=60.0)
        self.url = (self.data / "http-url").read_text()
        self.nats_url = (self.data / "nats-url").read_text()
        return self

    def start(self) -> "Running":
        """Start it and wait until everything can serve."""
        self.begin()
        return self.ready()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it in its own order; the exit status."""
        assert self.up is not None
        status = self.up.end(number)
        self.up = None
        return status

    def kill9(self) -> None:
        """Kill its process group as a whole and wait until no child is left."""
        assert self.up is not None
        os.killpg(self.up.process.pid, signal.SIGKILL)
        self.up.process.wait(WAIT_S)
        self.up = None
        until(lambda: not self.pids())

    def end_others(self) -> None:
        """Kill what was started beside it."""
        for child in self._others:
            child.process.kill()
            child.process.wait(WAIT_S)

    def end(self) -> None:
        """Kill all of it, whatever state it is in: how it stops by itself has its own tests."""
        for child in (*self._others, self.up, self.simulator):
            if child is not None:
                child.process.kill()
                child.process.wait(WAIT_S)
        self.up = None
        until(lambda: not marked(self.mark))

    def pids(self) -> dict[int, str]:
        """Living processes of ``turnlog up``, itself included."""
        own_pids = {child.process.pid for child in (self.simulator, *self._others)}
        return {pid: words for pid, words in marked(self.mark).items() if pid not in own_pids}

    def pid(self, name: str) -> int:
        """The one living process called ``name``."""
        wanted = f"services.{name}" if name != "nats-server" else "nats-server"

        def found() -> list[int]:
            return [pid for pid, words in self.pids().items() if wanted in words]

        until(lambda: len(found()) == 1)
        return found()[0]

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Signal one process by name; its pid."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    @contextmanager
    def halted(self) -> Iterator[int]:
        """Pid of its responder, which stands still, and to which the queue delivers nothing.

        Other responders are started within this, so that they take what is asked for here.
        """
        pid = self.kill("responder", signal.SIGSTOP)
        try:
            until(lambda: not self.taken_from_queue().num_waiting)
            yield pid
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def patient_queue(self) -> Iterator[None]:
        """Nothing is delivered again, while a test waits, but what is given back to the queue."""
        config = self.taken_from_queue().config

        async def change(client: Client, ack_wait_s: float | None) -> None:
            await client.jetstream().add_consumer(
                subjects.TURN_REQUESTS, config.evolve(ack_wait=ack_wait_s)
            )

        self.on_log(partial(change, ack_wait_s=4 * WAIT_S))
        try:
            yield
        finally:
            self.on_log(partial(change, ack_wait_s=config.ack_wait))

    def taken_from_queue(self) -> ConsumerInfo:
        """How the responders stand with the queue of turn requests."""

        async def ask(client: Client) -> ConsumerInfo:
            return await client.jetstream().consumer_info(
                subjects.TURN_REQUESTS, subjects.RESPONDER
            )

        return self.on_log(ask)

    def beside(self, process: str, **variables: str) -> Child:
        """Another process on the same log."""
        given = {
            "TURNLOG_NATS_URL": self.nats_url,
            "TURNLOG_DATA_DIR": str(self.data),
            "TURNLOG_MODEL_URL": self.simulator_url,
            "TURNLOG_MODEL_KEY": "simulator",
            **{settings.PREFIX + name.upper(): value for name, value in variables.items()},
        }
        log_path = self.directory / f"{process}-{len(self._others)}.log"
        child = Child(log_path, self.mark, *PYTHON, f"services.{process}", **given)
        self._others.append(child)
        return child

    @contextmanager
    def client(
        self, url: str | None = None, *, timeout: float = 60.0, key: str = "any"
    ) -> Iterator[OpenAI]:
        """The unmodified SDK. It retries nothing, so that every answer is seen."""
        with OpenAI(
            base_url=f"{url or self.url}/v1", api_key=key, max_retries=0, timeout=timeout
        ) as client:
            yield client

    @contextmanager
    def http(
        self, url: str | None = None, *, timeout: float = 60.0, key: str | None = None
    ) -> Iterator[httpx2.Client]:
        """Bytes as they come."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        with httpx2.Client(base_url=url or self.url, timeout=timeout, headers=headers) as client:
            yield client

    def received(self) -> "list[Received]":
        """Requests the model was sent lately, oldest first."""
        origin = self.simulator_url.removesuffix("/v1")
        answer = httpx2.get(f"{origin}/simulator/requests", timeout=WAIT_S)
        return msgspec.json.decode(answer.content, type=list[Received])

    def open_gate(self, name: str) -> None:
        """Let the model give every answer that waits at ``[[gate name]]``, from now on."""
        origin = self.simulator_url.removesuffix("/v1")
        assert httpx2.post(f"{origin}/simulator/gates/{name}", timeout=WAIT_S).status_code == 200

    def forget_received(self) -> None:
        """Let the model forget what it was sent."""
        origin = self.simulator_url.removesuffix("/v1")
        assert httpx2.delete(f"{origin}/simulator/requests", timeout=WAIT_S).status_code == 200

    def received_with(self, text: str) -> list[bytes]:
        """Bodies of those that hold ``text``, oldest first."""
        bodies = [bytes(each.body) for each in self.received()]
        return [body for body in bodies if text.encode() in body]

    def on_log(self, work: Callable[[Client], Any]) -> Any:
        """What the coroutine function ``work`` returns on a connection to the log."""

        async def run() -> Any:
            client = Client()
            await client.connect(servers(self.nats_url), allow_reconnect=False)
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(run())

    def last_sequences(self) -> dict[str, int]:
        """Last sequence of every stream."""

        async def ask(client: Client) -> dict[str, int]:
            found = await client.jetstream().streams_info()
            return {str(info.config.name): info.state.last_seq for info in found}

        return self.on_log(ask)

    def settled(self) -> dict[str, int]:
        """Last sequence of every stream once no turn request is on the queue."""

        async def ask(client: Client) -> dict[str, int]:
            while True:
                found = await client.jetstream().streams_info()
                waiting = {each.config.name: each.state.messages for each in found}
                if not waiting[subjects.TURN_REQUESTS]:
                    return {str(info.config.name): info.state.last_seq for info in found}
                await asyncio.sleep(0.02)

        return self.on_log(ask)

    def last_stored(self) -> tuple[int, int]:
        """Last sequences of what a turn that is to be stored is written to.

        Of one that has just ended some words may still follow elsewhere.
        """
        found = self.last_sequences()
        return found[subjects.CONVERSATIONS], found[subjects.TURN_REQUESTS]

    def words_kept(self, response_id: str) -> int:
        """How many messages of a response's words are kept."""

        async def ask(client: Client) -> int:
            subject = subjects.delta(PROJECT, response_id)
            info = await client.jetstream().stream_info(subjects.DELTAS, subjects_filter=subject)
            return (info.state.subjects or {}).get(subject, 0)

        return self.on_log(ask)

    def last_sequence(self) -> int:
        """Last sequence of the log."""
        return self.last_sequences()[subjects.CONVERSATIONS]

    def turns_waiting(self) -> int:
        """Turn requests that are not acked."""

        async def ask(client: Client) -> int:
            info = await client.jetstream().stream_info(subjects.TURN_REQUESTS)
            return info.state.messages

        return self.on_log(ask)

    def commits(self, conversation_id: str) -> list[Stored]:
        """A conversation's commits, oldest first."""

        async def read(client: Client) -> list[Stored]:
            return await JetStreamJournal(client).read(PROJECT, conversation_id, after=0)

        return self.on_log(read)

    def all_commits(self) -> dict[str, list[Stored]]:
        """Every conversation of the log, by id."""

        async def read(client: Client) -> dict[str, list[Stored]]:
            journal = JetStreamJournal(client)
            info = await client.jetstream().stream_info(
                subjects.CONVERSATIONS, subjects_filter=subjects.ALL_CONVERSATIONS
            )
            known = [subjects.conversation_parts(name) for name in info.state.subjects or {}]
            return {one: await journal.read(project, one, after=0) for project, one in known}

        return self.on_log(read)

    def fold(self, conversation_id: str) -> Loaded:
        """A conversation as the log alone tells it."""
        return folded(self.commits(conversation_id))

    def events(self, conversation_id: str) -> list[str]:
        """Names of a conversation's events, oldest first."""
        return [name for commit in self.commits(conversation_id) for name in names(commit)]

    def ask_sql(
        self, statement: str, *, sequence: int | None = None, wait_s: float = 25.0
    ) -> SqlAnswer:
        """The projector's answer at ``sequence`` or later; none: at the log's last."""
        wanted = self.last_sequence() if sequence is None else sequence
        question = Sql(statement=statement, sequence=wanted, wait_s=wait_s, rows_max=100_000)

        async def ask(client: Client) -> SqlAnswer:
            answer = await client.request(
                subjects.ask("sql"), msgspec.json.encode(question), timeout=30
            )
            return msgspec.json.decode(answer.data, type=SqlAnswer)

        return self.on_log(ask)

    def sql(self, statement: str, *, sequence: int | None = None) -> list[tuple[Any, ...]]:
        """Rows of `ask_sql`."""
        answer = self.ask_sql(statement, sequence=sequence)
        assert answer.error is None, answer.error
        assert not answer.truncated
        return list(answer.rows)

    def healthy(self) -> bool:
        """Whether its gateway is there, and says that everything can serve."""
        with suppress(httpx2.TransportError):
            return self.health()[0] == 200
        return False

    def health(self) -> tuple[int, dict[str, Any]]:
        """Status and body of ``/healthz``."""
        answer = httpx2.get(f"{self.url}/healthz", timeout=WAIT_S)
        return answer.status_code, answer.json()


class Received(msgspec.Struct, frozen=True):
    """A request to the model as the simulator tells it."""

    path: str
    body: msgspec.Raw
    ended: bool
    """Whether nothing more of its answer is sent."""


def folded(commits: list[Stored]) -> Loaded:
    """The state after commits; their chain of digests is checked on the way."""
    loaded = Loaded()
    for stored in commits:
        commit = envelope.decode(stored.payload)
        assert commit.prev == loaded.digest
        assert stored.previous == loaded.sequence
        loaded = advanced(loaded, stored)
    return loaded


def names(stored: Stored) -> list[str]:
    """Event names of a commit."""
    return [event.type for event in envelope.decode(stored.payload).events]


def standing(loaded: Loaded) -> list[bytes]:
    """Items that have not left a conversation, as their bytes."""
    return [bytes(item.raw) for item in loaded.state.listed(0, descending=False)]


class Page(msgspec.Struct, frozen=True):
    """A page of a listing, items raw."""

    data: list[msgspec.Raw]
    has_more: bool
    last_id: str | None


def listed(
    http: httpx2.Client, conversation_id: str, *, order: str = "asc", limit: int = 100
) -> list[bytes]:
    """Every item of a conversation over HTTP, page by page, as their bytes."""
    found: list[bytes] = []
    after: str | None = None
    while True:
        query = {"order": order, "limit": str(limit)} | ({"after": after} if after else {})
        answer = http.get(f"/v1/conversations/{conversation_id}/items", params=query)
        assert answer.status_code == 200, answer.text
        page = msgspec.json.decode(answer.content, type=Page)
        found += [bytes(raw) for raw in page.data]
        if not page.has_more:
            return found
        after = page.last_id


def texts(raws: Iterable[bytes]) -> list[str]:
    """The text of each message, or what a call or its output holds."""
    told = []
    for raw in raws:
        item = json.loads(raw)
        parts = item.get("content") or ()
        told.append(
            "".join(part.get("text", "") for part in parts)
            or item.get("output")
            or item.get("arguments")
            or ""
        )
    return told


def message(text: str, role: str = "user") -> dict[str, Any]:
    """An item to send."""
    return {"type": "message", "role": role, "content": text}


def function(name: str, /, **properties: str) -> dict[str, Any]:
    """A tool to offer."""
    schema = {key: {"type": kind} for key, kind in properties.items()}
    parameters = {"type": "object", "properties": schema, "required": list(schema)}
    return {"type": "function", "name": name, "parameters": parameters, "strict": False}


def output_of(call_id: str, output: str) -> dict[str, Any]:
    """The answer to a tool call."""
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def begin_gateway(running: Running, **variables: str) -> tuple[str, Child]:
    """A gateway more on the same log, and its URL, once it can serve."""
    port = free_port()
    child = running.beside("gateway", port=str(port), tokens_budget="0", **variables)
    url = f"http://127.0.0.1:{port}"

    def serves() -> bool:
        assert child.process.poll() is None, child.log_path.read_text()[-3000:]
        with suppress(httpx2.TransportError):
            return httpx2.get(f"{url}/healthz", timeout=WAIT_S).status_code == 200
        return False

    until(serves)
    return url, child


@contextmanager
def another_gateway(running: Running, **variables: str) -> Iterator[str]:
    """URL of a gateway more on the same log; it is stopped at the end."""
    url, child = begin_gateway(running, **variables)
    yield url
    assert child.end() == 0
