"""The method the settings name, and what stands in for it."""

from typing import assert_never

from services.compaction import Method
from services.compaction.by_model import ByModel
from services.compaction.by_upstream import ByUpstream
from services.compaction.extractive import Extractive
from services.compaction.opening import Opener
from services.compaction.summarising import Summariser
from services.conversation.tokens import TokenCounter
from services.model import Model
from services.model.endpoint_responses import ResponsesEndpoint
from services.sealing import Sealer
from services.settings import ModelSettings


def summariser(
    settings: ModelSettings, model: Model, sealer: Sealer, counter: TokenCounter
) -> Summariser:
    """Summaries by ``compaction_method``, within ``compaction_wait_s``."""
    opener = Opener(sealer)
    extractive, by_model = Extractive(opener, counter), ByModel(model)
    method: Method
    match settings.compaction_method:
        case "summary":
            method = by_model
        case "extractive":
            method = extractive
        case "upstream":
            # The settings allow it only with this API.
            assert isinstance(model, ResponsesEndpoint)
            method = ByUpstream(model)
        case _:
            assert_never(settings.compaction_method)
    return Summariser(
        method,
        extractive,
        opener,
        counter,
        wait_s=settings.compaction_wait_s,
        alone=by_model if settings.compaction_method == "upstream" else method,
    )
