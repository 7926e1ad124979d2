"""What a summary has to be before it may stand for anything: smaller, and without loss of anchors.

Anchors that its words left out are added beneath them. So a model that forgets is helped, and only
one whose summary then is too large has failed.
"""

import msgspec

from services.conversation.anchors import SECTION_SHARE, Anchors, section
from services.conversation.tokens import TokenCounter


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A summary with its anchors; ``fault`` says why it may stand for nothing, empty if it may.

    ``text`` opens with the summary that was carried over. ``tokens`` is the size of all of it.
    """

    text: str = ""
    tokens: int = 0
    anchors_found: int = 0
    anchors_kept: int = 0
    fault: str = ""


EMPTY = "empty"
"""The model has said nothing, or has not come to its end."""
TOO_LARGE = "no_gain"
"""Its words alone are too many for the window to shrink enough."""
ANCHORS_LOST = "anchors_lost"
"""They are too many together with the anchors they left out."""


def checked(
    words: str,
    anchors: Anchors,
    *,
    carried: str,
    tokens_wanted: int,
    tokens_max: int,
    counter: TokenCounter,
) -> Checked:
    """A summary of ``words`` behind the ``carried`` one, for which ``tokens_max`` are there.

    Too many anchors for their share of what was ``tokens_wanted``: the most important are kept, and
    counted.
    """
    if not words.strip():
        return Checked(fault=EMPTY, anchors_found=len(anchors.found))
    left = tokens_max - counter.count_text(words)
    if left < 0:
        return Checked(fault=TOO_LARGE, anchors_found=len(anchors.found))
    missing = anchors.missing(f"{carried}\n{words}")
    due = section(anchors, missing, tokens_max=int(tokens_wanted * SECTION_SHARE), counter=counter)
    if due and counter.count_text(due) > left:
        return Checked(fault=ANCHORS_LOST, anchors_found=len(anchors.found))
    text = "\n\n".join(part for part in (carried, f"{words.strip()}\n{due}".strip()) if part)
    return Checked(
        text=text,
        tokens=counter.count_text(text),
        anchors_found=len(anchors.found),
        anchors_kept=len(anchors.standing(text)),
    )
