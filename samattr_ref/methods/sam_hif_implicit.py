"""`sam-hif-implicit`: the full implicit derivative of G(ω; w) = 0, which also follows what the removal does to ê.

    Δ_k = (1/n) (H + H ∂ê/∂ω)⁻¹ [∇ℓ_k(ω* + ê) + H (∂ê/∂g) ∇ℓ_k(ω*)]

The paper's Theorem 4.5 differentiates ê by ω but not by the removed weight; this form does both. With `newton`, one
Newton step for the finite removal of each point instead of the slope, scored by the loss after it, see
`samattr_ref.implicit.newton`, which also says where that gains and refuses it elsewhere.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from samattr_ref.data import Examples
from samattr_ref.implicit.attribution import FACTS, implicit_change, implicit_products
from samattr_ref.implicit.newton import NewtonStep, loss_changes
from samattr_ref.implicit.options import Form, ImplicitOptions
from samattr_ref.registry import method
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import chunk_length, in_chunks
from samattr_ref.support.options import checked

FORM = Form(perturbed=True, coupled=True, removal=True)


@checked
@dataclass(frozen=True)
class NewtonOptions(ImplicitOptions):
    """`ImplicitOptions`, and whether to take a Newton step.

    Attributes:
        newton: One Newton step for the removal of the whole point; a dense solve, up to a few thousand parameters.
            Refused where the run was too short to follow it: see `samattr_ref.implicit.newton`.
    """

    newton: bool = False


def sam_hif_implicit_change(run: Run, groups: Sequence[Tensor], **chosen: Any) -> Tensor:
    """Δ of removing each group of training points, [n_groups, P].

    Raises:
        SamattrError: for groups of several points with `newton`, or where a Newton step does not help.
        SolverError: if the system was not solved.
    """
    options = NewtonOptions(**chosen)
    if not options.newton:
        return implicit_change(run, groups, FORM, options)
    if any(len(group) != 1 for group in groups):
        raise SamattrError("newton removes single points: leave it out for groups of them")
    newton = NewtonStep(run, FORM, options)
    newton.require()
    return newton.change([int(group) for group in groups])


@method(
    "sam-hif-implicit",
    summary="the full implicit derivative of the SAM fixed point",
    source="this project",
    change=sam_hif_implicit_change,
    options=NewtonOptions,
    label="SAM-HIF implicit",
    rank=20,
    **FACTS,
)
def sam_hif_implicit(run: Run, queries: Examples, **chosen: Any) -> Scores:
    """Scores [n_train, n_query], linear in the query; for the options see `NewtonOptions`."""
    options = NewtonOptions(**chosen)
    if not options.newton:
        return implicit_products(run, run.query_gradients(queries).T.contiguous(), FORM, options)

    newton = NewtonStep(run, FORM, options)
    diagnostics = newton.system.gradient_diagnostics() | newton.require() | {"options": asdict(options)}
    length = chunk_length(3 * 8 * len(run.parameters))

    def some(points: slice) -> Tensor:
        return loss_changes(run, queries, newton.change(range(run.n_train)[points]))

    return Scores(torch.cat([found for _, found in in_chunks(some, run.n_train, length)]), diagnostics)
