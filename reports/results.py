"""The results of a profile, found in the store or made, as tidy frames for tables and figures."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from baselines.validation import GROUND_TRUTH, Validation, find_validation, validate
from samattr_ref.errors import SamattrError, unknown_name
from samattr_ref.progress import track
from samattr_ref.registry import methods
from samattr_ref.workload import Workload, load_workload


@dataclass(frozen=True)
class Profile:
    """A size of the main job.

    Attributes:
        name: What it is called on the command line.
        workloads: The workloads that it runs.
        seeds: Their seeds.
    """

    name: str
    workloads: tuple[str, ...]
    seeds: tuple[int, ...]

    def cells(self) -> list[tuple[Workload, str]]:
        """Every workload and seed with the ground truth's row and every method."""
        names = [GROUND_TRUTH, *(name for name in ORDER if name in methods()), *_others()]
        return [
            (load_workload(workload, seed), method)
            for workload in self.workloads
            for seed in self.seeds
            for method in names
        ]


ORDER = (
    "sam-hif-implicit",
    "sam-if",
    "sam-hif",
    "sam-hif-fast",
    "sam-gif",
    "if",
    "tracin",
    "tracin-cp",
    "grad-dot",
    "random",
)
"""The order of methods in tables and figures; methods of other packages follow."""

PROFILES = {"quick": Profile("quick", ("digits-logreg", "digits-mlp"), (0, 1, 2))}


@dataclass(frozen=True)
class Results:
    """What a profile gave.

    Attributes:
        profile: The profile.
        validations: One result a workload, seed and method.
        failures: What went wrong, one line a result that is missing.
    """

    profile: Profile
    validations: list[Validation]
    failures: list[str]

    def tidy(self) -> pd.DataFrame:
        """One row a workload, method, seed and metric: value and its 95 % interval over queries or removed points."""
        rows = []
        for result in self.validations:
            cell = {"workload": result.workload, "method": result.method, "seed": result.seed}
            for metric, value in result.metrics.items():
                if isinstance(value, dict):
                    value, bounds = value["mean"], value["ci95"]
                else:
                    bounds = result.intervals.get(metric)
                if value is not None:
                    low, high = bounds or (None, None)
                    rows.append({**cell, "metric": metric, "value": value, "low": low, "high": high})
            costs = {"runtime_s": result.runtime_s, "peak_memory_bytes": float(result.peak_memory_bytes)}
            rows += [
                {**cell, "metric": name, "value": value, "low": None, "high": None} for name, value in costs.items()
            ]
        return pd.DataFrame(rows).astype({"low": float, "high": float})


def get_profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        SamattrError: if there is none.
    """
    if name not in PROFILES:
        raise unknown_name("profile", name, PROFILES)
    return PROFILES[name]


def make_results(profile: Profile) -> Results:
    """Train, retrain and attribute whatever is not on disk yet. One method's failure does not stop the others."""
    return _gather(profile, lambda method, workload: validate(method, workload))


def find_results(profile: Profile) -> Results:
    """The results that are on disk; computes nothing.

    Raises:
        SamattrError: if there is none at all.
    """

    def find(method: str, workload: Workload) -> Validation:
        found = find_validation(method, workload)
        if found is None:
            raise SamattrError("not computed yet")
        return found

    results = _gather(profile, find)
    if not results.validations:
        raise SamattrError(
            f"no results of profile '{profile.name}' on disk: run samattr reproduce --profile {profile.name}"
        )
    return results


def _gather(profile: Profile, get: Callable[[str, Workload], Validation]) -> Results:
    validations, failures = [], []
    for workload, method in track(profile.cells(), f"profile {profile.name}"):
        try:
            validations.append(get(method, workload))
        except SamattrError as error:
            failures.append(f"{method} on {workload.name}, seed {workload.seed}: {error}")
    return Results(profile, validations, failures)


def _others() -> list[str]:
    return sorted(set(methods()) - set(ORDER))


def provenance(results: Results, command: str) -> dict[str, Any]:
    """What a reader needs to make the results again: command, seeds, hardware, versions, numbers of points."""
    first = results.validations[0]
    return {
        "command": command,
        "one_cell": "samattr validate METHOD --workload WORKLOAD --seed SEED --json",
        "seeds": list(results.profile.seeds),
        "environments": _distinct([result.environment for result in results.validations]),
        "n_train": first.n_train,
        "n_query": first.n_query,
        "n_removed": first.n_removed,
        "failures": results.failures,
    }


def _distinct(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    distinct: list[dict[str, Any]] = []
    for item in items:
        if item not in distinct:
            distinct.append(item)
    return distinct
