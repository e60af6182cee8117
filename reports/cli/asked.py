"""What the options of a command ask for, in the terms of the library."""

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from reports.job import Job
    from samattr_ref.workload import Workload


def workload_of(name: str, seed: int, rho: float | None, p: float | None, settings: list[str] | None) -> "Workload":
    """The workload of a name with what the options change of it.

    Raises:
        SamattrError: for a name that there is not, or two options that say two things.
    """
    from samattr_ref.catalogue import load_workload
    from samattr_ref.support.errors import SamattrError

    given = {key: value for key, value in {"rho": rho, "p": p}.items() if value is not None}
    pairs = pairs_of(settings)
    for key in given.keys() & pairs.keys():
        raise SamattrError(f"--{key} {given[key]} and --set {key}={pairs[key]} say two things: leave one out")
    return load_workload(name, seed).override(**given, **pairs)


def pairs_of(texts: list[str] | None) -> dict[str, Any]:
    """NAME=VALUE texts as a dictionary; values are JSON where they read as such, else text.

    Raises:
        SamattrError: for a name that is set twice.
    """
    from samattr_ref.support.errors import SamattrError

    pairs = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"'{text}' is not of the form NAME=VALUE")
        if name in pairs:
            raise SamattrError(f"{name} is set twice, the second time to {value}: leave one out")
        try:
            loaded = json.loads(value)
            pairs[name] = tuple(loaded) if isinstance(loaded, list) else loaded
        except ValueError:
            pairs[name] = {"None": None, "inf": math.inf}.get(value, value)
    return pairs


def job_of(
    names: list[str] | None, profile: str, workload: str | None, settings: list[str] | None, seeds: str | None
) -> "Job":
    """The job of a profile, or of another workload, settings and seeds.

    Raises:
        SamattrError: for a profile or seeds that there are not.
    """
    from baselines.studies.profiles import get_profile
    from reports.job import Job, seeds_of

    known = get_profile(profile)
    chosen = replace(known, seeds=seeds_of(seeds, known.seeds))
    return Job(chosen, tuple(names or ()), workload, pairs_of(settings))


def go_with(what: str, options: dict[str, Any]) -> None:
    """Refuse options that were given without what they belong to.

    Raises:
        SamattrError: for the first of them.
    """
    from samattr_ref.support.errors import SamattrError

    for name, value in options.items():
        if value is not None:
            raise SamattrError(f"{name} goes with {what} alone: leave it out")
