import itertools
import random
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner
from rich.console import Console

from services.bench.command import bench
from services.bench.compaction import chart, report, talks
from services.bench.compaction.asking import in_window
from services.bench.compaction.command import compaction
from services.bench.compaction.cycles import Compacted, Cycle, Plan, cycles
from services.bench.compaction.facts import KINDS, Fact, facts, found
from services.bench.compaction.meter import Meter, Spent, metered
from services.bench.compaction.report import Prices, Run
from services.bench.compaction.scenes import message
from services.bench.compaction.talks import Talk
from services.bench.machine import Machine
from services.conversation.history import item_of
from services.sealing import Sealer, fresh_key
from services.settings import ModelSettings

MACHINE = Machine(
    cpu="one", cores=2, memory_gb=4.0, system="Linux", load=0.1, file_sync_ms=0.2, versions={}
)
PLANTED = {"seed": 3, "items": 400, "turns": 20, "count": 21}


def fact(value: str, *, turn: int = 1, kind: str = "identifier", place: str = "user") -> Fact:
    return Fact(
        id=f"fact_{value}",
        turn=turn,
        kind=kind,
        place=place,
        value=value,
        statement=f"It is {value}.",
        question="What is it?",
    )


def cycle(number: int, *, facts: int, lost: tuple[str, ...] = ()) -> Cycle:
    return Cycle(
        number=number,
        turns=10 * number,
        items=20 * number,
        facts=facts,
        lost=lost,
        sealed=False,
        method="summary",
        fallback="",
        tokens_before=1_000,
        tokens_after=250,
        calls=1,
        input_tokens=900,
        output_tokens=100,
        seconds=0.1,
    )


OURS = Run(name="summary", ours=True, cycles=(cycle(1, facts=10), cycle(2, facts=20)))
BASELINE = Run(name="naive", ours=False, cycles=(cycle(1, facts=10, lost=("fact_A-1",) * 5),))


# Facts


@pytest.mark.parametrize(
    ("value", "text", "stands"),
    [
        ("A-17", "It is A-17.", True),
        ("A-17", "It is A-175.", False),
        ("1284.50", "comes to 1284.50, in all", True),
        ("1284.50", "comes to 11284.50", False),
        ("Ada Lovelace", "ask Ada\n  Lovelace", True),
        ("Ada Lovelace", "ask Ada", False),
        ("/srv/a_1.csv", "in `/srv/a_1.csv`", True),
    ],
)
def test_a_value_is_found_as_it_was_written(value: str, text: str, stands: bool):
    assert found(value, text) is stands


def test_facts_are_of_every_kind_and_differ_and_are_spread_over_the_turns():
    made = facts(random.Random(1), turns=50, count=50)

    assert {each.kind for each in made} == set(KINDS)
    assert {each.place for each in made} == {"user", "assistant", "tool"}
    assert [each.turn for each in made] == list(range(1, 51))
    assert len({each.value for each in made}) == len({each.question for each in made}) == 50
    assert all(found(each.value, each.statement) for each in made)


async def test_a_fact_in_a_tools_output_is_looked_for_in_what_it_says():
    said = item_of(
        msgspec.Raw(
            msgspec.json.encode(
                {
                    "type": "function_call_output",
                    "call_id": "call_1",
                    "output": '{"note":"It is \\"A-1\\" now"}',
                }
            )
        ),
        tokens=9,
    )

    assert await in_window([fact("A-1"), fact("A-2")], (said,), Sealer(fresh_key())) == (
        fact("A-1"),
    )


# Conversations


def test_a_generated_conversation_depends_on_its_seed_alone():
    talk = talks.generated(**PLANTED)

    assert talk == talks.generated(**PLANTED)
    assert talk != talks.generated(**PLANTED | {"seed": 4})
    assert 390 <= sum(map(len, talk.turns)) <= 400


def test_every_fact_is_said_in_its_turn_and_in_no_other():
    talk = talks.generated(**PLANTED)

    assert len(talk.facts) == PLANTED["count"]
    for each in talk.facts:
        said = [
            number
            for number, turn in enumerate(talk.turns, 1)
            if found(each.value, msgspec.json.encode(turn).decode())
        ]
        assert said == [each.turn]


