"""Retrainings that diverged: a truth is without them, and whoever needs each of its groups asks for a whole one."""

from baselines.truth import Truth
from samattr_ref.support.errors import UnstableError


def whole(truth: Truth) -> Truth:
    """The truth, where none of its retrainings diverged: its groups are those that were asked for, in their order.

    Raises:
        UnstableError: where one did.
    """
    if said := lost(truth):
        raise UnstableError(
            f"{said['diverged']} of {said['retrainings']} retrainings of {truth.run.workload.name} diverged, and each "
            "is needed here: lower the learning rate or rho"
        )
    return truth


def lost(*truths: Truth) -> dict[str, int]:
    """How many of the `retrainings` of truths `diverged`, as `samattr_ref.marks` reads it; empty where none did."""
    diverged = sum(len(truth.record.get("diverged", ())) for truth in truths)
    return {"diverged": diverged, "retrainings": sum(len(t.groups) for t in truths) + diverged} if diverged else {}
