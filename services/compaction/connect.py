"""The method the settings name, and what stands in for it."""

from services.compaction import Method
from services.compaction.by_model import ByModel
from services.compaction.extractive import Extractive
from services.compaction.opening import Opener
from services.compaction.summarising import Summariser
from services.conversation.tokens import TokenCounter
from services.model import Model
from services.sealing import Sealer
from services.settings import ModelSettings


def summariser(
    settings: ModelSettings, model: Model, sealer: Sealer, counter: TokenCounter
) -> Summariser:
    """Summaries by ``compaction_method``, within ``compaction_wait_s``."""
    opener = Opener(sealer)
    extractive = Extractive(opener, counter)
    method: Method = extractive
    if settings.compaction_method != extractive.name:
        method = ByModel(model)
    return Summariser(method, extractive, opener, counter, wait_s=settings.compaction_wait_s)
