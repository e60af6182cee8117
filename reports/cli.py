"""The program `samattr`: results on standard output, everything else on standard error; exit status 0, 1 or 2."""

import json
import math
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from baselines.truth import leave_one_out, save_values
from baselines.validation import validate as run_validation
from reports.page import check_names, write
from reports.results import find_results, get_profile, make_results
from samattr_ref.errors import SamattrError
from samattr_ref.registry import methods as all_methods
from samattr_ref.training import train
from samattr_ref.workload import Workload, load_workload
from samattr_ref.workload import workloads as all_workloads

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Which training points made a sharpness-aware trained network what it is, held against exact retraining.",
)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the split, the noise, the initial parameters and the batches.")]
Rho = Annotated[float | None, typer.Option(help="Another perturbation radius ρ than the workload's.")]
Norm = Annotated[float | None, typer.Option("--p", help="Another order of the perturbation's norm, 1 to inf.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Another value for a field of the workload, as in n_train=200."),
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="An option of the method, as in damping=0.01."),
]
ProfileName = Annotated[str, typer.Option("--profile", help="Size of the job: quick.")]
Out = Annotated[Path, typer.Option(help="Folder that reports are written under.")]
DEFAULT_OUT = Path("reports/out")


@app.command()
def workloads(as_json: JsonFlag = False) -> None:
    """List the workloads."""
    names = all_workloads()
    if as_json:
        print(json.dumps(names))
        return
    for name in names:
        workload = load_workload(name)
        print(f"{name:16} {workload.data}  {workload.model}  {workload.recipe}")


@app.command()
def methods(as_json: JsonFlag = False) -> None:
    """List the attribution methods."""
    known = all_methods()
    if as_json:
        print(json.dumps(list(known)))
        return
    for name, method in known.items():
        print(f"{name:18} {method.summary} ({method.source})")


@app.command()
def truth(
    workload: Annotated[str, typer.Argument(help="A workload's name, or package.module:attribute.")],
    seed: Seed = 0,
    rho: Rho = None,
    p: Norm = None,
    settings: Settings = None,
    as_json: JsonFlag = False,
) -> None:
    """Make exact leave-one-out ground truth, or go on with it where it stopped."""
    chosen = _workload(workload, seed, rho, p, settings)
    found = leave_one_out(train(chosen))
    save_values(found)
    result = {
        "workload": chosen.name,
        "seed": chosen.seed,
        "n_removed": len(found.groups),
        "n_query": found.values.shape[1],
        "path": str(found.path),
        "sha256": found.sha256,
        "replay_error": found.replay_error,
        **found.record,
    }
    _print(result, as_json)


@app.command()
def validate(
    method: Annotated[str, typer.Argument(help="A method's name, or package.module:function.")],
    workload: Annotated[str, typer.Option(help="A workload's name, or package.module:attribute.")] = "digits-logreg",
    seed: Seed = 0,
    options: Options = None,
    rho: Rho = None,
    p: Norm = None,
    settings: Settings = None,
    as_json: JsonFlag = False,
) -> None:
    """Hold a method against exact leave-one-out retraining."""
    chosen = _workload(workload, seed, rho, p, settings)
    _print(run_validation(method, chosen, options=_pairs(options)).summary(), as_json)


@app.command()
def reproduce(profile: ProfileName = "quick", out: Out = DEFAULT_OUT, as_json: JsonFlag = False) -> None:
    """The main job: train, make ground truth, run every method, write tables, figures and the page."""
    _report(profile, out, None, as_json, compute=True)


@app.command()
def report(
    names: Annotated[list[str] | None, typer.Argument(help="table, scatter, noise; all by default.")] = None,
    profile: ProfileName = "quick",
    out: Out = DEFAULT_OUT,
    as_json: JsonFlag = False,
) -> None:
    """Draw tables and figures again from what is on disk."""
    _report(profile, out, names, as_json, compute=False)


def main() -> None:
    """Run the program. A user's mistake is one line on standard error, never a traceback."""
    warnings.filterwarnings("ignore", message=".*torch.jit.script.*", category=FutureWarning)  # torch's own, from jvp
    try:
        app()
    except SamattrError as error:
        print(f"samattr: {error}", file=sys.stderr)
        sys.exit(1)


def _workload(name: str, seed: int, rho: float | None, p: float | None, settings: list[str] | None) -> Workload:
    given = {key: value for key, value in {"rho": rho, "p": p}.items() if value is not None}
    return load_workload(name, seed).override(**given, **_pairs(settings))


def _pairs(texts: list[str] | None) -> dict[str, Any]:
    """NAME=VALUE texts as a dictionary; values are JSON where they read as such, else text."""
    pairs = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"'{text}' is not of the form NAME=VALUE")
        try:
            loaded = json.loads(value)
            pairs[name] = tuple(loaded) if isinstance(loaded, list) else loaded
        except ValueError:
            pairs[name] = {"None": None, "inf": math.inf}.get(value, value)
    return pairs


def _report(profile_name: str, out: Path, names: list[str] | None, as_json: bool, compute: bool) -> None:
    profile = get_profile(profile_name)
    check_names(names)
    results = (make_results if compute else find_results)(profile)
    if not results.validations:
        raise SamattrError(f"every cell of profile '{profile_name}' failed, the first: {results.failures[0]}")
    folder = out / profile.name
    command = f"samattr reproduce --profile {profile.name}"
    tables = write(results, folder, command, names)
    if as_json:
        _print({"profile": profile.name, "path": str(folder), "failures": results.failures}, True)
    else:
        print(tables)
    if results.failures:
        missing = f"{len(results.failures)} results are missing from {folder}, the first: {results.failures[0]}"
        raise SamattrError(missing)
    print(f"written to {folder}", file=sys.stderr)


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(_finite(result)))
        return
    for name, value in result.items():
        print(f"{name:18} {json.dumps(_finite(value))}")


def _finite(value: Any) -> Any:
    """The value with numbers that JSON does not know (NaN, infinity) as null."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    main()
