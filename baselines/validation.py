"""Validation: one method on one workload and seed, against exact leave-one-out retraining."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines import metrics
from baselines.comparison import Comparison, metrics_within
from baselines.diverged import lost
from baselines.executors import executor
from baselines.kept import N_CHANGES
from baselines.keys import is_ours, method_digest, metrics_digest, workload_digest
from baselines.measure import measured
from baselines.quality import quality
from baselines.retraining_measures import asked, measured_values
from baselines.truth import QUICK_SECONDS, Truth, find_leave_one_out, leave_one_out, retraining_truth
from samattr_ref.attribution import attribute, influence_score, parameter_change
from samattr_ref.catalogue import load_workload
from samattr_ref.data import Examples
from samattr_ref.implicit.warm_starts import warm_starts
from samattr_ref.marks import marks_of
from samattr_ref.network.functionals import LOSS, get_functional
from samattr_ref.registry import Method, as_method, get_method
from samattr_ref.run import Run
from samattr_ref.solvers.dense import DENSE_LIMIT
from samattr_ref.support import store
from samattr_ref.support.environment import environment
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import given_bytes, memory_bound
from samattr_ref.support.progress import working
from samattr_ref.support.seeds import json_digest
from samattr_ref.support.source import reach
from samattr_ref.support.timing import Timing, noted
from samattr_ref.training import train
from samattr_ref.workload import Workload

GROUND_TRUTH = "loo"
"""The ground truth's own row: exact leave-one-out effects, held against themselves where that says something."""


@dataclass(frozen=True)
class Validation:
    """How one method did on one workload and seed.

    Attributes:
        workload: The workload's name.
        method: The method's name.
        seed: The workload's seed.
        n_train: Training points.
        n_query: Queries that the metrics are over; none of them chose an option.
        n_removed: Points that the ground truth removed.
        trained: What training made of the network, see `baselines.quality.Quality`.
        metrics: By name: `{"mean", "ci95"}` for per-query correlations, a number for the others, None where the method
            does not define one or the workload has no wrong labels.
        intervals: Bootstrap 95 % intervals of the metrics that are numbers.
        diagnostics: Options and how they were chosen, solver status and residual, growth, ‖g‖, ρ/‖g‖, what is to be
            said of the truth.
        runtime_s: Seconds for the scores of all training points and queries, nothing computed before; None where
            another program made them and did not say.
        load: Of these seconds, see `samattr_ref.support.timing`; None where it is not known.
        disturbed: Whether other programs took too much of the processor meanwhile for the seconds to be the method's.
        peak_memory_bytes: See `baselines.measure.Cost`; None of another program's.
        environment: Versions and hardware.
        per_query: The correlations of every query, for intervals over seeds.
        mean_effect: Predicted and true effect on the mean query of every removed point, for the scatter.
        influence: Influence Score on the validation set of every training point, and which labels are wrong; empty
            where another program gave none.
        functional: What of the queries was attributed, see `samattr_ref.network.functionals`. Influence Scores, and
            what they find, are always of the loss.
        measures: What was asked for beside the metrics, see `baselines.retraining_measures`: by name and share of the
            training points, `{"mean", "ci95"}` over queries.
    """

    workload: str
    method: str
    seed: int
    n_train: int
    n_query: int
    n_removed: int
    trained: dict[str, Any]
    metrics: dict[str, Any]
    intervals: dict[str, list[float] | None]
    diagnostics: dict[str, Any]
    runtime_s: float | None
    peak_memory_bytes: int | None
    environment: dict[str, Any]
    per_query: dict[str, list[float]] = field(repr=False)
    mean_effect: dict[str, list[float]] = field(repr=False)
    influence: dict[str, list[float]] = field(repr=False)
    functional: str = LOSS.name
    measures: dict[str, dict[str, Any]] = field(default_factory=dict)
    load: float | None = None
    disturbed: bool | None = None

    @property
    def marks(self) -> list[str]:
        """What must be known before the numbers are believed, in plain words, see `samattr_ref.marks`."""
        return marks_of(self.diagnostics)

    def summary(self) -> dict[str, Any]:
        """What `samattr validate --json` prints: all but the point-wise lists."""
        shown = {k: v for k, v in asdict(self).items() if k not in ("per_query", "mean_effect", "influence")}
        return shown | {"marks": self.marks}


