"""The profiles: sizes of the main job, whose validations are made or found in the store, as tidy frames."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from baselines.validation import GROUND_TRUTH, Validation, find_validation, validate
from samattr_ref.catalogue import WORKLOADS, load_workload
from samattr_ref.registry import methods
from samattr_ref.support.errors import SamattrError, unknown_name
from samattr_ref.support.progress import track
from samattr_ref.workload import Workload

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Profile:
    """A size of the main job.

    Attributes:
        name: What it is called on the command line.
        workloads: The workloads that every method is validated on.
        seeds: Their seeds.
    """

    name: str
    workloads: tuple[str, ...]
    seeds: tuple[int, ...]

    def cells(self, settings: Mapping[str, Any]) -> list[tuple[Workload, str]]:
        """Every workload, with some fields overridden, and seed with the ground truth's row and every method."""
        names = [GROUND_TRUTH, *methods()]
        return [
            (load_workload(workload, seed).override(**settings), method)
            for workload in self.workloads
            for seed in self.seeds
            for method in names
        ]


SEEDS = {"quick": (0, 1, 2), "desk": (0, 1, 2), "beyond": (0, 1, 2), "large": (0,), "real": (0,), "paper": (0, 1, 2)}
"""The seeds of each profile. `quick`: minutes. `desk`: every experiment of the paper, an hour or two on 2 cores.
`beyond`: the exact derivative of the run and the paper's open questions. `large`: half an hour. `real`: trained
networks on whole data sets, hours. `paper`: a GPU."""

PROFILES = {
    profile: Profile(profile, tuple(name for name, listed in WORKLOADS.items() if profile in listed.profiles), seeds)
    for profile, seeds in SEEDS.items()
}
"""The profiles, with the workloads whose registration names them."""

for _name, _listed in WORKLOADS.items():
    for _profile in set(_listed.profiles) - set(PROFILES):
        log.warning("workload '%s' is in no profile '%s': there are %s", _name, _profile, ", ".join(PROFILES))


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

    def networks(self) -> pd.DataFrame:
        """What training made of each network: `workload`, `seed`, `n_train` and `trained_*`, a row a validation."""
        return pd.DataFrame(
            [
                {"workload": result.workload, "seed": result.seed, "n_train": result.n_train}
                | {f"trained_{name}": value for name, value in result.trained.items()}
                for result in self.validations
            ]
        )

    def tidy(self) -> pd.DataFrame:
        """One row a workload, method, seed and metric: value and its 95 % interval over queries or removed points.

        `marks` are the reasons to mark what is made of the result, as one text; empty where there are none.
        """
        rows = []
        for result in self.validations:
            marks = "; ".join(result.marks)
            cell = {"workload": result.workload, "method": result.method, "seed": result.seed, "marks": marks}
            for metric, value in result.metrics.items():
                if isinstance(value, dict):
                    value, bounds = value["mean"], value["ci95"]
                else:
                    bounds = result.intervals.get(metric)
                if value is not None:
                    low, high = bounds or (None, None)
                    rows.append({**cell, "metric": metric, "value": value, "low": low, "high": high})
            costs = {"runtime_s": result.runtime_s, "load": result.load, "disturbed": result.disturbed}
            costs |= {"peak_memory_bytes": result.peak_memory_bytes}
            rows += [
                {**cell, "metric": name, "value": float(value), "low": None, "high": None}
                for name, value in costs.items()
                if value is not None
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


def make_results(profile: Profile, settings: Mapping[str, Any] | None = None) -> Results:
    """Train, retrain and attribute whatever is not on disk yet. One method's failure does not stop the others.

    Args:
        profile: The profile.
        settings: Fields of its workloads that are overridden.
    """
    return _gather(profile, settings, lambda method, workload: validate(method, workload))


def find_results(profile: Profile, settings: Mapping[str, Any] | None = None) -> Results:
    """The results that are on disk; computes nothing.

    Args:
        profile: The profile.
        settings: Fields of its workloads that are overridden.

    Raises:
        SamattrError: if there is none at all.
    """

    def find(method: str, workload: Workload) -> Validation:
        found = find_validation(method, workload)
        if found is None:
            raise SamattrError("not computed yet")
        return found

    results = _gather(profile, settings, find)
    if not results.validations:
        raise SamattrError(
            f"no results of profile '{profile.name}' on disk: run samattr reproduce --profile {profile.name}"
        )
    return results


def _gather(
    profile: Profile, settings: Mapping[str, Any] | None, get: Callable[[str, Workload], Validation]
) -> Results:
    validations, failures = [], []
    for workload, method in track(profile.cells(settings or {}), f"profile {profile.name}"):
        try:
            validations.append(get(method, workload))
        except SamattrError as error:
            failures.append(f"{method} on {workload.name}, seed {workload.seed}: {error}")
    return Results(profile, validations, failures)
