"""Log probabilities of an answer's tokens: a pure function of the token, and of nothing real."""

import zlib
from collections.abc import Sequence
from typing import Any


def logprobs_of(tokens: Sequence[str], *, top: int) -> list[dict[str, Any]]:
    """One entry for each token, with its ``top`` likeliest; the token itself is the first."""
    return [_entry(token, top) for token in tokens]


def without_bytes(logprobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """As the events of the Responses API have them."""
    return [
        {
            "token": one["token"],
            "logprob": one["logprob"],
            "top_logprobs": [
                {"token": other["token"], "logprob": other["logprob"]}
                for other in one["top_logprobs"]
            ],
        }
        for one in logprobs
    ]


def _entry(token: str, top: int) -> dict[str, Any]:
    logprob = -(zlib.crc32(token.encode(errors="replace")) % 1_000 + 1) / 10_000
    others = [_one(f"{token}{index or ''}", logprob - index) for index in range(top)]
    return {**_one(token, logprob), "top_logprobs": others}


def _one(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "bytes": list(token.encode(errors="replace")), "logprob": logprob}
