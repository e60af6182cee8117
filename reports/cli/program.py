"""The program `samattr`: results on standard output, everything else on standard error; exit status 0, 1 or 2.

What a command works with is imported when it is called, so that `--help` and a misspelt option do not wait for torch.
"""

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reports.cli.asked import go_with, job_of, pairs_of, workload_of
from reports.cli.options import (
    Address,
    AskedOf,
    EngineName,
    ExecutorKind,
    ExecutorName,
    GpusACall,
    Jobs,
    JsonFlag,
    Measures,
    MemoryBytes,
    Names,
    Norm,
    OneWorkload,
    Options,
    Out,
    ProfileName,
    Quiet,
    Rho,
    Runs,
    Seed,
    Seeds,
    Settings,
    Version,
    work_by,
)
from reports.cli.output import App, show, written
from reports.cli.plan import app as plan_app
from reports.cli.stopping import stoppable
from reports.cli.store import app as store_app
from reports.form import Form

if TYPE_CHECKING:
    from reports.job import Job

app = App(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


app.add_typer(plan_app, name="plan", help="Say what a piece of work takes, before it is begun.")
app.add_typer(store_app, name="store", help="Look after what is on disk: list, verify, sweep, export, import.")

DEFAULT_OUT = Path("reports/out")
OWN_ROWS, FIRST = Path("leaderboard"), "digits-mlp"


@app.callback()
def program(version: Version = False) -> None:
    """Which training points made a sharpness-aware trained network what it is, held against exact retraining."""


@app.command()
def workloads(as_json: JsonFlag = False) -> None:
    """List the workloads."""
    from samattr_ref.catalogue import load_workload
    from samattr_ref.catalogue import workloads as all_workloads

    names = all_workloads()
    if as_json:
        show(json.dumps(names))
        return
    for name in names:
        workload = load_workload(name)
        show(f"{name:16} {workload.data}  {workload.model}  {workload.recipe}")


@app.command()
def methods(as_json: JsonFlag = False) -> None:
    """List the attribution methods."""
    from samattr_ref.registry import methods as all_methods

    known = all_methods(optional=True)
    if as_json:
        show(json.dumps(list(known)))
        return
    for name, method in known.items():
        needs = f"; needs {method.library.package}: {method.library.install}" if method.library else ""
        show(f"{name:18} {method.summary} ({method.source}){needs}")


@app.command()
def truth(
    workload: Annotated[str, typer.Argument(help="A workload's name, or package.module:attribute.")],
    seed: Seed = 0,
    rho: Rho = None,
    p: Norm = None,
    settings: Settings = None,
    engine: EngineName = None,
    fraction: Annotated[float | None, typer.Option(help="Remove random subsets of this share of the points.")] = None,
    count: Annotated[int, typer.Option(help="How many subsets.")] = 50,
    keep: Annotated[Path | None, typer.Option(help="A folder to write the losses into, for others to use.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Remake a random part of a kept truth and compare.")] = False,
    executor: ExecutorName = ExecutorKind.IN_PROCESS,
    address: Address = None,
    gpus: GpusACall = None,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """Make exact leave-one-out ground truth, or that of random subsets, or go on with it, or verify what is kept."""
    from baselines.keeping import check_kept, keep_in_parts, verify_kept
    from baselines.truth import (
        leave_one_out,
        random_subsets,
        save_values,
        single_points,
        single_points_name,
        subset_retraining,
        subset_size,
        subsets_name,
    )
    from reports.page import check_folder
    from samattr_ref.training import train

    chosen = workload_of(workload, seed, rho, p, settings)
    kind = single_points_name(chosen) if fraction is None else subsets_name(fraction, count, chosen.seed)
    if fraction is not None:
        subset_size(len(chosen.splits.train), fraction, count)
    if verify:
        check_kept(chosen, kind, keep)
    elif keep is not None:
        check_folder(keep, "--keep")
    with work_by(executor, address, gpus):
        run = train(chosen)
        if verify:
            verified = verify_kept(run, kind, keep)
            _print({"workload": chosen.name, "truth": kind, **asdict(verified)}, as_json)
            return
        if keep is not None:
            groups = single_points(run) if fraction is None else random_subsets(run, fraction, count, chosen.seed)
            path, retrained = keep_in_parts(run, kind, groups, keep, engine)
            kept = {"workload": chosen.name, "path": str(path), "n_groups": len(groups), "retrained": retrained}
            _print(kept, as_json)
            return
        if fraction is None:
            found = leave_one_out(run, engine)
        else:
            found = subset_retraining(run, fraction, count, chosen.seed, engine)
    if found.kept is None:
        save_values(found)
    result = {
        "workload": chosen.name,
        "seed": chosen.seed,
        "n_removed" if fraction is None else "n_subsets": len(found.groups),
        "n_query": found.values.shape[1],
        "path": str(found.path),
        "sha256": found.sha256,
        "replay_error": found.replay_error,
        **found.record,
    }
    _print(result, as_json)


@app.command("export")
def export_run(
    workload: Annotated[str, typer.Argument(help="A workload's name, or package.module:attribute.")],
    out: Annotated[Path, typer.Option(help="The folder to write; an earlier export there is replaced.")],
    seed: Seed = 0,
    rho: Rho = None,
    p: Norm = None,
    settings: Settings = None,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """Write what another program needs to make scores: points, parameters, batches, step sizes."""
    from baselines.exporting import check_export_folder, export
    from samattr_ref.training import train

    chosen = workload_of(workload, seed, rho, p, settings)
    check_export_folder(out)
    run = train(chosen)
    path = export(run, out)
    _print({"workload": chosen.name, "seed": chosen.seed, "path": str(path), "run": run.digest}, as_json)


@app.command()
def validate(
    method: Annotated[str | None, typer.Argument(help="A method's name, or package.module:function.")] = None,
    workload: Annotated[str, typer.Option(help="A workload's name, or package.module:attribute.")] = "digits-logreg",
    seed: Seed = 0,
    options: Options = None,
    rho: Rho = None,
    p: Norm = None,
    settings: Settings = None,
    memory_bytes: MemoryBytes = None,
    runs: Runs = 1,
    functional: AskedOf = "loss",
    measures: Measures = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="In place of a method: scores of another program, .npy, .safetensors or .parquet."),
    ] = None,
    layout: Annotated[str | None, typer.Option(help="What their axes are: train-query or query-train.")] = None,
    of_run: Annotated[
        str | None, typer.Option("--run", help="The digest of the run that they are of, or the exported run.json.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call them; by default as the file.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long they took to make.")] = None,
    executor: ExecutorName = ExecutorKind.IN_PROCESS,
    address: Address = None,
    gpus: GpusACall = None,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """Hold a method, or scores that another program made, against exact leave-one-out retraining."""
    from baselines.chaotic import with_growth
    from baselines.others_scores import validate_scores
    from baselines.score_files import LAYOUTS, read_scores
    from baselines.validation import validate as run_validation
    from samattr_ref.support.errors import SamattrError

    chosen = workload_of(workload, seed, rho, p, settings)
    if method is not None and scores is None:
        go_with("--scores", {"--layout": layout, "--run": of_run, "--name": name, "--seconds": seconds})
        with work_by(executor, address, gpus):
            result = run_validation(
                method,
                chosen,
                options=pairs_of(options),
                memory_bytes=memory_bytes,
                runs=runs,
                functional=functional,
                measures=measures or (),
            )
    elif scores is not None and method is None:
        several = None if runs == 1 else runs
        another = None if functional == "loss" else functional
        of_method = {"--option": options, "--memory-bytes": memory_bytes, "--runs": several}
        go_with("a METHOD", of_method | {"--functional": another, "--measure": measures})
        cluster = None if executor == ExecutorKind.IN_PROCESS else executor
        go_with("a METHOD", {"--executor": cluster, "--address": address, "--gpus-per-task": gpus})
        if layout is None:
            raise SamattrError(f"--layout is missing: say {' or '.join(LAYOUTS)}")
        found = read_scores(scores, layout, of_run)
        made_for, validation = found.made_for, found.validation
        result = validate_scores(
            found.values, chosen, name or scores.stem, made_for=made_for, validation=validation, seconds=seconds
        )
    else:
        raise typer.BadParameter("give a METHOD, or --scores of another program: one of the two")
    _print(with_growth(result, chosen).summary(), as_json)


@app.command()
def check(
    method: Annotated[str, typer.Argument(help="A method's name, or package.module:function.")],
    options: Options = None,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """Hold a method against its contract on tiny networks, in seconds: shape, sign, order, duplicates and more."""
    from baselines.checker import check as run_check
    from samattr_ref.support.errors import SamattrError

    findings = run_check(method, pairs_of(options))
    failed = [finding for finding in findings if finding.passed is False]
    if as_json:
        _print({"method": method, "passed": not failed, "findings": [asdict(finding) for finding in findings]}, True)
    else:
        show("\n".join(map(str, findings)))
    if failed:
        names = ", ".join(finding.check for finding in failed)
        raise SamattrError(f"{method} fails {len(failed)} of {len(findings)} checks: {names}")


@app.command()
def new_method(
    name: Annotated[str, typer.Argument(help="The method's name: letters, digits, hyphens and underscores.")],
    out: Annotated[Path, typer.Option(help="Folder to write into; the working directory by default.")] = Path(),
    as_json: JsonFlag = False,
) -> None:
    """Write the file of a new method, which works and is documented, and its test."""
    from reports.scaffold import new_method as write_method

    written = write_method(name, out)
    _print({"method": str(written.method), "test": str(written.test), "check": written.command}, as_json)


@app.command()
def leaderboard(
    workloads: Annotated[
        list[str] | None, typer.Option("--workload", help="A workload; by default all that have rows.")
    ] = None,
    add: Annotated[
        list[str] | None, typer.Option(help="A method to validate and add: a name, or path/to/file.py:function.")
    ] = None,
    rows: Annotated[Path, typer.Option(help="Your folder of rows, beside those that come with samattr.")] = OWN_ROWS,
    seeds: Annotated[str, typer.Option(help="The seeds that --add takes.")] = "0,1,2",
    verify: Annotated[Path | None, typer.Option(help="A row, as a JSON file, to make again and compare.")] = None,
    method: Annotated[str | None, typer.Option(help="Where the method of the row to verify is found.")] = None,
    form: Annotated[Form, typer.Option("--format", help="How it is written.")] = Form.MARKDOWN,
    executor: ExecutorName = ExecutorKind.IN_PROCESS,
    address: Address = None,
    gpus: GpusACall = None,
    quiet: Quiet = False,
) -> None:
    """Rank the methods that were held against the ground truths that come with samattr; add one, or verify a row."""
    from baselines.leaderboard.entry import ROWS, check_addition, check_truths, make_row, verify_row
    from baselines.leaderboard.row import read_row, read_rows, write_row
    from reports.job import seeds_of
    from reports.page import check_folder
    from reports.standings import standings
    from samattr_ref.catalogue import load_workload

    if verify is not None:
        _print(asdict(verify_row(read_row(verify), method)), form == Form.JSON)
        return
    go_with("--verify", {"--method": method})
    for workload in workloads or ():
        if not any((folder / workload).is_dir() for folder in (ROWS, rows)):
            load_workload(workload)  # refused where there is none of that name
    if add:
        check_folder(rows, "--rows")
    taken = seeds_of(seeds, ())
    pairs = [(name, workload) for name in add or () for workload in workloads or [FIRST]]
    ready = [check_addition(name, workload, taken)[0] for name, workload in pairs]
    with work_by(executor, address, gpus):
        for one, (_, workload) in zip(ready, pairs, strict=True):
            for tuned in (True, False) if one.tune else (True,):
                row = make_row(one, workload, tuned, taken)
                print(f"written to {write_row(row, rows)}", file=sys.stderr)
    found = {(row.workload, row.name): row for row in [*read_rows(ROWS), *read_rows(rows)]}
    for row in found.values():
        check_truths(row)
    chosen = workloads or ([FIRST] if add else list(dict.fromkeys(name for name, _ in found)))
    show(standings([row for row in found.values() if row.workload in chosen], form))


@app.command()
def reproduce(
    names: Names = None,
    profile: ProfileName = "quick",
    workload: OneWorkload = None,
    settings: Settings = None,
    seeds: Seeds = None,
    jobs: Jobs = None,
    out: Out = DEFAULT_OUT,
    executor: ExecutorName = ExecutorKind.IN_PROCESS,
    address: Address = None,
    gpus: GpusACall = None,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """The main job: train, make ground truth, run every method, write tables, figures and the page."""
    from samattr_ref.support.errors import SamattrError

    job = job_of(names, profile, workload, settings, seeds)
    if jobs is not None and executor != ExecutorKind.IN_PROCESS:
        raise SamattrError("--jobs are processes of this machine: leave it out with --executor ray")
    with work_by(executor, address, gpus):
        _report(job, jobs, out, as_json, compute=True, html=True)


@app.command()
def report(
    names: Names = None,
    profile: ProfileName = "quick",
    workload: OneWorkload = None,
    settings: Settings = None,
    seeds: Seeds = None,
    kept: Annotated[
        Path | None, typer.Option("--from", help="A page's folder, such as reports/reference/beyond: its own rows.")
    ] = None,
    out: Out = DEFAULT_OUT,
    html: Annotated[bool, typer.Option("--html", help="Write the page for a browser too, report.html.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Draw tables and figures again, from what is on disk or from the rows of a page."""
    from reports.committed import redraw
    from reports.html.document import write_html
    from reports.page import check_folder
    from samattr_ref.support.errors import SamattrError

    if kept is not None:
        if workload or settings or seeds:
            raise SamattrError("--from draws a page as it was made: leave out --workload, --set and --seeds")
        path = out / kept.resolve().name
        check_folder(path)
        drawn = redraw(kept, path, names or ())
        _print({"path": str(write_html(path) if html else path), "drawn": drawn}, as_json)
        return
    job = job_of(names, profile, workload, settings, seeds)
    _report(job, None, out, as_json, compute=False, html=html)


def main() -> None:
    """Run the program. A user's mistake is one line on standard error, never a traceback."""
    try:
        with stoppable(), written(sys.stdout):
            app()
    except Exception as error:
        from samattr_ref.support.errors import SamattrError  # what raised it has loaded it

        if not isinstance(error, SamattrError):
            raise
        print(f"samattr: {error}", file=sys.stderr)
        sys.exit(1)


def _report(job: "Job", jobs: int | None, out: Path, as_json: bool, compute: bool, html: bool) -> None:
    from reports.html.document import write_html
    from reports.job import folder, run
    from reports.page import check_folder, write
    from samattr_ref.support.errors import SamattrError

    path = folder(job, out)
    if compute:
        check_folder(path)
    results, measured = run(job, jobs, compute)
    tables = write(job, results, measured, path)
    written = write_html(path) if html else path
    failures = [*(results.failures if results else []), *(line for part in measured for line in part.failures)]
    if as_json:
        _print({"profile": job.profile.name, "path": str(written), "failures": failures}, True)
    else:
        show(tables)
    if failures:
        raise SamattrError(f"{len(failures)} results are missing from {path}, the first: {failures[0]}")
    print(f"written to {written}", file=sys.stderr)


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show(json.dumps(_finite(result)))
        return
    for name, value in result.items():
        show(f"{name:18} {json.dumps(_finite(value))}")


def _finite(value: Any) -> Any:
    """The value with numbers that JSON does not know (NaN, infinity) as null."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    main()
