"""Body of ``GET /healthz``."""

import msgspec

from schemas.queries import Health


class ServicesHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Whether everything can serve, and each service's own word for it."""

    ok: bool
    services: dict[str, Health]
