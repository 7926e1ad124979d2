"""Every view there is."""

from services.projector.view import View
from services.projector.views import conversations, items, token_usage, turns

VIEWS: tuple[View, ...] = (conversations, items, turns, token_usage)
"""The whole registry, each after those it reads: what is not here is not built."""
