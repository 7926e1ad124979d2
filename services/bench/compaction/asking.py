"""What is left of the facts: looked for in the window, or asked of the model that is sent it."""

from collections.abc import Iterator, Sequence

import msgspec

from schemas import items as stored
from schemas.http.checks import Fields
from services import ids
from services.bench.compaction.facts import Fact, found, held
from services.bench.load import BenchFailed
from services.compaction.by_model import answered_text
from services.conversation.history import Item, item_of
from services.model import Call, Model, ModelRefused, ModelUnavailable, rendering
from services.sealing import Sealer

QUESTIONS_MAX = 10
"""Questions of one call."""
_INSTRUCTIONS = (
    "Answer each question from the conversation, one line each, in the exact words and spelling "
    "that were used there. Write 'unknown' for what the conversation does not tell."
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


async def in_window(
    facts: Sequence[Fact], window: tuple[Item, ...], sealer: Sealer
) -> tuple[Fact, ...]:
    """Those whose value stands in what the model would be sent."""
    sent = await rendering.as_sent(window, sealer)
    texts = [text for item in sent for text in _texts(_decode(item.raw))]
    return held(facts, texts)


async def is_sealed(window: tuple[Item, ...], sealer: Sealer) -> bool:
    """Whether there is a summary in it that cannot be read here."""
    return any(item.type == "compaction" for item in await rendering.as_sent(window, sealer))


async def answered(
    facts: Sequence[Fact], window: tuple[Item, ...], model: Model, *, model_name: str
) -> tuple[Fact, ...]:
    """Those whose value the model gives when it is asked for it behind the window."""
    known: list[Fact] = []
    for start in range(0, len(facts), QUESTIONS_MAX):
        asked = facts[start : start + QUESTIONS_MAX]
        questions = "\n".join(f"{n}. {fact.question}" for n, fact in enumerate(asked, 1))
        told = await told_by(
            model, window, questions, instructions=_INSTRUCTIONS, model_name=model_name
        )
        known += [fact for fact in asked if found(fact.value, told)]
    return tuple(known)


async def told_by(
    model: Model, window: tuple[Item, ...], text: str, *, instructions: str, model_name: str
) -> str:
    """What the model says to ``text`` behind a window; raises `BenchFailed` if it says nothing."""
    request = stored.from_text(msgspec.Raw(_encode(text)), mint=ids.item_id)
    parameters: Fields = {"instructions": msgspec.Raw(_encode(instructions))}
    call = Call(
        model=model_name, items=(*window, item_of(request, tokens=1)), parameters=parameters
    )
    try:
        answer = await model.complete(call)
    except (ModelRefused, ModelUnavailable) as error:
        raise BenchFailed(f"the model does not answer: {error}") from error
    told = answered_text(answer.items)
    if not told:
        raise BenchFailed(f"the model has said nothing and is {answer.status}")
    return told


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from _texts(each)
        case list():
            for each in value:
                yield from _texts(each)
        case _:
            pass
