"""The agent that is run: it sells, has two tools, and the answers of its tools change."""

from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIResponsesModel,
    Runner,
    RunResult,
    RunResultStreaming,
    Tool,
    TResponseInputItem,
    function_tool,
)
from openai import AsyncOpenAI

TURNS = (
    "Good morning, this is Ada.",
    'How many lamps are there? [[call stock {"sku":"lamp"}]]',
    'Two. And chairs? [[call order {"sku":"lamp","count":2}]] [[call stock {"sku":"chair"}]]',
    "Thank you. My last number was #12345.",
    'How many lamps now? [[call stock {"sku":"lamp"}]]',
    """One more, a chair, and a Stuhl. [[call order {"sku": "lamp", "count": 1}]]
    [[call order {"sku": "chair", "count": 1}]] [[call stock {"sku": "Stuhl"}]]""",
    "Is any stock left of žluťoučký kůň 🇵🇹?",
    'A hundred lamps! [[call order {"sku":"lamp","count":100}]]',
    'Only a chair, then. [[call order {"sku":"chair","count":1}]]',
    "What have I bought?",
)
"""What the user says. Calls are ordered from the simulator, once by the mere name of a tool."""


class Shop:
    """A stock that sells out."""

    def __init__(self) -> None:
        self.left = {"lamp": 7, "chair": 5}
        self.called: list[str] = []

    async def stock(self, sku: str) -> str:
        """How many of an article are left."""
        self.called.append(f"stock {sku}")
        return f"{self.left.get(sku, 'none')} of {sku}"

    async def order(self, sku: str, count: int) -> dict[str, Any]:
        """Order some of an article; what is left then."""
        self.called.append(f"order {sku} {count}")
        if count > self.left[sku]:
            msg = f"there are {self.left[sku]} of {sku}"
            raise ValueError(msg)
        self.left[sku] -= count
        return {"sku": sku, "left": self.left[sku], "note": 'wrapped "well"\n\u2028'}

    def tools(self) -> list[Tool]:
        """Both, as an agent takes them."""
        return [function_tool(self.stock), function_tool(self.order)]


def clerk(client: AsyncOpenAI, shop: Shop, *, model: str, store: bool | None = None) -> Agent[None]:
    """The agent; it asks for what its model needs to go on reasoning."""
    return Agent(
        name="clerk",
        instructions="Sell with few words.",
        tools=shop.tools(),
        model=OpenAIResponsesModel(model=model, openai_client=client),
        model_settings=ModelSettings(response_include=["reasoning.encrypted_content"], store=store),
    )


async def run(
    agent: Agent[None],
    said: str | list[TResponseInputItem],
    *,
    streamed: bool = False,
    **state: Any,
) -> RunResult | RunResultStreaming:
    """One turn of the user to its end, with whatever keeps the state."""
    if not streamed:
        return await Runner.run(agent, said, **state)
    result = Runner.run_streamed(agent, said, **state)
    kinds = {event.type async for event in result.stream_events()}
    assert "raw_response_event" in kinds
    return result
