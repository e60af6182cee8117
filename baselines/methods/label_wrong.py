"""`label-wrong`: an oracle that knows which labels are wrong: what the best finder of wrong labels could say.

s[k, q] = −1 where the label of point k is really wrong, else 0, for every query. It finds all of them, and what it gets
of the exact effects is what wrong labels are worth to them.
"""

from samattr_ref.data import Examples
from samattr_ref.registry import Family, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.support.errors import SamattrError


@method(
    "label-wrong",
    summary="oracle: −1 where a label is really wrong, the same for every query",
    source="control",
    query_bytes=None,
    label="wrong labels (oracle)",
    family=Family.CONTROL,
    rank=106,
    full_size={},
    compared=False,
    by_name=True,
)
def label_wrong(run: Run, queries: Examples) -> Scores:
    """Scores [n_train, n_query], each row constant.

    Raises:
        SamattrError: if no label of the workload is wrong, or it does not say which are.
    """
    noisy = run.splits.noisy
    if not bool(noisy.any()):
        raise SamattrError(f"label-wrong needs wrong labels that are known, and {run.workload.name} has none")
    return Scores(-noisy.to(run.parameters)[:, None].repeat(1, len(queries)))
