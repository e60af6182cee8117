"""What the rows of tables and figures are called: methods by their registration, and what stands beside them."""

import pandas as pd

from baselines.studies.detection import CONFIDENT_LEARNING, SELF_INFLUENCE
from baselines.studies.edit_accuracy import NO_EDIT
from baselines.studies.least_valuable import WRONG
from baselines.validation import GROUND_TRUTH
from samattr_ref.registry import METHODS

BESIDE = {
    GROUND_TRUTH: "exact LOO",
    NO_EDIT: "no edit",
    CONFIDENT_LEARNING: "confident learning",
    WRONG: "wrong labels",
}
"""What is no method, where its label is not its name."""


def label_of(method: str, how: str = "") -> str:
    """What a method is called, in the way that it is used.

    >>> label_of("tracin-cp"), label_of("sam-if", "by batch"), label_of("if", "self-influence"), label_of("loo")
    ('TracIn-CP', 'SAM-IF, by batch', 'IF self-influence', 'exact LOO')
    """
    label = METHODS[method].label if method in METHODS else BESIDE.get(method, method)
    if not how:
        return label
    return f"{label} {how}" if how == SELF_INFLUENCE else f"{label}, {how}"


def signed(value: float) -> str:
    """A number of two digits with its sign.

    >>> signed(0.0123), signed(-2)
    ('+0.012', '−2')
    """
    return f"{value:+.2g}".replace("-", "−")


def labels(frame: pd.DataFrame) -> list[str]:
    """The label of each row's method."""
    return [label_of(method, how) for method, how in with_how(frame)[["method", "how"]].to_numpy()]


def with_how(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame, every method used in its own way where no column `how` says otherwise."""
    return frame if "how" in frame else frame.assign(how="")
