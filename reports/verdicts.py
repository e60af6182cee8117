"""Verdicts: what a 95 % interval decides, by one rule for every claim, caption and sentence.

What is said of a quantity holds where its whole interval is on the one side, does not hold where all of it is on the
other, and is undecided where it is on both, or where a single seed has no interval.
"""

import math
from collections.abc import Iterable

from baselines.metrics import Interval

HOLDS, IN_PART, DOES_NOT_HOLD = "holds", "holds in part", "does not hold"
UNDECIDED = "undecided"


def decide(interval: Interval, above: float = -math.inf, below: float = math.inf) -> str:
    """Whether a quantity is above one number and below another.

    Args:
        interval: The quantity and the two ends of its interval, as from `baselines.metrics.mean_interval`.
        above: What it must be above.
        below: What it must be below.

    >>> decide((0.95, 0.92, 0.98), above=0.9), decide((0.95, 0.88, 1.0), above=0.9), decide((0.7, 0.6, 0.8), above=0.9)
    ('holds', 'undecided', 'does not hold')
    >>> decide((0.01, -0.01, 0.03), -0.02, 0.02), decide((0.95, math.nan, math.nan), above=0.9)
    ('undecided', 'undecided')
    """
    _, low, high = interval
    if above < low and high < below:
        return HOLDS
    return DOES_NOT_HOLD if high <= above or low >= below else UNDECIDED


def every(verdicts: Iterable[str]) -> str:
    """Whether several things hold together.

    >>> every([HOLDS, HOLDS]), every([HOLDS, UNDECIDED]), every([UNDECIDED, DOES_NOT_HOLD])
    ('holds', 'undecided', 'does not hold')
    """
    found = set(verdicts)
    return DOES_NOT_HOLD if DOES_NOT_HOLD in found else UNDECIDED if UNDECIDED in found else HOLDS


def either(verdicts: Iterable[str]) -> str:
    """Whether one of several things holds.

    >>> either([HOLDS, UNDECIDED]), either([UNDECIDED, DOES_NOT_HOLD]), either([DOES_NOT_HOLD])
    ('holds', 'undecided', 'does not hold')
    """
    found = set(verdicts)
    return HOLDS if HOLDS in found else UNDECIDED if UNDECIDED in found else DOES_NOT_HOLD


def of_several(verdicts: Iterable[str]) -> str:
    """One word for what holds by some methods alone: in part where it holds by some and not by all.

    >>> of_several([HOLDS, DOES_NOT_HOLD]), of_several([UNDECIDED, DOES_NOT_HOLD])
    ('holds in part', 'does not hold')
    """
    found = set(verdicts)
    return IN_PART if HOLDS in found and len(found) > 1 else every(found)
