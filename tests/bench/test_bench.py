import asyncio
from collections.abc import Awaitable, Callable
from itertools import islice

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from services.bench import report, sql, system
from services.bench.command import bench
from services.bench.load import BenchFailed, Heard, Said, WireClient, input_of
from services.bench.machine import Machine
from services.bench.report import Figures, Measure, figures, percentile
from services.bench.speaker import Speaker, opening_of, texts
from services.simulator.entries import Entry

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]

CREATED = Measure(
    name="items.create",
    clients=16,
    figures=Figures(count=900, per_s=900.0, p50_ms=12.0, p95_ms=20.0, p99_ms=30.0),
    direct=Figures(count=4000, per_s=4000.0, p50_ms=3.0, p95_ms=4.0, p99_ms=5.0),
)
TOKEN = Measure(
    name="fresh, first token",
    clients=1,
    figures=Figures(count=9, per_s=100.0, p50_ms=5.0, p95_ms=6.0, p99_ms=7.0),
    direct=Figures(count=9, per_s=900.0, p50_ms=0.5, p95_ms=0.6, p99_ms=0.7),
)


class Forgetful:
    """A server's client that answers as if only ``kept`` entries had been sent."""

    def __init__(self, *, kept: int) -> None:
        self._kept = kept
        self.said: list[Said] = []

    async def turn(self, said: Said) -> Heard:
        self.said.append(said)
        sent = [*said.earlier, Entry("user", "message", said.text)]
        return Heard(f"{opening_of(sent[-self._kept :])} More.", 0.1, 0.0)

    async def open_conversation(self) -> str:
        return "conv_1"

    async def add_item(self, conversation_id: str, text: str) -> float:
        raise NotImplementedError

    async def list_items(self, conversation_id: str, *, limit: int) -> tuple[float, list[str]]:
        raise NotImplementedError

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)]
)
def test_a_percentile_is_one_of_the_values(share: float, value: float):
    assert percentile([float(number) for number in range(1, 101)], share) == value


def test_the_percentiles_of_one_value_are_that_value():
    assert [percentile([7.0], share) for share in (0.5, 0.95, 0.99)] == [7.0, 7.0, 7.0]


def test_figures_are_of_samples_in_any_order():
    found = figures([0.003, 0.001, 0.002, 0.004], elapsed_s=2.0)

    assert found == Figures(count=4, per_s=2.0, p50_ms=2.0, p95_ms=4.0, p99_ms=4.0)


def test_a_measure_is_compared_with_the_direct_one():
    assert (CREATED.added_ms, CREATED.ratio, CREATED.met) == (9.0, 4.0, False)
    assert (TOKEN.added_ms, TOKEN.ratio, TOKEN.met) == (4.5, 10.0, True)


def test_what_is_added_is_unknown_without_the_direct_one():
    alone = msgspec.structs.replace(TOKEN, direct=None)

    assert (alone.added_ms, alone.ratio, alone.met) == (None, None, None)


def test_the_table_has_figures_and_targets():
    console = Console(width=132)
    with console.capture() as drawn:
        console.print(report.table([CREATED, TOKEN]))

    rows = [" ".join(line.split()) for line in drawn.get().splitlines()]
    assert "items.create 16 12.00 20.00 30.00 900 3.00 4,000 9.00 4.0x >= 1,000/s missed" in rows
    assert "fresh, first token 1 5.00 6.00 7.00 100 0.50 900 4.50 10.0x added <= 6 met" in rows


def test_the_json_has_everything():
    machine = Machine(
        cpu="one", cores=2, memory_gb=4.0, system="Linux", load=0.1, file_sync_ms=0.2, versions={}
    )

    found = msgspec.json.decode(report.json(machine, {"seed": 1}, [CREATED]))

    assert found == {
        "machine": msgspec.to_builtins(machine),
        "settings": {"seed": 1},
        "measures": [
            {
                **msgspec.to_builtins(CREATED),
                "added_ms": 9.0,
                "ratio": 4.0,
                "target": {"added_ms_max": None, "per_s_min": 1000.0},
                "met": False,
            }
        ],
    }


