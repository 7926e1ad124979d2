import pytest

from schemas import events as e
from services.conversation import commands as c
from services.conversation.budget import Policy, crossed
from services.conversation.limits import Limits, Models
from tests.builders import (
    added,
    compact,
    compaction_item,
    complete,
    completed,
    created,
    fail,
    failed,
    message,
    requested,
    said,
)
from tests.specification import given

BUDGET = Policy(tokens_budget=100)
BIG = message("msg_big", tokens=101)


def over(tokens):
    return e.BudgetCrossed(tokens=tokens, budget=100)


@pytest.mark.parametrize(
    ("tokens", "budget", "last", "expected"),
    [
        (100, 100, 0, False),
        (101, 100, 0, True),
        (10_000, 0, 0, False),
        (149, 100, 100, False),
        (150, 100, 100, True),
        (50, 100, 10, False),
    ],
)
def test_a_budget_is_crossed_above_it_and_again_after_half_as_much_growth(
    tokens, budget, last, expected
):
    assert crossed(tokens=tokens, budget=budget, last=last) is expected


def test_items_that_cross_the_budget_say_so_in_their_commit():
    given(created()).under(BUDGET).when(c.AddItems(items=(BIG,))).then(added(BIG), over(101))


def test_a_conversation_created_over_its_budget_says_so_in_its_commit():
    command = c.CreateConversation(items=(BIG,))
    given().under(BUDGET).when(command).then(created(), added(BIG), over(101))


def test_a_turn_that_crosses_the_budget_says_so_in_its_commit_by_the_providers_count():
    history = given(created(), requested("resp_1", message("msg_1"))).under(BUDGET)
    history.when(complete("resp_1", said("msg_2"), total=500)).then(
        completed("resp_1", said("msg_2"), total=500), over(500)
    )


def test_a_turn_the_provider_did_not_count_is_sized_by_our_tokenizer():
    history = given(
        created(), added(message("msg_1", tokens=60)), requested("resp_1", message("m", tokens=30))
    ).under(BUDGET)
    history.when(complete("resp_1", said("msg_2", tokens=11))).then(
        completed("resp_1", said("msg_2", tokens=11)), over(101)
    )


@pytest.mark.parametrize("budget", [0, 101])
def test_no_crossing_without_a_budget_or_below_it(budget):
    history = given(created()).under(Policy(tokens_budget=budget))
    history.when(c.AddItems(items=(BIG,))).then(added(BIG))


def test_a_crossing_is_told_once_until_the_window_has_grown_by_half():
    history = given(created(), added(BIG), over(101)).under(BUDGET)
    more, much = message("msg_2", tokens=50), message("msg_3", tokens=1)
    later = history.when(c.AddItems(items=(more,))).then(added(more))
    later.when(c.AddItems(items=(much,))).then(added(much), over(152))


def test_a_window_that_shrinks_crosses_nothing():
    history = given(
        created(),
        added(message("msg_1", tokens=300)),
        requested("resp_1", message("msg_2")),
    ).under(BUDGET)
    history.when(complete("resp_1", said("msg_3"), total=200)).then(
        completed("resp_1", said("msg_3"), total=200)
    )


def test_a_failed_turn_crosses_nothing():
    history = given(created(), added(BIG), requested("resp_1", message("msg_1"))).under(BUDGET)
    history.when(fail("resp_1")).then(failed("resp_1"))


def test_a_turn_off_the_line_crosses_nothing():
    history = given(
        created(hidden=True), requested("resp_1", message("msg_1"), on_line=False)
    ).under(BUDGET)
    history.when(complete("resp_1", said("msg_2"), total=500)).then(
        completed("resp_1", said("msg_2"), total=500)
    )


def test_a_compaction_answers_the_crossing_so_that_the_next_one_is_told():
    summary = compaction_item("cmp_1", tokens=2)
    done = given(created(), added(BIG), over(101)).under(BUDGET)
    command = compact(summary, covered=1, before_tokens=101, after_tokens=2)
    state = done.when(command).then(
        e.ConversationCompacted(
            item=summary.raw,
            tokens=2,
            summary="What was said.",
            covered=1,
            method="summary",
            tokens_before=101,
            tokens_after=2,
        )
    )
    assert (state.state.crossed, state.state.tokens) == (0, 2)
    again = message("msg_2", tokens=99)
    state.when(c.AddItems(items=(again,))).then(added(again), over(101))