def validate(
    method: str | Callable[..., Any] | Method,
    workload: Workload | str,
    seed: int | None = None,
    options: Mapping[str, Any] | None = None,
    memory_bytes: int | None = None,
    runs: int = 1,
    functional: str = LOSS.name,
    measures: Sequence[str] = (),
) -> Validation:
    """Hold a method against exact leave-one-out retraining.

    Trains the workload and makes its ground truth, or finds both on disk. Options in the method's declared grid that
    are not given are chosen by mean per-query Spearman on the workload's tuning queries; the metrics are over its
    other queries.

    Args:
        method: A method's name, a user's `package.module:function`, a function, or `loo` for the ground truth's own
            row.
        workload: A workload or its name.
        seed: Its seed; by default the workload's own, or 0.
        options: Options of the method that are given.
        memory_bytes: What the method may hold at once, see `samattr_ref.attribute`; retraining has its own bound.
        runs: Over how many runs of the same training scores are averaged, see there; they are held against the truth of
            the workload's own run, and the further trainings count as the method's time.
        functional: What of the queries is attributed: `loss`, `margin` or `logit`.
        measures: Measures that retrain, beside the metrics, as `"qld"` or `"lds=0.05,0.5"`: see
            `baselines.retraining_measures`. How many retrainings they take at most is said before.

    Returns:
        Metrics with intervals, runtime and peak memory. Stored, and found again, for the methods that come with the
        project.

    Raises:
        SamattrError: for unknown names or options, and whatever keeps the method from giving scores.
    """
    workload = at_seed(workload, seed)
    chosen = None if method == GROUND_TRUTH else as_method(method)
    get_functional(functional)
    wanted = [asked(text) for text in measures]
    for each in wanted:
        each.check(len(workload.splits.train))
    if chosen:
        chosen.check_functional(functional, workload.loss)
        chosen.check({**first_of_grid(chosen), **(options or {})})
    elif runs > 1:
        raise SamattrError(f"{GROUND_TRUTH} is what one run does: leave out runs")
    elif wanted and workload.n_removed is not None:
        raise SamattrError(f"{GROUND_TRUTH} has no effect of points that were not removed: measures take every point")
    name = chosen.name if chosen else GROUND_TRUTH
    ours = chosen is None or is_ours(chosen)
    path = result_path(workload, name, options or {}, memory_bytes, runs, functional) if ours else None
    if path and (stored := store.load(path, "validation")) is not None:
        result = Validation(**stored[0])
    else:
        run = train(workload)
        if chosen and (options or not ours) and find_leave_one_out(run) is None:
            _try_once(chosen, run, dict(options or {}), functional)
        truth = leave_one_out(run)
        if truth.kept is not None:
            truth.effects(workload.queries.of(functional))  # refused where it is not, before the method is paid for
        with memory_bound(memory_bytes), working(f"scores of {name} on {workload.name}"):
            given = dict(options or {})
            result = _validate(chosen, truth, given, runs, functional) if chosen else _validate_truth(truth, functional)
        if path:
            store.save(path, "validation", asdict(result))
    if not wanted:
        return result

    def score(run: Run, queries: Examples) -> torch.Tensor:
        if chosen is None:
            return leave_one_out(run).effects(queries)
        used = result.diagnostics["options"]
        return attribute(run, chosen.function, queries, memory_bytes=memory_bytes, runs=runs, **used).values

    own = runs - 1 if chosen else result.n_train
    found = measured_values(workload, name, functional, wanted, score, own, path)
    return replace(result, measures=found)


def _try_once(method: Method, run: Run, given: dict[str, Any], functional: str) -> None:
    """Have what was not tried before, a user's method or value of an option, fail before retraining is paid for.

    Raises:
        SamattrError: what keeps the method from giving scores of one query with any option of its grid.
    """
    query = run.splits.tuning.take(torch.arange(1)).of(functional)
    axes = {name: values for name, values in grid_of(method, run).items() if name not in given}
    failure: SamattrError | None = None
    for values in itertools.product(*axes.values()):
        try:
            attribute(run, method.function, query, **given, **dict(zip(axes, values, strict=True)))
        except SamattrError as error:
            failure = error
        else:
            return
    assert failure is not None  # a grid has values
    raise failure


def at_seed(workload: Workload | str, seed: int | None) -> Workload:
    """A workload, or that of a name, at a seed; by default its own, or 0."""
    if isinstance(workload, str):
        return load_workload(workload, seed or 0)
    return workload if seed is None else replace(workload, seed=seed)


def find_validation(method: str, workload: Workload) -> Validation | None:
    """The stored result of a method that chose its own options, or None; trains and computes nothing."""
    stored = store.load(result_path(workload, method, {}), "validation")
    return None if stored is None else Validation(**stored[0])


