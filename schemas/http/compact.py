"""Body of ``POST /v1/responses/compact`` (contract 5.3)."""

import msgspec

from schemas.http import checks, known, parameters, sources
from schemas.http.checks import Fields
from schemas.http.errors import Invalid


class CompactWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request; ``input`` and ``parameters``, all that is not state, raw."""

    model: str | None
    input: msgspec.Raw | None
    previous_response_id: str | None
    parameters: Fields


def read_compact(payload: bytes, *, strict: bool) -> CompactWindow:
    """The request in a body; it must name a model, if only ``null``, and something to compact.

    ``strict``: parameters nobody knows are refused, and conversations are not known here.
    """
    given = checks.body(payload)
    if "model" not in given:
        raise checks.missing("model")
    model = None if checks.is_null(given["model"]) else checks.text(given["model"], "model")
    if all(checks.is_null(given.get(name)) for name in ("input", "previous_response_id")):
        raise Invalid(
            'One of "input" or "previous_response_id" must be provided.',
            code="missing_required_parameter",
        )
    names = known.COMPACT if strict else None
    if names is not None:
        known.refuse_unknown(given, names)
    given = checks.present(given)
    brought = sources.input_of(given)
    previous = sources.previous_response_of(given)
    parameters.check(given, parameters.COMPACT, names=names)
    return CompactWindow(
        model=model,
        input=brought,
        previous_response_id=previous,
        parameters={name: given[name] for name in parameters.COMPACT if name in given},
    )
