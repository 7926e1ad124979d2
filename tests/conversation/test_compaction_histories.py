"""What holds of compactions over all histories: planned, made without a model, granted, undone."""

from random import Random

import msgspec
from hypothesis import given as for_all
from hypothesis import strategies as st

from schemas import events as e
from services.conversation import commands as c
from services.conversation.anchors import anchors_of
from services.conversation.checking import checked
from services.conversation.compaction import Plan, plan, size
from services.conversation.decide import Policy, decide
from services.conversation.extract import extract
from services.conversation.history import Item, item_of
from services.conversation.refusals import CompactionSuperseded
from services.conversation.window import check
from services.conversation.words import passages
from services.model.tokenizer import Tokenizer
from tests.builders import (
    CONVERSATION_ID,
    PROPERTY,
    after,
    call,
    compaction_item,
    created,
    ids_of,
    message,
    output,
    said,
    state_of,
)

COUNTER = Tokenizer()
SECRET = "SECRET-1"

KINDS = st.tuples(
    st.sampled_from(
        ["user", "said", "pair", "pair_around", "user", "compact", "compact", "delete", "undo"]
    ),
    st.integers(0, 40),
)
HISTORIES = st.lists(KINDS, min_size=6, max_size=30)
BUDGETS = st.integers(20, 300)


def sized(item):
    """The item at its size by the tokenizer."""
    return item_of(item.raw, COUNTER.count(item.raw))


class History:
    """One line, and the compactions of it as a compactor makes them without a model."""

    def __init__(self, budget: int) -> None:
        self.state = state_of(created())
        self.budget = budget
        self.number = 0

    def do(self, command: c.Command) -> tuple[e.Event, ...]:
        events = decide(
            self.state, command, conversation_id=CONVERSATION_ID, policy=Policy(tokens_budget=0)
        )
        self.number += 1
        self.state = after(self.state, *events, sequence=self.number * 10)
        return events

    def add(self, *items: Item) -> None:
        self.do(c.AddItems(items=tuple(map(sized, items))))

    def step(self, kind: str, number: int) -> None:
        name = f"{self.number}"
        fact = f"Fact {name}-AB of Ada. " + "It goes on and on. " * number
        match kind:
            case "user":
                self.add(message(f"msg_{name}", fact))
            case "said":
                self.add(said(f"msg_{name}", fact))
            case "pair":
                self.add(call(name), output(name, text=fact))
            case "pair_around":
                self.add(call(name), message(f"msg_{name}", fact), output(name, text="ok"))
            case "compact":
                self.compact()
            case "delete":
                self.delete(number)
            case "undo" if self.state.compactions:
                self.do(c.DeleteItem(item_id=self.state.compactions[-1].item.id))

    def delete(self, number: int) -> None:
        """Take away a message: halves of pairs are no valid history."""
        standing = [
            item.id for item in self.state.listed(0, descending=False) if item.type == "message"
        ]
        if standing:
            self.do(c.DeleteItem(item_id=standing[number % len(standing)]))

    def compact(self, *, meanwhile: tuple[c.Command, ...] = ()) -> Plan | None:
        """A compaction granted, or the plan of one that is not to be."""
        planned = plan(self.state, tokens_budget=self.budget)
        if planned is None or planned.tokens_max <= 0:
            return None
        made = self.made(planned)
        if made.fault:
            return None
        for command in meanwhile:
            self.do(command)
        item = msgspec.structs.replace(compaction_item(f"cmp_{self.number}"), tokens=made.tokens)
        self.do(
            c.Compact(
                item=item,
                summary=made.text,
                covered=planned.covered,
                kept=tuple(ids_of(planned.kept)),
                after=planned.after,
                removed=planned.removed,
                method="extractive",
                tokens_before=planned.tokens_before,
                tokens_after=made.tokens + planned.tokens_kept,
                covered_from=planned.covered_from,
            )
        )
        return planned

    def made(self, planned: Plan):
        texts = {done.item.id: done.summary for done in self.state.compactions}
        told = passages(planned.items, summaries=texts)
        anchors = anchors_of(told)
        words = extract(told, anchors, tokens_max=planned.tokens_wanted, counter=COUNTER)
        return checked(
            words,
            anchors,
            carried=planned.carried,
            tokens_max=planned.tokens_max,
            tokens_wanted=planned.tokens_wanted,
            counter=COUNTER,
        )

    def bytes_of_window(self) -> list[bytes]:
        return [bytes(item.raw) for item in self.state.window()]


@PROPERTY
@for_all(HISTORIES, BUDGETS)
def test_windows_shrink_or_stay_split_no_pair_and_leave_nothing_out(steps, budget):
    history = History(budget)
    for kind, number in steps:
        before = size(history.state.window())
        compactions = len(history.state.compactions)
        history.step(kind, number)
        window = history.state.window()
        check((), window)
        if kind == "compact" and len(history.state.compactions) > compactions:
            # A line break joins what was counted apart.
            assert size(window) <= before * 0.8 + 2
        newest = history.state.compactions[-1] if history.state.compactions else None
        shown = set(ids_of(window))
        for position, item in enumerate(history.state.line.upwards(0)):
            gone = position in history.state.removed or item.type == "compaction"
            assert gone or item.id in shown or (newest and position < newest.covered)