def result_path(
    workload: Workload,
    method: str,
    options: Mapping[str, Any],
    memory_bytes: int | None = None,
    runs: int = 1,
    functional: str = LOSS.name,
) -> Path:
    """The folder of a stored result, by the hash of the workload's sets and training, method, options and our code."""
    own = [] if method == GROUND_TRUTH else [method_digest(get_method(method))]
    code = [reach(__name__).digest, metrics_digest(), *own]
    seen: list[Any] = [workload_digest(workload), method, dict(options), code]
    seen += [] if memory_bytes is None else [memory_bytes]
    seen += [] if functional == LOSS.name else [{"functional": functional}]
    return store.folder("validations", json_digest(seen if runs == 1 else [*seen, {"runs": runs}]))


def first_of_grid(method: Method) -> dict[str, Any]:
    """The first values of the method's grid: some that its options take."""
    return {option: values[0] for option, values in method.tune.items()}


def grid_of(method: Method, run: Run) -> Mapping[str, tuple[Any, ...]]:
    """The values to choose from, by option: those for large networks where the curvature does not fit as a matrix."""
    large = len(run.parameters) > DENSE_LIMIT
    return method.tune if method.tune_large is None or not large else method.tune_large


def tune(
    method: Method, truth: Truth, options: dict[str, Any], functional: str = LOSS.name
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Choose the options of the method's declared grid that are not given, on the workload's tuning queries.

    Returns:
        The options to use, and what was tried: the grid's size, the best mean per-query Spearman on the tuning queries,
        and how many candidates failed.

    Raises:
        SamattrError: if every candidate failed.
    """
    run = truth.run
    axes = {name: values for name, values in grid_of(method, run).items() if name not in options}
    if not axes:
        return options, {}
    queries = run.splits.tuning.of(functional)
    true = truth.effects(queries).double().cpu().numpy()
    *outer, last = axes.values()
    chains = [
        [options | dict(zip(axes, (*first, value), strict=True)) for value in last]
        for first in itertools.product(*outer)
    ]
    order = [candidate for chain in chains for candidate in chain]
    shared = (run, method.name if is_ours(method) else method.function, queries, given_bytes())
    tried: list[tuple[float, dict[str, Any]]] = []
    failures: list[SamattrError] = []
    for place, chain in executor().map(tried_chain, shared, chains, torch.get_num_threads()):
        for candidate, scores in zip(chains[place], chain, strict=True):
            if isinstance(scores, SamattrError):
                failures.append(scores)
            else:
                spearman = metrics.spearman_per_query(on_removed(scores, truth), true).mean()
                tried.append((float(spearman), candidate))
    tried.sort(key=lambda pair: order.index(pair[1]))  # they come in as they are made: of equal ones the first is taken
    if not tried:
        raise failures[-1]
    best, chosen = max(tried, key=lambda pair: pair[0])
    grid = {name: list(values) for name, values in axes.items()}
    return chosen, {"grid": grid, "tuning_spearman": best, "tried": len(tried), "failed": len(failures)}


def tried_chain(
    shared: tuple[Run, str | Callable[..., Any], Examples, int | None], chain: list[dict[str, Any]]
) -> list[torch.Tensor | SamattrError]:
    """Scores with each of some options, one after another: iterations begin at the latest solution."""
    run, method, queries, memory_bytes = shared
    found: list[torch.Tensor | SamattrError] = []
    with warm_starts(), memory_bound(memory_bytes):
        for options in chain:
            try:
                found.append(attribute(run, method, queries, **options).values)
            except SamattrError as error:
                found.append(error)
    return found


def _validate(method: Method, truth: Truth, given: dict[str, Any], runs: int, functional: str) -> Validation:
    run = truth.run
    splits = run.splits
    options, tuning = tune(method, truth, given, functional)
    warm_up(run)
    queries = splits.queries.of(functional)
    scores, cost = measured(lambda: attribute(run.fresh(), method.function, queries, runs=runs, **options))
    predicted = on_removed(scores.values, truth)
    influence = influence_score(run, method.function, splits.validation, runs=runs, **options).double().cpu().numpy()
    changes = None
    if method.change is not None and runs == 1 and truth.first_changes(1) is not None:
        groups = truth.groups[:N_CHANGES]
        changes = parameter_change(run, method.function, groups, **options).double().cpu().numpy()
    diagnostics = {"options": options, **scores.diagnostics, "tuning": tuning}
    if changes is not None and not np.isfinite(changes).all():
        changes, diagnostics["changes"] = None, {"marks": ["predicted changes of the parameters are not finite"]}
    if truth.kept is not None:
        diagnostics["truth"] = {"kept": True, "apart": truth.kept.apart}
    return result_of(
        truth,
        functional,
        method.name,
        predicted,
        influence,
        changes,
        diagnostics,
        cost,
        cost.peak_memory_bytes,
    )


def warm_up(run: Run) -> None:
    """Have torch load what it loads at the first use of its transforms: no method's time should hold it."""
    two = run.splits.tuning.take(torch.arange(2) % len(run.splits.tuning))
    gradients = run.query_gradients(two)
    for product in (run.objective.hvp, run.objective.ggnvp):
        product(run.parameters, two.x, two.y, gradients.T)
    run.objective.gradient_products(run.parameters, two.x, two.y, gradients.T)


def _validate_truth(truth: Truth, functional: str) -> Validation:
    """The ground truth's own row: what exact retraining costs, measured here where it is quick; its noise AUC."""
    if truth.kept is not None and truth.record["seconds"] <= QUICK_SECONDS:
        truth = retraining_truth(truth.run, truth.groups)
    influence = truth.influence.double().cpu().numpy()
    result = result_of(
        truth,
        functional,
        GROUND_TRUTH,
        truth.effects(truth.run.workload.queries.of(functional)).double().cpu().numpy(),
        influence,
        None,
        {"replay_error": truth.replay_error, "engine": truth.record["engine"], "chunk": truth.record["chunk"]},
        truth.timing,
        truth.record["peak_memory_bytes"],
    )
    only = {metric.key for metric in metrics_within("validation") if metric.of_truth}
    return replace(
        result,
        metrics={name: value if name in only else None for name, value in result.metrics.items()},
        intervals={name: value if name in only else None for name, value in result.intervals.items()},
    )


def result_of(
    truth: Truth,
    functional: str,
    name: str,
    predicted: np.ndarray,
    influence: np.ndarray | None,
    changes: np.ndarray | None,
    diagnostics: dict[str, Any],
    timing: Timing | None,
    peak_memory_bytes: int | None,
) -> Validation:
    """Hold what was predicted against a truth.

    Args:
        truth: The truth.
        functional: What of the queries was attributed.
        name: What the row is called.
        predicted: Scores of its removed points, [n_removed, n_query] in float64.
        influence: Influence Scores on the validation set, [n_train], NaN for points that have none; None without any.
        changes: Predicted parameter changes of the first `N_CHANGES` removed points; None where there are none.
        diagnostics: What is reported beside the metrics.
        timing: How long the scores took, where it is known.
        peak_memory_bytes: Memory that they took, where it is known.
    """
    run = truth.run
    if gone := lost(truth):
        diagnostics = diagnostics | {"truth": diagnostics.get("truth", {}) | gone}
    noisy = run.splits.noisy.cpu().numpy()
    true_changes = truth.first_changes(N_CHANGES)
    of_points: dict[str, list[float]] = {"score": [], "noisy": []}
    if influence is not None:
        scored = np.isfinite(influence)
        influence, noisy = influence[scored], noisy[scored]
        of_points = {"score": influence.tolist(), "noisy": noisy.astype(float).tolist()}
    comparison = Comparison(
        predicted=predicted,
        true=truth.effects(run.workload.queries.of(functional)).double().cpu().numpy(),
        influence=influence,
        noisy=noisy,
        changes=changes,
        true_changes=None if true_changes is None else true_changes.double().cpu().numpy(),
    )
    values: dict[str, Any] = {}
    intervals: dict[str, list[float] | None] = {}
    per_query: dict[str, list[float]] = {}
    for metric in metrics_within("validation"):
        found = metric.of(comparison)
        bounds = metric.interval_of(comparison, found)
        mean = None if found is None else float(np.mean(found))
        if metric.per_query:
            values[metric.key] = None if found is None else {"mean": mean, "ci95": bounds}
            per_query[metric.name] = [] if found is None else np.asarray(found).tolist()
        else:
            values[metric.key], intervals[metric.key] = mean, bounds
    return Validation(
        workload=run.workload.name,
        method=name,
        seed=run.workload.seed,
        n_train=run.n_train,
        n_query=predicted.shape[1],
        n_removed=len(predicted),
        trained=asdict(quality(run)),
        metrics=values,
        intervals=intervals,
        diagnostics=diagnostics,
        runtime_s=timing.seconds if timing else None,
        **(noted(timing) if timing else {}),
        peak_memory_bytes=peak_memory_bytes,
        environment=environment(),
        per_query=per_query,
        mean_effect={"predicted": comparison.mean[:, 0].tolist(), "true": comparison.true_mean[:, 0].tolist()},
        influence=of_points,
        functional=functional,
    )


def on_removed(values: torch.Tensor, truth: Truth) -> np.ndarray:
    """The scores of the points that a truth removed, [n_removed, n_query] in float64, from [n_train, n_query]."""
    return values[truth.removed].double().cpu().numpy()
