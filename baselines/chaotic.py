"""Whether the run that scores are held against is chaotic: then no method attributes it, and scores say nothing."""

from dataclasses import replace

from baselines.kept import find
from baselines.keys import method_digest, workload_digest
from baselines.truth import single_points_name
from baselines.validation import Validation
from samattr_ref.attribution import attribute
from samattr_ref.registry import get_method
from samattr_ref.support import store
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.progress import working
from samattr_ref.support.seeds import json_digest
from samattr_ref.training import train
from samattr_ref.workload import Workload

BY = "sam-unrolled"
"""The method that goes back through the run."""


def growth_of(workload: Workload) -> float:
    """How much the adjoint of the mean query grows on its way back through the run, see `samattr_ref.marks.CHAOTIC`.

    It takes two or three trainings, is stored, and found again.

    Raises:
        SamattrError: for a run that does not fit the bound on memory.
    """
    path = store.folder("growth", json_digest([workload_digest(workload), method_digest(get_method(BY))]))
    if (stored := store.load(path, "growth")) is not None:
        return float(stored[0]["growth"])
    with working(f"growth of the adjoint of {workload.name}"):
        growth = float(attribute(train(workload), BY, workload.queries.pool()).diagnostics["growth"])
    store.save(path, "growth", {"growth": growth})
    return growth


def with_growth(result: Validation, workload: Workload) -> Validation:
    """A result that says how much the adjoint grows through the run, and so is marked where that is chaotic.

    Nothing is measured where the method has said it, nor of a workload whose ground truth comes with samattr: what they
    take is seconds, and their runs are known not to be chaotic.
    """
    run = train(workload)
    if "growth" in result.diagnostics or find(run, single_points_name(workload)) is not None:
        return result
    try:
        growth = growth_of(workload)
    except SamattrError:  # of what cannot be measured nothing is known
        return result
    return replace(result, diagnostics=result.diagnostics | {"run": {"growth": growth}})
