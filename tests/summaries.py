"""Requests for summaries among those a model received."""

import json
from typing import Any

from services.compaction.prompts import OPENING


def wants_summary(body: dict[str, Any]) -> bool:
    """Whether a request asks for a summary of what is in front of its last item."""
    given = body.get("input") or body.get("messages") or [""]
    return OPENING in json.dumps(given[-1], ensure_ascii=False)
