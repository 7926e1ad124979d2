"""Every view there is."""

from services.projector.view import View
from services.projector.views import (
    compactions,
    conversations,
    erasures,
    events,
    items,
    parked,
    token_usage,
    tool_calls,
    turns,
)

VIEWS: tuple[View, ...] = (
    conversations,
    items,
    turns,
    token_usage,
    tool_calls,
    compactions,
    events,
    erasures,
    parked,
)
"""The whole registry, each after those it reads: what is not here is not built."""