@PROPERTY
@for_all(HISTORIES, BUDGETS)
def test_what_a_summary_covers_was_told_by_it_or_by_the_one_it_carries(steps, budget):
    history = History(budget)
    told: dict[str, set[str]] = {}
    for kind, number in steps:
        before = history.state
        history.step(kind, number)
        newest = history.state.compactions[-1] if history.state.compactions else None
        if newest is None or newest in before.compactions:
            continue
        planned = plan(before, tokens_budget=budget)
        earlier = before.compactions[-1].item.id if before.compactions else ""
        # Told anew it reads the earlier summary, and else it carries that over.
        mine = set(ids_of(planned.items)) | told.get(earlier, set())
        told[newest.item.id] = mine
        for position, item in enumerate(before.line.between(0, newest.covered)):
            gone = position in before.removed or item.type == "compaction"
            assert gone or item.id in mine


@PROPERTY
@for_all(HISTORIES, BUDGETS)
def test_undoing_a_compaction_restores_the_identical_window(steps, budget):
    history = History(budget)
    for kind, number in steps:
        before, tokens = history.bytes_of_window(), size(history.state.window())
        compactions = len(history.state.compactions)
        history.step(kind, number)
        if kind == "compact" and len(history.state.compactions) > compactions:
            history.step("undo", 0)
            assert history.bytes_of_window() == before
            assert history.state.tokens == tokens
            history.step("compact", number)


@PROPERTY
@for_all(HISTORIES, BUDGETS, st.integers(1, 4))
def test_what_comes_while_a_summary_is_made_stays_behind_it(steps, budget, later):
    history = History(budget)
    for kind, number in steps:
        history.step(kind, number)
    came = tuple(
        c.AddItems(items=(sized(message(f"later_{number}", "I came later.")),))
        for number in range(later)
    )
    if history.compact(meanwhile=came) is not None:
        window = ids_of(history.state.window())
        assert window[-later:] == [f"later_{number}" for number in range(later)]
        check((), history.state.window())


@PROPERTY
@for_all(HISTORIES, BUDGETS, st.integers(0, 40))
def test_what_was_deleted_is_in_no_window_and_no_later_summary(steps, budget, number):
    history = History(budget)
    history.add(message("secret", f"It is {SECRET}, keep it."))
    for kind, size_of_it in steps[:12]:
        history.step(kind, size_of_it)
    if history.state.item("secret") is not None:
        history.do(c.DeleteItem(item_id="secret"))
    for kind, size_of_it in steps[12:]:
        history.step(kind, size_of_it)
    history.step("user", number)
    history.compact()
    assert all(SECRET not in done.summary for done in history.state.compactions)
    assert not any(SECRET.encode() in raw for raw in history.bytes_of_window())


@PROPERTY
@for_all(HISTORIES, BUDGETS)
def test_a_summary_of_what_is_deleted_while_it_is_made_is_refused(steps, budget):
    history = History(budget)
    history.add(message("secret", f"It is {SECRET}, keep it. " * 8))
    for kind, number in steps:
        if kind not in {"delete", "compact"}:
            history.step(kind, number)
    try:
        planned = history.compact(meanwhile=(c.DeleteItem(item_id="secret"),))
    except CompactionSuperseded:
        return
    assert planned is None


def test_facts_told_early_are_known_through_twenty_compactions_of_all_that_came_since():
    chance = Random(1)
    words = ("lamp", "order", "goes", "out", "and", "we", "talk", "about", "it", "with", "care")

    def talk(length: int) -> str:
        return " ".join(chance.choice(words) for _ in range(length))

    history, facts, cycles, number = History(4_000), [], 0, 0
    while cycles < 20:
        fact = ""
        if number < 50:
            facts.append(f"{chance.choice('ABCDEFG')}K-{chance.randint(1_000, 9_999)}")
            fact = f"Note that the code of locker {number} is {facts[-1]}. "
        minutes = f"It took {chance.randint(1, 99)} minutes."
        history.add(message(f"msg_{number}", f"{fact}{talk(20)}. {minutes}"))
        history.add(said(f"out_{number}", f"{talk(30)} on 2026-0{chance.randint(1, 9)}-11."))
        number += 1
        if size(history.state.window()) > 4_000:
            assert history.compact() is not None
            cycles += 1
            known = history.state.compactions[-1].summary.encode()
            known += b"".join(history.bytes_of_window())
            assert [told for told in facts if told.encode() not in known] == []
            assert size(history.state.window()) <= 3_200
