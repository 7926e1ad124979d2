"""What this server speaks, for whoever makes a client of it: OpenAPI and AsyncAPI documents."""

from functools import cached_property
from importlib.metadata import version

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from schemas import asyncapi, openapi
from services.gateway import answers


class DocumentEndpoints:
    """The documents, each made when it is first asked for."""

    async def retrieve_openapi(self, _request: Request) -> Response:
        """GET /openapi.json."""
        return answers.raw(self._openapi)

    async def retrieve_asyncapi(self, _request: Request) -> Response:
        """GET /docs/asyncapi."""
        return answers.raw(self._asyncapi)

    @cached_property
    def _openapi(self) -> bytes:
        # Relative to where the document was found, whatever the server is called there.
        return msgspec.json.encode(openapi.document(version=version("turnlog"), server="/"))

    @cached_property
    def _asyncapi(self) -> bytes:
        return msgspec.json.encode(asyncapi.whole(version=version("turnlog")))
