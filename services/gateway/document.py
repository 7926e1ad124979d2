"""``GET /openapi.json``: what this server speaks, for whoever makes a client of it."""

from functools import cached_property
from importlib.metadata import version

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from schemas import openapi
from services.gateway import answers


class DocumentEndpoint:
    """The OpenAPI document, made when it is first asked for."""

    async def retrieve(self, _request: Request) -> Response:
        """GET /openapi.json."""
        return answers.raw(self._document)

    @cached_property
    def _document(self) -> bytes:
        # Relative to where the document was found, whatever the server is called there.
        return msgspec.json.encode(openapi.document(version=version("turnlog"), server="/"))
