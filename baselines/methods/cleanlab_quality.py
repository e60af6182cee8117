"""`cleanlab-quality`: how likely a label is right, by cleanlab (Northcutt et al. 2021): it finds wrong labels alone.

s[k, q] = the label quality of point k, in [0, 1], for every query: it knows nothing of queries, and is no nats. High
where the label is likely right, and so positive where a point is expected to help.

By default cleanlab scores the probability of the label, beside the mean that its class has, of a network that has not
seen the point: of the same run without the point's fold.

Traps: (1) of probabilities of the run itself (`folds` = 0), which has learned its wrong labels, the score
`self_confidence` is exp(−ℓ_k): it ranks as `loss` does; (2) cleanlab never says of which probabilities it speaks: its
numbers are those of the folds that were drawn.
"""

import torch

from baselines.studies.detection import held_out_probabilities
from samattr_ref.data import Examples
from samattr_ref.registry import Family, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.support.errors import SamattrError, unknown_name

KINDS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
"""What cleanlab scores labels by."""


@method(
    "cleanlab-quality",
    summary="label quality, the same for every query, by cleanlab; finds wrong labels alone",
    source="Northcutt et al. 2021",
    query_bytes=None,
    label="label quality (cleanlab)",
    family=Family.CONTROL,
    rank=105,
    benchmark={"folds": 0},
    full_size={},
    compared=False,
    by_name=True,
)
def cleanlab_quality(run: Run, queries: Examples, *, kind: str = "self_confidence", folds: int = 5) -> Scores:
    """Scores [n_train, n_query], each row constant.

    Args:
        run: The run.
        queries: The queries.
        kind: `self_confidence`, `normalized_margin` or `confidence_weighted_entropy`.
        folds: In how many parts the points are left out in turn, a training each; 0 takes the run's own probabilities.

    Raises:
        SamattrError: for an option out of range.
    """
    from cleanlab.rank import get_label_quality_scores

    if kind not in KINDS:
        raise unknown_name("kind of label quality", kind, list(KINDS))
    if not (folds == 0 or 2 <= folds <= run.n_train):
        raise SamattrError(f"folds must be 0, or from 2 to the {run.n_train} training points, not {folds}")
    probabilities = held_out_probabilities(run, folds) if folds else run.predictions(run.train).double().cpu().numpy()
    adjusted = kind != "confidence_weighted_entropy"  # where cleanlab has no adjustment
    quality = get_label_quality_scores(
        run.train.y.cpu().numpy(), probabilities, method=kind, adjust_pred_probs=adjusted
    )
    values = torch.as_tensor(quality).to(run.parameters)
    return Scores(values[:, None].repeat(1, len(queries)), {"folds": folds})
