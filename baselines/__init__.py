"""What the reference implementation is compared with: exact retraining, rival methods, and the comparison itself."""

from baselines.checker import Finding, check
from baselines.engines import retrain
from baselines.exporting import export
from baselines.others_scores import validate_scores
from baselines.score_files import ScoreFile, read_scores
from baselines.truth import Truth, leave_one_out, retraining_truth, subset_retraining
from baselines.validation import Validation, validate

__all__ = [
    "Finding",
    "ScoreFile",
    "Truth",
    "Validation",
    "check",
    "export",
    "leave_one_out",
    "read_scores",
    "retrain",
    "retraining_truth",
    "subset_retraining",
    "validate",
    "validate_scores",
]
