"""Summaries without a model: always there, always the same."""

import asyncio

from services.compaction import Covered, Draft, MethodName, NotCovered
from services.compaction.opening import Opener
from services.conversation.anchors import anchors_of
from services.conversation.extract import extract
from services.conversation.tokens import TokenCounter
from services.conversation.words import passages


class Extractive:
    """Chooses sentences of what was said."""

    name: MethodName = "extractive"

    def __init__(self, opener: Opener, counter: TokenCounter) -> None:
        """``opener`` reads the summaries among the items."""
        self._opener = opener
        self._counter = counter

    async def draft(self, covered: Covered) -> Draft:
        """As the protocol says.

        Where only an upstream can read a summary, what it stands for is told in its place; if that
        is not known here, nothing is.
        """
        for items in filter(None, (covered.items, covered.sources)):
            opened = await self._opener.readable(items)
            if all(item.type != "compaction" or item.id in opened for item in items):
                break
        else:
            raise NotCovered("sealed_elsewhere")
        told = passages(items, summaries=opened)
        # Long windows take a while, and others are waiting.
        text = await asyncio.to_thread(
            lambda: extract(
                told, anchors_of(told), tokens_max=covered.tokens_wanted, counter=self._counter
            )
        )
        return Draft(text=text)
