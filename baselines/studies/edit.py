"""Editing a trained network: ω* + Δ_S in place of retraining without the points S, at one stroke or in several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from samattr_ref.attribution import parameter_change
from samattr_ref.data import Splits
from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.seeds import stream


@dataclass(frozen=True, eq=False)
class Given:
    """A data source that is its splits, whatever the seed."""

    splits: Splits

    def load(self, seed: int) -> Splits:
        """The splits."""
        return self.splits


def group_of(run: Run, kind: str, fraction: float, value: Tensor | None = None) -> Tensor:
    """A group of training points to remove.

    Args:
        run: The run.
        kind: `random` (by the workload's seed), or `most` or `least` valuable.
        fraction: Share of the training points.
        value: The points' Influence Scores [n_train], highest most valuable; for `random` not needed.

    Returns:
        Indices of the group, the ones to remove first in front.
    """
    size = max(1, round(fraction * run.n_train))
    if kind == "random":
        return torch.randperm(run.n_train, generator=stream(run.workload.seed, "random group"))[:size]
    if value is None or kind not in ("most", "least"):
        raise SamattrError(f"a group is 'random', or 'most' or 'least' valuable by given scores, not '{kind}'")
    return value.cpu().argsort(descending=kind == "most", stable=True)[:size]


def edit(
    run: Run, method: str, groups: Sequence[Tensor], options: Mapping[str, Any] | None = None, parts: int = 1
) -> Tensor:
    """The parameters that a method predicts for the run without each of the groups.

    In several parts, each part of a group is removed from the network that the parts before it gave: for the implicit
    methods a new fixed point, linearised anew. Trajectory methods sum over points along a trajectory that stays as it
    was, so for them parts change nothing.

    Args:
        run: The run.
        method: A method that predicts parameter changes.
        groups: The points to remove together.
        options: The method's options.
        parts: Into how many nearly equal parts each group is cut, in the order of its points.

    Returns:
        Edited parameters, shape [n_groups, P].

    Raises:
        SamattrError: if the method predicts no parameter change, or a solve fails.
    """
    if parts == 1:
        return run.parameters + parameter_change(run, method, groups, **(options or {}))
    return torch.stack([_in_parts(run, method, group, dict(options or {}), parts) for group in groups])


def _in_parts(run: Run, method: str, group: Tensor, options: dict[str, Any], parts: int) -> Tensor:
    omega, gone = run.parameters, group[:0]
    for part in group.tensor_split(parts):
        rest, positions = without(run, gone, omega)
        scaled = options | (
            {"damping": options["damping"] * run.n_train / rest.n_train} if "damping" in options else {}
        )
        omega = omega + parameter_change(rest, method, [positions[part]], **scaled)[0]
        gone = torch.cat([gone, part])
    return omega


def without(run: Run, removed: Tensor, parameters: Tensor) -> tuple[Run, Tensor]:
    """The run as if it had trained without some points and had ended at those parameters.

    The loss keeps its divisor n when m points remain, L = (1/n) Σ_m ℓ_i + (λ/2)‖ω‖² = (m/n) [(1/m) Σ_m ℓ_i +
    (λn/m)/2 ‖ω‖²]. The bracket is the loss of a workload of m points with λn/m; its ê is the same, its curvatures are
    n/m times as large, and its Δ_k = (1/m)(A n/m)⁻¹ r_k = (1/n) A⁻¹ r_k is the same.

    Returns:
        The run over the remaining points, without a trajectory; and the positions [n] there of the old points, −1 for
        those that are gone.
    """
    present = torch.ones(run.n_train, dtype=torch.bool)
    present[removed] = False
    kept = present.nonzero()[:, 0]
    positions = torch.full((run.n_train,), -1)
    positions[kept] = torch.arange(len(kept))
    recipe = replace(run.workload.recipe, weight_decay=run.workload.recipe.weight_decay * run.n_train / len(kept))
    train, clean = run.train.take(kept.to(run.train.y.device)), run.splits.clean
    clean = None if clean is None else clean[kept]
    splits = replace(run.splits, train=train, noisy=run.splits.noisy[kept], clean=clean)
    workload = replace(run.workload, data=Given(splits), recipe=recipe)
    rest = replace(
        run, workload=workload, parameters=parameters, batches=run.batches[:0], step_sizes=run.step_sizes[:0]
    )
    return rest, positions
