"""``/v1/models``: the upstream's, as they are."""

from collections.abc import Awaitable

from starlette.requests import Request
from starlette.responses import Response

from schemas.http.errors import Overloaded
from services.gateway import answers
from services.model import Model, ModelRefused, ModelUnavailable


class ModelEndpoints:
    """Asks the upstream each time it is asked."""

    def __init__(self, model: Model) -> None:
        """``model`` knows its server's others."""
        self._model = model

    async def list(self, _request: Request) -> Response:
        """GET /models."""
        return await _passed_on(self._model.models())

    async def retrieve(self, request: Request) -> Response:
        """GET /models/{model}."""
        return await _passed_on(self._model.retrieve_model(answers.path_id(request, "model")))


async def _passed_on(asked: Awaitable[bytes]) -> Response:
    try:
        return answers.raw(await asked)
    except ModelRefused as refused:
        return answers.raw(
            refused.body(), status=refused.status, retry_after_s=refused.retry_after_s
        )
    except ModelUnavailable as error:
        raise Overloaded(str(error)) from error