def test_what_is_said_depends_on_seed_and_client_alone():
    first = list(islice(texts(1, 0), 5))

    assert first == list(islice(texts(1, 0), 5))
    assert first != list(islice(texts(2, 0), 5))
    assert first != list(islice(texts(1, 1), 5))


def test_a_client_without_a_server_that_remembers_sends_the_history():
    said = Said(
        text="b", earlier=(Entry("user", "message", "a"), Entry("assistant", "message", "A"))
    )

    assert input_of(said) == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "b"},
    ]
    assert input_of(Said(text="b")) == "b"


async def test_a_speaker_begins_again_after_its_turns():
    client = Forgetful(kept=100)
    speaker = Speaker(client, texts(1, 0), turns_max=2, kept=False, stream=False)

    for _ in range(3):
        await speaker.turn()

    assert [len(said.earlier) for said in client.said] == [0, 2, 0]


async def test_a_lost_history_fails():
    speaker = Speaker(Forgetful(kept=1), texts(1, 0), turns_max=20, kept=True, stream=False)

    await speaker.turn()
    with pytest.raises(BenchFailed, match="history was lost: the model should have said 'I have"):
        await speaker.turn()


async def answered_by(answer: Answer) -> Heard:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        await answer(writer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        client = WireClient(f"http://127.0.0.1:{port}/v1", key="key")
        return await client.turn(Said(text="hello", stream=True))


async def test_a_stream_is_heard_to_its_end():
    frames = (
        b'event: response.output_text.delta\ndata: {"type":"response.outp',
        b'ut_text.delta","delta":"Hi"}\n\n',
        b'event: response.completed\ndata: {"type":"response.completed","response":',
        b'{"status":"completed","output":[{"content":[{"text":"Hi"}]}]},"sequence_number":9}\n\n',
    )

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for frame in frames:
            writer.write(b"%x\r\n%b\r\n" % (len(frame), frame))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    heard = await answered_by(answer)

    assert heard.text == "Hi"
    assert 0 < heard.first_s <= heard.total_s


async def test_an_error_fails():
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\n{}")

    with pytest.raises(BenchFailed, match=r"a call was answered 500: \{\}"):
        await answered_by(answer)


async def test_a_cut_connection_fails():
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{}")

    with pytest.raises(BenchFailed, match="the server cut the connection"):
        await answered_by(answer)


def test_every_example_is_a_command():
    told = CliRunner().invoke(bench, ["--help"], prog_name="turnlog bench").output
    lines = [line.strip() for line in told.partition("Examples:")[2].splitlines() if line.strip()]

    assert lines
    for line in lines:
        assert line.startswith("turnlog bench")
        bench.make_context("bench", line.split()[2:])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--direct-url", "http://127.0.0.1:1/v1"],
        ["--scenario", "replay", "--base-url", "http://127.0.0.1:1/v1"],
    ],
)
def test_options_that_contradict_each_other_are_refused(arguments: list[str]):
    assert CliRunner().invoke(bench, arguments).exit_code == 2


async def test_a_broken_connection_is_told_of(tmp_path):
    with pytest.raises(BenchFailed, match="a connection broke"):
        async with system.supervised(tmp_path):
            raise BrokenPipeError


def test_the_example_questions_are_all_measured(tmp_path):
    path = tmp_path / "bench.json"
    asked = ["--scenario", "sql", "--items", "1000", "--json", str(path)]
    done = CliRunner().invoke(bench, asked)
    assert done.exit_code == 0, done.output
    told = msgspec.json.decode(path.read_bytes())["measures"]
    rows = {each["name"]: int(each["detail"].split(", ")[1].split()[0]) for each in told}
    questions = {f"sql {path.stem}" for path in sql.QUERIES.glob("*.sql")}
    assert len(questions) >= 7
    assert rows.keys() == questions | {"text found", "text not found"}
    assert [name for name, count in rows.items() if not count] == ["text not found"]
