"""When a window has outgrown its budget."""

CROSSED_AGAIN = 1.5
"""How much the window must grow past the last crossing before another one is reported.

A compaction that failed, or could not shrink below the budget, is asked for again after this
growth, not after every turn.
"""


def crossed(*, tokens: int, budget: int, last: int) -> bool:
    """Whether a commit that leaves ``tokens`` in the window reports a crossing.

    ``budget`` 0 means none is set; ``last`` is the size at the last report that no compaction has
    answered, 0 without one.
    """
    return 0 < budget < tokens and tokens >= last * CROSSED_AGAIN