# Whose budget


def budgeted(tokens):
    return {"turnlog.token_budget": str(tokens)}


@pytest.mark.parametrize(
    ("metadata", "project", "expected"),
    [
        ({}, "default", 100),
        ({}, "acme", 70),
        ({}, "free", 0),
        (budgeted(500), "acme", 500),
        (budgeted(20), "default", 20),
        (budgeted(0), "acme", 0),
        ({"turnlog.token_budget": "many"}, "acme", 70),
    ],
)
def test_the_most_specific_budget_counts(metadata, project, expected):
    policy = Policy(tokens_budget=100, project_budgets={"acme": 70, "free": 0})
    assert policy.of(project).budget(metadata, model="") == expected


def test_no_budget_is_more_than_the_model_keeps():
    policy = Policy(tokens_budget=100, models=Models({"small": Limits(80)}))
    assert policy.budget({}, model="small") == 60
    assert policy.budget(budgeted(1_000), model="small-2026-01-01") == 60
    assert policy.budget(budgeted(0), model="small") == 0
    assert policy.budget({}, model="large") == 100


def test_a_conversation_crosses_its_own_budget_and_says_which():
    history = given(created(**budgeted(30))).under(BUDGET)
    item = message("msg_1", tokens=31)
    done = history.when(c.AddItems(items=(item,))).then(
        added(item), e.BudgetCrossed(tokens=31, budget=30)
    )
    assert (done.state.crossed, done.state.budget) == (31, 30)
    never = given(created(**budgeted(0))).under(BUDGET)
    never.when(c.AddItems(items=(BIG,))).then(added(BIG))


def test_a_conversation_created_over_its_own_budget_says_so_in_its_commit():
    item = message("msg_1", tokens=31)
    command = c.CreateConversation(metadata=budgeted(30), items=(item,))
    given().under(BUDGET).when(command).then(
        created(**budgeted(30)), added(item), e.BudgetCrossed(tokens=31, budget=30)
    )


def test_a_turn_crosses_the_budget_its_model_can_keep():
    policy = Policy(tokens_budget=1_000, models=Models({"simulator": Limits(80)}))
    asked = requested("resp_1", message("msg_1"))
    history = given(created(), asked).under(policy)
    history.when(complete("resp_1", said("msg_2"), total=61)).then(
        completed("resp_1", said("msg_2"), total=61), e.BudgetCrossed(tokens=61, budget=60)
    )


def test_a_budget_made_smaller_than_the_window_is_crossed_by_that():
    history = given(created(), added(message("msg_1", tokens=90))).under(BUDGET)
    update = c.UpdateConversation(metadata=budgeted(50))
    history.when(update).then(
        e.ConversationUpdated(metadata=budgeted(50)), e.BudgetCrossed(tokens=90, budget=50)
    )
    crossed_before = given(created(), added(BIG), over(101)).under(BUDGET)
    crossed_before.when(update).then(
        e.ConversationUpdated(metadata=budgeted(50)), e.BudgetCrossed(tokens=101, budget=50)
    )


@pytest.mark.parametrize("metadata", [budgeted(95), budgeted(200), budgeted(0), {"topic": "x"}])
def test_no_other_change_of_metadata_crosses_anything(metadata):
    history = given(created(), added(message("msg_1", tokens=90))).under(BUDGET)
    update = c.UpdateConversation(metadata=metadata)
    history.when(update).then(e.ConversationUpdated(metadata=metadata))
    over_it = given(created(**budgeted(50)), added(message("msg_1", tokens=90)))
    over_it.under(BUDGET).when(update).then(e.ConversationUpdated(metadata=metadata))


def test_a_count_of_a_truncated_window_is_not_that_of_the_whole():
    def after(parameters):
        asked = requested("resp_1", message("msg_2", tokens=10), parameters=parameters)
        history = given(created(), added(message("msg_1", tokens=90)), asked)
        done = complete("resp_1", said("msg_3", tokens=5), total=40)
        return history.when(done).then(completed("resp_1", said("msg_3", tokens=5), total=40)).state

    assert after(b"{}").tokens == 40
    assert after(b'{"truncation":"auto"}').tokens == 105
