"""Ground truth that comes with the project: scores are checked against it without retraining anything.

A truth's parameters are gigabytes for large networks. What a score is compared with are the losses of the queries, of
the tuning queries and of the mean validation point after each retraining: a few megabytes at most, which stand beside
this module in `truths/`, with the changes of the parameters where these are small. What is kept belongs to a run: the
same points, network, recipe and seed, bit for bit where its digest is that of the run, else up to rounding, where the
losses of the queries are the same within `TOLERANCE`: another torch or another machine trains to slightly other ones.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samattr_ref.data import Examples
from samattr_ref.network.losses import CROSS_ENTROPY
from samattr_ref.run import Run
from samattr_ref.support import store
from samattr_ref.support.errors import SamattrError, StoreError
from samattr_ref.support.seeds import json_digest, tensor_digest
from samattr_ref.workload import Workload

log = logging.getLogger("samattr")

FOLDER = Path(__file__).parent / "truths"

N_CHANGES = 100
"""Changes of the parameters are kept and compared for at most so many removed points: one may take a solve."""

TOLERANCE = 0.02
"""How far, relative to their norm, the losses of the queries may be from those of the run that was kept."""


@dataclass(frozen=True, eq=False)
class Kept:
    """What is kept of a truth.

    Attributes:
        groups: The points that each retraining left out, int64 each.
        losses: By the sets of `own_sets`, of the run and after each retraining, [1 + n_groups, n_query].
        replay_error: See `baselines.truth.Truth`.
        record: Engine, chunk, seconds and environment that it was made with.
        changes: ω_{−S} − ω* of the first groups, [at most N_CHANGES, P]; None where they are too large to keep.
        apart: How far the losses of the queries are from those of the run that was kept, relative to their norm; 0
            where it is the same run bit for bit.
    """

    groups: list[Tensor]
    losses: Mapping[str, Tensor]
    replay_error: float
    record: dict[str, Any]
    changes: Tensor | None = None
    apart: float = 0.0


def own_sets(run: Run) -> dict[str, Examples]:
    """The sets whose losses are kept: queries, tuning queries, and the validation points as their mean."""
    splits = run.splits
    return {"queries": splits.queries, "tuning": splits.tuning, "validation": splits.validation.pool()}


def kept_path(workload: Workload, kind: str, folder: Path | None = None) -> Path:
    """The tensors of what is kept of a truth of a workload's run; beside them stands a JSON file. Nothing is trained.

    Args:
        workload: The workload.
        kind: Which truth it is, such as `loo`.
        folder: Where it is kept; by default what comes with the project.
    """
    return (folder or FOLDER) / f"{workload.name}-{kind}-{_recipe_digest(workload)[:12]}.safetensors"


def keep(run: Run, kind: str, kept: Kept, folder: Path) -> None:
    """Write what is kept of a truth of a run, a pair of a JSON and a safetensors file.

    Args:
        run: The run.
        kind: Which truth it is, such as `loo`.
        kept: The losses.
        folder: Where to.

    Raises:
        StoreError: if the folder cannot be written.
    """
    sizes = torch.tensor([len(group) for group in kept.groups])
    tensors = {"removed": torch.cat(kept.groups).to(torch.int32), "group_sizes": sizes, **kept.losses}
    if kept.changes is not None:
        tensors["changes"] = kept.changes
    meta = {"workload": run.workload.name, "replay_error": kept.replay_error, "record": kept.record}
    meta |= {"recipe": _recipe_digest(run.workload), "run": run.digest, "trained": _described(run.workload)}
    store.save(folder, kept_path(run.workload, kind, folder).stem, meta, tensors)


def find(run: Run, kind: str, folder: Path | None = None) -> Kept | None:
    """What is kept of a truth of a run; None if there is nothing, or what there is belongs to another run.

    Args:
        run: The run.
        kind: Which truth it is.
        folder: Where it is kept; by default what comes with the project.

    Raises:
        StoreError: for damaged files.
    """
    path = kept_path(run.workload, kind, folder)
    try:
        stored = store.load(path.parent, path.stem)
    except StoreError as error:
        raise StoreError(f"{path} is damaged: fetch it again, or install samattr anew") from error
    if stored is None or stored[0]["recipe"] != _recipe_digest(run.workload):
        return None
    meta, tensors = stored
    losses = {name: tensors[name] for name in own_sets(run)}
    apart = 0.0
    if meta.get("run") != run.digest:
        known, own = losses["queries"][0], run.query_losses(run.splits.queries).cpu()
        apart = float((own - known).norm() / known.norm())
    if not apart <= TOLERANCE:
        log.warning(
            "the kept ground truth of %s is of a run whose losses are %.0f %% from this one's: it is not used",
            run.workload.name,
            100 * apart,
        )
        return None
    groups = list(tensors["removed"].long().split(tensors["group_sizes"].tolist()))
    return Kept(groups, losses, meta["replay_error"], meta["record"], tensors.get("changes"), apart)


def identity(workload: Workload, kind: str) -> tuple[str, str]:
    """Which truth of a workload comes with the project: the digests of its recipe and of what is kept.

    Nothing is trained for it.

    Raises:
        SamattrError: if none does.
    """
    path = kept_path(workload, kind).with_suffix(".json")
    if not path.exists():
        raise SamattrError(f"no ground truth of {workload.name} with seed {workload.seed} comes with samattr")
    return _digests(path)


def shipped(workload: str) -> set[tuple[str, str]]:
    """`identity` of every leave-one-out truth of a workload that comes with the project; nothing is trained."""
    return {_digests(path) for path in FOLDER.glob(f"{workload}-loo-*.json")}


def _digests(path: Path) -> tuple[str, str]:
    try:
        described = store.describe(path.parent, path.stem)
    except StoreError as error:
        raise StoreError(f"{path} is damaged: fetch it again, or install samattr anew") from error
    assert described is not None and described.tensors is not None  # as every truth that is kept
    return described.content["recipe"], described.tensors


def _described(workload: Workload) -> dict[str, str]:
    described = {"model": repr(workload.model), "recipe": repr(workload.recipe), "dtype": workload.dtype}
    if workload.recipe.decay != "loss":
        described["decay"] = workload.recipe.decay
    if workload.augmentation is not None:
        described["augmentation"] = repr(workload.augmentation)
    if workload.loss != CROSS_ENTROPY:
        described["loss"] = repr(workload.loss)
    return described


def _recipe_digest(workload: Workload) -> str:
    """The hash of what a run is but for its code, torch and machine: its points and sets, network, recipe and seed."""
    splits = workload.splits
    sets = [tensor_digest(part.x, part.y) for part in (splits.train, splits.queries, splits.tuning, splits.validation)]
    return json_digest([sets, _described(workload), workload.drawn_by])
