"""What a model takes and what a project may use, as the environment says it."""

import pytest

from services.conversation.limits import KNOWN, Limits
from services.settings import SettingsError, WindowSettings, read


def test_tables_are_written_in_one_line():
    found = read(
        WindowSettings,
        {
            "TURNLOG_MODELS": " qwen3*=32768/8192, org/my=model=1000,old=8192/0/cl100k_base, ",
            "TURNLOG_PROJECT_BUDGETS": "acme=50000,trial=0",
            "TURNLOG_TOKENS_BUDGET": "7",
        },
    )
    assert found.models == {
        "qwen3*": Limits(32_768, 8_192),
        "org/my=model": Limits(1_000),
        "old": Limits(8_192, 0, "cl100k_base"),
    }
    assert found.project_budgets == {"acme": 50_000, "trial": 0}
    policy = found.policy
    assert [policy.of(name).tokens_budget for name in ("acme", "trial", "other")] == [50_000, 0, 7]
    assert policy.models.of("qwen3-8b") == Limits(32_768, 8_192)
    assert policy.models.of("gpt-4o") == KNOWN["gpt-4o"]


def test_without_them_nothing_is_added():
    found = read(WindowSettings, {"TURNLOG_MODELS": ""})
    assert (found.models, found.project_budgets, found.tokens_budget) == ({}, {}, 100_000)


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("qwen", "'qwen' is not of the form name=value"),
        ("=3", "'=3' is not of the form name=value"),
        ("q=", "'q=' is not of the form name=value"),
        ("q=many", "q: Expected `int`, got `str`"),
        ("q=-1", "q: Expected `int` >= 0"),
        ("q=1/2/klingon", "q: Invalid enum value 'klingon'"),
        ("q=1/2/o200k_base/4", "q: Expected `array` of at most length 3, got 4"),
        ("q=1,q=2", "q: named twice"),
    ],
)
def test_every_fault_is_told_with_its_variable(written, fault):
    given = {"TURNLOG_MODELS": written, "TURNLOG_PROJECT_BUDGETS": "a=x"}
    with pytest.raises(SettingsError) as error:
        read(WindowSettings, given)
    assert f"TURNLOG_MODELS: {fault}" in str(error.value)
    assert "TURNLOG_PROJECT_BUDGETS: a: Expected `int`, got `str`" in str(error.value)
