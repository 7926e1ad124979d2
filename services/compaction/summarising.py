"""A summary that was checked: by the chosen method, or without a model where that fails.

Whatever goes wrong upstream, a window that has to become smaller does, and within a set time.
"""

import asyncio

import msgspec
import structlog

from services.compaction import Covered, Draft, Method, NotCovered, Summary
from services.compaction.opening import Opener
from services.conversation.anchors import anchors_of
from services.conversation.checking import TOO_LARGE, Checked, checked
from services.conversation.compaction import size
from services.conversation.tokens import TokenCounter
from services.conversation.words import passages
from services.model import ModelRefused, ModelUnavailable

log = structlog.get_logger()

TIMED_OUT = "timed_out"
REFUSED = "model_refused"
UNAVAILABLE = "model_unavailable"
UNREADABLE = "model_unreadable"
"""What came back has not the form that was asked for."""
NO_MODEL = "no_model"
"""No model has been asked anything yet, and no setting names one."""


class Summariser:
    """Makes summaries by one method, and by another where that one fails."""

    def __init__(
        self,
        method: Method,
        fallback: Method,
        opener: Opener,
        counter: TokenCounter,
        *,
        wait_s: float,
        alone: Method | None = None,
    ) -> None:
        """``wait_s`` is how long the method may take; the fallback needs no model.

        ``alone`` is for summaries beside which nothing can stay, where the method cannot do that.
        """
        self._method = method
        self._alone = alone or method
        self._fallback = fallback
        self._opener = opener
        self._counter = counter
        self._wait_s = wait_s

    @property
    def opener(self) -> Opener:
        """Reads summaries that were made before."""
        return self._opener

    @property
    def seals_elsewhere(self) -> bool:
        """Whether summaries may be ones that only the upstream can read."""
        return self._method.name == "upstream"

    async def summary(self, covered: Covered, *, refusals_told: bool = False) -> Summary:
        """What may stand for ``covered``; raises `NotCovered` if nothing may.

        ``refusals_told``: what the upstream refuses is raised as `ModelRefused`, for a client that
        has asked for nothing but this.
        """
        if not covered.items:
            # Nothing has come since the earlier summary.
            tokens = self._counter.count_text(covered.carried)
            return Summary(
                text=covered.carried,
                tokens=tokens,
                method=self._alone.name,
                said=covered.said or (),
            )
        method = self._alone if covered.said is None else self._method
        try:
            made = await self._by_method(method, covered)
        except ModelRefused:
            if refusals_told:
                raise
            made = Summary(fallback=REFUSED)
        except ModelUnavailable:
            made = Summary(fallback=UNAVAILABLE)
        except TimeoutError:
            made = Summary(fallback=TIMED_OUT)
        except msgspec.MsgspecError:
            made = Summary(fallback=UNREADABLE)
        except NotCovered as left:
            made = Summary(fallback=left.reason)
        if not made.fallback:
            return made
        if self._fallback.name == method.name:
            raise NotCovered(made.fallback)
        log.warning("summary.replaced", method=method.name, reason=made.fallback)
        instead = await self._checked(covered, await self._fallback.draft(covered), self._fallback)
        if instead.fallback:
            raise NotCovered(made.fallback)
        return msgspec.structs.replace(instead, fallback=made.fallback, usage=made.usage)

    async def _by_method(self, method: Method, covered: Covered) -> Summary:
        if not covered.model_name and method.name != self._fallback.name:
            return Summary(fallback=NO_MODEL)
        async with asyncio.timeout(self._wait_s):
            draft = await method.draft(covered)
        if not draft.sealed:
            return await self._checked(covered, draft, method)
        # Nobody here can read it: its size is what its maker has counted.
        room = covered.tokens_max + size(covered.said or ())
        return Summary(
            tokens=draft.tokens,
            method=method.name,
            fallback=TOO_LARGE if draft.tokens + size(draft.said) > room else "",
            usage=draft.usage,
            sealed=draft.sealed,
            said=draft.said,
        )

    async def _checked(self, covered: Covered, draft: Draft, method: Method) -> Summary:
        """A draft with its anchors; ``fallback`` says what is wrong with it.

        They are those of what was once said: what an earlier summary had no room for, or had told
        in other words, is not lost by being told again.
        """
        said = covered.sources or covered.items
        told = passages(said, summaries=await self._opener.readable(said))

        def check() -> Checked:
            return checked(
                draft.text,
                anchors_of(told, listed=draft.listed),
                carried=covered.carried,
                tokens_max=covered.tokens_max,
                tokens_wanted=covered.tokens_wanted,
                counter=self._counter,
            )

        # Long windows take a while, and others are waiting.
        made = await asyncio.to_thread(check)
        return Summary(
            text=made.text,
            tokens=made.tokens,
            method=method.name,
            fallback=made.fault,
            anchors_found=made.anchors_found,
            anchors_kept=made.anchors_kept,
            usage=draft.usage,
            said=covered.said or (),
        )
