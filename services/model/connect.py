"""The model the settings name."""

from typing import assert_never

from services.model import Model
from services.model.endpoint_chat import ChatEndpoint
from services.model.endpoint_responses import ResponsesEndpoint
from services.model.upstream import Upstream
from services.sealing import Sealer
from services.settings import ModelSettings


def model(settings: ModelSettings, sealer: Sealer) -> Model:
    """Speaks the upstream API that ``model_api`` names; connects at the first call."""
    match settings.model_api:
        case "responses":
            return ResponsesEndpoint(Upstream(settings), sealer)
        case "chat":
            return ChatEndpoint(Upstream(settings), sealer)
        case _:
            assert_never(settings.model_api)
