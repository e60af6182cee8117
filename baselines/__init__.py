"""What the reference implementation is compared with: exact retraining, rival methods, and the comparison itself."""

from baselines.checker import Finding, check
from baselines.engines import retrain
from baselines.truth import Truth, leave_one_out, retraining_truth, subset_retraining
from baselines.validation import Validation, validate

__all__ = [
    "Finding",
    "Truth",
    "Validation",
    "check",
    "leave_one_out",
    "retrain",
    "retraining_truth",
    "subset_retraining",
    "validate",
]
