"""Ground truth that takes longer than a machine is at hand: kept part by part, and gone on with anywhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from baselines.engines import Engine
from baselines.kept import N_CHANGES, Kept, find, keep, kept_path
from baselines.truth import is_made, kept_changes, kept_losses, retraining_truth
from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import chunks
from samattr_ref.support.progress import track
from samattr_ref.support.seeds import tensor_digest
from samattr_ref.support.timing import Timing, noted
from samattr_ref.workload import Workload

VERIFIED = 5
"""So many groups of a kept truth are retrained without to verify it."""

VERIFY_TOLERANCE = {torch.float64: 1e-6, torch.float32: 0.05}
"""How far their effects may be from those that were kept, relative to their norm: another machine rounds otherwise."""

PARTS, LEAST = 10, 5
"""A truth is kept in so many parts, of at least so many groups each: every part retrains without nothing once."""


def keep_in_parts(
    run: Run, kind: str, groups: Sequence[Tensor], folder: Path, engine: Engine | None = None
) -> tuple[Path, int]:
    """Retrain without the groups that a kept truth does not have yet, and write each part as it comes in.

    What another machine has kept belongs to that machine's run: its effects are taken over, as changes of this run's
    losses.

    Args:
        run: The run.
        kind: Which truth it is, see `baselines.kept.keep`.
        groups: All the groups of the truth.
        folder: Where it is kept.
        engine: How to retrain, see `baselines.truth.leave_one_out`.

    Returns:
        The path of the tensors, and how many groups were retrained here.

    Raises:
        SamattrError: for a retraining that diverges, damaged files, a folder that cannot be written, or one that holds
            this truth of a run that ended elsewhere: it is not written over.
    """
    kept, path = find(run, kind, folder), kept_path(run.workload, kind, folder)
    if kept is None and path.exists():
        raise SamattrError(f"{path} holds the truth of a run that ended elsewhere: keep this one in another folder")
    done = set() if kept is None else {tensor_digest(group) for group in kept.groups}
    missing = [group for group in groups if tensor_digest(group) not in done]
    size = len(missing) if missing and is_made(run, missing) else max(LEAST, math.ceil(len(groups) / PARTS))
    for part in track(list(chunks(len(missing), size)), f"parts of the truth of {run.workload.name}"):
        truth = retraining_truth(run, missing[part], engine)
        own = Kept(truth.groups, kept_losses(truth), truth.replay_error, truth.record, kept_changes(truth))
        kept = own if kept is None else joined(kept, own)
        keep(run, kind, kept, folder)
    return path, len(missing)


@dataclass(frozen=True)
class Verified:
    """A part of a kept truth beside its own retraining.

    Attributes:
        groups: Which of its groups were retrained without.
        error: How far the effects on the queries are apart, relative to the norm of those that were kept.
        tolerance: How far they may be.
        apart: See `baselines.kept.Kept`.
    """

    groups: list[int]
    error: float
    tolerance: float
    apart: float


def check_kept(workload: Workload, kind: str, folder: Path | None = None) -> None:
    """Refuse to verify a truth that is not kept, before anything is trained for it; see `verify_kept`.

    Raises:
        SamattrError: saying which.
    """
    if not kept_path(workload, kind, folder).with_suffix(".json").exists():
        raise _not_kept(workload, kind)


def _not_kept(workload: Workload, kind: str) -> SamattrError:
    return SamattrError(f"no truth '{kind}' of {workload.name} with seed {workload.seed} is kept for this run")


def verify_kept(run: Run, kind: str, folder: Path | None = None, seed: int | None = None) -> Verified:
    """Retrain without some random groups of a kept truth and compare.

    Args:
        run: The run.
        kind: Which truth it is, see `baselines.kept.keep`.
        folder: Where it is kept; by default what comes with the project.
        seed: Which groups; by default others every time.

    Raises:
        SamattrError: where no such truth is kept, it is damaged, or the effects are further apart than they may be.
    """
    kept = find(run, kind, folder)
    if kept is None:
        raise _not_kept(run.workload, kind)
    chosen = np.random.default_rng(seed).permutation(len(kept.groups))[:VERIFIED]
    picked = sorted(int(i) for i in chosen)
    after = kept_losses(retraining_truth(run, [kept.groups[i] for i in picked]))["queries"].double()
    before = kept.losses["queries"].double()
    own, known = after[1:] - after[0], before[[i + 1 for i in picked]] - before[0]
    error, tolerance = float((own - known).norm() / known.norm()), VERIFY_TOLERANCE[run.parameters.dtype]
    if not error <= tolerance:
        raise SamattrError(
            f"the kept truth '{kind}' of {run.workload.name} says other effects than retraining: {error:.1e} apart, "
            f"relative to their norm, where {tolerance:g} is allowed"
        )
    return Verified(picked, error, tolerance, kept.apart)


def joined(first: Kept, second: Kept) -> Kept:
    """Two parts of a truth as one, whose losses before any removal are those of the first."""
    losses: dict[str, Tensor] = {}
    for name, before in first.losses.items():
        after = second.losses[name].double()
        losses[name] = torch.cat([before.double(), after[1:] - after[0] + before[0].double()])
    one, other = (Timing(part.record["seconds"], part.record.get("load")) for part in (first, second))
    record = {
        **second.record,
        "seconds": (one + other).seconds,
        **noted(one + other),
        "peak_memory_bytes": max(first.record["peak_memory_bytes"], second.record["peak_memory_bytes"]),
    }
    error = max(first.replay_error, second.replay_error)
    changes = None
    if first.changes is not None and second.changes is not None:
        full = len(first.changes) < len(first.groups)
        changes = first.changes if full else torch.cat([first.changes, second.changes.to(first.changes)])[:N_CHANGES]
    return Kept([*first.groups, *second.groups], losses, error, record, changes)