def test_every_call_has_its_output_and_an_id_of_its_own(tmp_path: Path):
    recorded = {
        "items": [
            message("user", "Where is it?"),
            {"type": "function_call", "call_id": "call_1", "name": "find", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "at home"},
        ]
    }
    (tmp_path / "talks.jsonl").write_bytes(msgspec.json.encode(recorded) + b"\n\n" * 2)
    with (tmp_path / "talks.jsonl").open("ab") as file:
        file.write(msgspec.json.encode(recorded))

    for talk in (
        talks.generated(**PLANTED),
        talks.recorded(tmp_path / "talks.jsonl", **PLANTED),
    ):
        items = list(itertools.chain.from_iterable(talk.turns))
        calls = [item["call_id"] for item in items if item["type"] == "function_call"]
        outputs = [item["call_id"] for item in items if item["type"] == "function_call_output"]
        assert calls == outputs
        assert len(set(calls)) == len(calls) >= 2


def test_a_fact_goes_where_it_belongs_if_the_turn_has_such_a_place(tmp_path: Path):
    path = tmp_path / "talks.jsonl"
    turn = [
        message("user", "Where is it?"),
        {"type": "function_call", "call_id": "call_1", "name": "find", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "[1]"},
        message("assistant", "At home."),
    ]
    path.write_bytes(msgspec.json.encode({"items": turn * 40}))

    talk = talks.recorded(path, seed=1, items=160, turns=40, count=40)

    for each in talk.facts:
        said = talk.turns[each.turn - 1]
        at = [n for n, item in enumerate(said) if each.statement in str(item)]
        assert at == {"user": [0], "tool": [2, 3], "assistant": [3]}[each.place]


def test_a_file_that_holds_no_conversations_is_refused(tmp_path: Path):
    path = tmp_path / "talks.jsonl"
    path.write_text("[]\n")

    told = CliRunner().invoke(compaction, ["--conversations", str(path)])

    assert told.exit_code == 2
    assert str(path) in told.output


# Cycles


class Forgetful:
    """Compacts after each part, and keeps only the last."""

    def __init__(self) -> None:
        self.sealer = Sealer(fresh_key())

    async def say(self, part) -> Compacted:
        raws = [msgspec.Raw(msgspec.json.encode(item)) for item in part]
        return Compacted(
            window=tuple(item_of(raw, tokens=5) for raw in raws),
            method="last",
            tokens_before=10,
            tokens_after=5,
            seconds=0.5,
        )


async def test_what_a_memory_forgets_is_lost_from_its_turn_on():
    told = (fact("A-1", turn=1), fact("A-2", turn=2))
    talk = Talk(turns=tuple((message("user", each.statement),) for each in told), facts=told)
    plan = Plan(talk=talk, cycles=9, tokens_budget=1, model=ModelSettings(), model_name="simulator")
    async with aiohttp.ClientSession() as session:
        meter = Meter("http://127.0.0.1:1/v1", session)
        made = [each async for each in cycles(plan, Forgetful(), meter)]

    assert [(each.turns, each.facts, each.lost) for each in made] == [
        (1, 1, ()),
        (2, 2, ("fact_A-1",)),
    ]
    assert [each.recall for each in made] == [1.0, 0.5]


