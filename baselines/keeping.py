"""Ground truth that takes longer than a machine is at hand: kept part by part, and gone on with anywhere."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from baselines.comparison import N_CHANGES
from baselines.engines import Engine
from baselines.kept import Kept, find, keep, kept_path
from baselines.truth import is_made, kept_changes, kept_losses, retraining_truth
from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import chunks
from samattr_ref.support.progress import track
from samattr_ref.support.seeds import tensor_digest

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
    kept, path = find(run, kind, folder), kept_path(run, kind, folder)
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


def joined(first: Kept, second: Kept) -> Kept:
    """Two parts of a truth as one, whose losses before any removal are those of the first."""
    losses: dict[str, Tensor] = {}
    for name, one in first.losses.items():
        other = second.losses[name].double()
        losses[name] = torch.cat([one.double(), other[1:] - other[0] + one[0].double()])
    record = {
        **second.record,
        "seconds": first.record["seconds"] + second.record["seconds"],
        "peak_memory_bytes": max(first.record["peak_memory_bytes"], second.record["peak_memory_bytes"]),
    }
    error = max(first.replay_error, second.replay_error)
    changes = None
    if first.changes is not None and second.changes is not None:
        full = len(first.changes) < len(first.groups)
        changes = first.changes if full else torch.cat([first.changes, second.changes.to(first.changes)])[:N_CHANGES]
    return Kept([*first.groups, *second.groups], losses, error, record, changes)