async def test_calls_are_handed_on_and_counted_whatever_becomes_of_them():
    seen: list[tuple[str, str | None, bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("authorization"), await request.read()))
        if request.path.endswith("completions"):
            return web.json_response({"usage": {"prompt_tokens": 5, "completion_tokens": 6}})
        if request.method == "GET":
            return web.Response(status=418, text="tea", headers={"retry-after": "7"})
        return web.json_response({"usage": {"input_tokens": 30, "output_tokens": 4}})

    app = web.Application()
    app.router.add_route("*", "/api/v1/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    upstream = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1"
    async with metered(upstream) as meter, aiohttp.ClientSession() as session:
        sent = {"headers": {"authorization": "Bearer key"}, "data": b'{"a":1}'}
        async with session.post(f"{meter.url}/responses", **sent) as response:
            assert response.status == 200
        async with session.post(f"{meter.url}/chat/completions", **sent) as response:
            assert (await response.json())["usage"]["prompt_tokens"] == 5
        async with session.get(f"{meter.url}/models") as response:
            assert (response.status, response.headers["retry-after"]) == (418, "7")
            assert await response.text() == "tea"
        spent = meter.spent
    await runner.cleanup()
    assert spent == Spent(calls=2, input_tokens=35, output_tokens=10)
    assert seen[0] == ("/api/v1/responses", "Bearer key", b'{"a":1}')


async def test_a_model_that_cannot_be_reached_is_a_call_all_the_same():
    async with metered("http://127.0.0.1:1/v1") as meter, aiohttp.ClientSession() as session:
        async with session.post(f"{meter.url}/responses", data=b"{}") as response:
            assert response.status == 502
        assert meter.spent == Spent(calls=1)


# Report


def test_a_method_is_judged_by_its_worst_cycle():
    bad = Run(name="summary", ours=True, cycles=(cycle(1, facts=10, lost=("a",)), *OURS.cycles))

    assert (OURS.recall, OURS.met, OURS.ratio) == (1.0, True, 0.25)
    assert (bad.recall, bad.met) == (0.9, False)
    assert (BASELINE.recall, BASELINE.met) == (0.5, None)
    assert Run(name="summary", ours=True, cycles=()).met is None


def test_a_window_that_only_the_models_server_can_read_is_not_judged():
    sealed = msgspec.structs.replace(cycle(1, facts=10, lost=("fact_A-1",)), sealed=True)
    run = Run(name="upstream", ours=True, cycles=(sealed,))

    assert (sealed.recall, run.recall, run.met) == (None, None, None)
    console = Console(width=132)
    with console.capture() as drawn:
        console.print(report.by_cycle([run]))
    assert "sealed" in drawn.get()


def test_the_cost_is_known_with_both_prices_only():
    assert OURS.cost(Prices(input=1.0, output=10.0)) == pytest.approx(0.0038)
    assert OURS.cost(Prices(input=1.0)) is None


def test_the_tables_show_methods_beside_each_other():
    console = Console(width=132)
    with console.capture() as drawn:
        console.print(report.by_cycle([OURS, BASELINE]))
        console.print(
            report.by_method([OURS, BASELINE], [fact("A-1")], Prices(input=1.0, output=10.0))
        )

    rows = [" ".join(line.split()) for line in drawn.get().splitlines()]
    assert "1 1.00 1,000 > 250 0.50 1,000 > 250" in rows
    assert "2 1.00 1,000 > 250" in rows
    assert "summary 2 1.00 0.25 2 1,800 200 0.0038 2 summary >= 0.95 met nothing" in rows
    assert "naive 1 0.50 0.25 1 900 100 0.0019 1 summary 5 identifier" in rows


def test_the_json_has_everything():
    told = report.json(
        MACHINE, {"seed": 1}, [fact("A-1")], [OURS, BASELINE], Prices(input=1.0, output=10.0)
    )

    found = msgspec.json.decode(told)
    assert set(found) == {"machine", "settings", "facts", "methods"}
    assert found["facts"] == [msgspec.to_builtins(fact("A-1"))]
    ours, baseline = found["methods"]
    assert ours == {
        "name": "summary",
        "ours": True,
        "recall": 1.0,
        "recall_min": 0.95,
        "met": True,
        "ratio": 0.25,
        "cost": pytest.approx(0.0038),
        "cycles": [
            {**msgspec.json.decode(msgspec.json.encode(each)), "recall": 1.0}
            for each in OURS.cycles
        ],
    }
    assert (baseline["recall_min"], baseline["met"]) == (None, None)


@pytest.mark.parametrize(("name", "opening"), [("c.png", b"\x89PNG"), ("c.svg", b"<?xml")])
def test_a_chart_is_drawn_the_same_each_time(tmp_path: Path, name: str, opening: bytes):
    drawn = []
    for folder in ("one", "two"):
        path = tmp_path / folder / name
        path.parent.mkdir()
        chart.draw(path, [OURS, BASELINE], title="Facts", tokens_budget=800)
        drawn.append(path.read_bytes())

    assert drawn[0] == drawn[1]
    assert drawn[0].startswith(opening)


def test_a_chart_without_matplotlib_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    told = CliRunner().invoke(compaction, ["--chart", "chart.svg"])

    assert told.exit_code == 2
    assert "pip install 'turnlog[bench]'" in told.output


# Command


def test_every_example_is_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("talks.jsonl").touch()
    told = CliRunner().invoke(compaction, ["--help"], prog_name="turnlog bench compaction").output
    lines = [line.strip() for line in told.partition("Examples:")[2].splitlines() if line.strip()]

    assert lines
    for line in lines:
        assert line.startswith("turnlog bench compaction")
        compaction.make_context("compaction", line.split()[3:])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seed", "2", "compaction", "--cycles", "1"],
        ["compaction", "--chart", "chart.jpg"],
        ["compaction", "--method", "none"],
        ["nothing"],
    ],
)
def test_what_it_cannot_do_is_refused(arguments: list[str]):
    assert CliRunner().invoke(bench, arguments).exit_code == 2
