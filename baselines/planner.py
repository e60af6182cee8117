"""Planning ground truth and validations before they are begun: seconds of a few steps, times counts that are known.

Counted exactly: the steps of the run; of each retraining those from the first batch on that holds a removed point; the
networks that run as one program, as `baselines.planning` will have them; bytes of the tensors that are stored. What is
in the store, or comes with the project, is not counted again.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from baselines.chaotic import BY
from baselines.costing import HERE, SHIPPED, STORED, Estimate, Stage
from baselines.engines import Engine, first_steps, retrain, step_of
from baselines.kept import FOLDER, kept_path
from baselines.keys import is_ours
from baselines.method_costs import ScoreCost, mean_query_cost, score_cost
from baselines.planning import Plan, plan_retraining
from baselines.probing import LONG_SECONDS, Probe, device_name, memory_bytes
from baselines.retraining_measures import asked
from baselines.truth import (
    _chunk_name,
    _folder,
    random_subsets,
    single_points,
    single_points_name,
    subsets_name,
)
from baselines.unbegun import find_or_begin, first_steps_of, is_begun, run_bytes, stand_in, taken
from baselines.validation import GROUND_TRUTH, result_path
from samattr_ref.network.functionals import LOSS, get_functional
from samattr_ref.registry import Method, get_method
from samattr_ref.run import Run
from samattr_ref.support import store
from samattr_ref.support.device import device
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import chunks
from samattr_ref.training import advance
from samattr_ref.workload import Workload

WRITTEN = 3
"""Times that a run's states are in memory when it ends: as tensors, as bytes, and as the bytes of a file."""


@dataclass
class Planner:
    """Plans work piece by piece; what pieces have in common is counted once, as it is made once.

    Attributes:
        stages: What there is to do so far.
        unknown: What is not counted, a line each.
        notes: What to know of the numbers, a line each.
        probe: What times.
    """

    stages: list[Stage] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    probe: Probe = field(default_factory=Probe)
    _rates: dict[tuple[str, str], float] = field(default_factory=dict)
    _scores: dict[tuple[str, str], ScoreCost | str] = field(default_factory=dict)
    _planned: set[tuple[str, str]] = field(default_factory=set)
    _latest: tuple[str, Run] | None = None
    _states: int = 0

    def estimate(self) -> Estimate:
        """What all of it takes."""
        memory = memory_bytes() + (self._states if device() == "cuda" else WRITTEN * self._states)
        return Estimate(self.stages, self.unknown, self.notes, device_name(), memory, self.probe.load)

    def training(self, workload: Workload) -> Run:
        """Plan the training of a workload.

        Returns:
            Its run, begun or from the store. Where its data are not there, of random points in their shape.

        Raises:
            SamattrError: for data that are not there and of unknown shape, or a network that breaks a rule.
        """
        if self._latest is not None and self._latest[0] == repr(workload):
            return self._latest[1]
        found: list[tuple[Run, int]] = []
        setting_out = self.probe.time(lambda: found.append(find_or_begin(self._with_data(workload))))
        ((run, done),) = found
        self._latest = repr(workload), run
        if self._is_new(run, "training"):
            self.stages.append(Stage(f"data and network of {workload.name}", [setting_out]))
            left = [(run.n_steps - done) * self._training_step(run)] if done < run.n_steps else []
            disk = run_bytes(run) if left else 0
            self._states = max(self._states, disk)
            self.stages.append(Stage(f"training {workload.name}", left, HERE if left else STORED, disk_bytes=disk))
        return run

    def truth(
        self,
        workload: Workload,
        fraction: float | None = None,
        count: int = 50,
        engine: Engine | None = None,
        again: bool = False,
    ) -> None:
        """Plan the training of a workload and its ground truth.

        Args:
            workload: The workload.
            fraction: See `baselines.truth.subset_retraining`; None for single points.
            count: How many subsets.
            engine: How to retrain, see `baselines.truth.leave_one_out`.
            again: Whether a truth that comes with the project is made all the same.

        Raises:
            SamattrError: see there, and `training`.
        """
        run = self.training(workload)
        if fraction is None:
            # before training, strata by gradients are not known: as many points are drawn evenly
            even = replace(run, workload=replace(run.workload, removed="uniform"))
            groups, kind = single_points(even if is_begun(run) else run), single_points_name(run.workload)
        else:
            groups = random_subsets(run, fraction, count, workload.seed)
            kind = subsets_name(fraction, count, workload.seed)
        if not self._is_new(run, kind):
            return
        work = f"retraining {workload.name} without " + ("single points" if fraction is None else f"{fraction:.0%}")
        path = _folder(run, groups)
        if (
            engine is None
            and not again
            and not store.exists(path, "plan")
            and kept_path(run.workload, kind, FOLDER).exists()
        ):
            self.stages.append(Stage(work, [], SHIPPED))
            return
        plan = self._plan(run, len(groups) + 1, engine, path)
        first = [0, *sorted(first_steps(run, groups))]
        left = [part for i, part in enumerate(chunks(len(first), plan.chunk)) if not store.exists(path, _chunk_name(i))]
        if not left:
            self.stages.append(Stage(work, [], STORED))
            return
        step, size = self._program_step(run, plan), run.parameters.nbytes
        tasks = [step * sum(run.n_steps - start for start in first[part][:: plan.together]) for part in left]
        disk = size * sum(len(first[part]) for part in left)
        self.stages.append(Stage(work, tasks, shared=True, disk_bytes=disk))
        queries = run.workload.queries
        each = self._rate(run, "effects", lambda k: [run.query_values(queries) for _ in range(k)], len(groups))
        disk = len(groups) * len(queries) * run.parameters.element_size() + 8 * sum(len(group) + 1 for group in groups)
        self.stages.append(Stage(f"effects on {workload.name}'s queries", [len(groups) * each], disk_bytes=disk))

    def validation(
        self,
        method: str,
        workload: Workload,
        options: Mapping[str, Any] | None = None,
        bound: int | None = None,
        runs: int = 1,
        functional: str = LOSS.name,
        measures: Sequence[str] = (),
    ) -> None:
        """Plan a validation, see `baselines.validation.validate`, whose arguments these are.

        Raises:
            SamattrError: for unknown names or options, and see `training`.
        """
        chosen, given = None if method == GROUND_TRUTH else get_method(method), dict(options or {})
        wanted = [asked(text) for text in measures]
        get_functional(functional)
        if chosen:
            chosen.check_functional(functional, workload.loss)
            chosen.check(given)
        run = self.training(workload)
        path = result_path(run.workload, method, given, bound, runs, functional)
        if (chosen is None or is_ours(chosen)) and store.exists(path, "validation"):
            self.stages.append(Stage(f"scores on {workload.name}", [], STORED, method=method))
        else:
            self.truth(workload, again=chosen is None)
            if chosen:
                self._add_scores(chosen, run, given, bound, runs, functional)
        for each in wanted:
            count = each.retrainings(len(run.workload.queries), runs - 1)
            plan = plan_retraining(run, count, None, 1)
            tasks = [run.n_steps * self._program_step(run, plan)] * -(-count // plan.together)
            self.stages.append(Stage(f"{each.measure.name} on {workload.name}, at most", tasks, shared=True))

    def growth(self, method: str, workload: Workload) -> None:
        """Plan what `baselines.chaotic` measures of the run that a method was validated on.

        Raises:
            SamattrError: see `training`.
        """
        run = self.training(workload)
        if method != BY and not kept_path(run.workload, single_points_name(run.workload), FOLDER).exists():
            seconds = mean_query_cost(self.probe, get_method(BY), run, self._trial(run))
            self.stages.append(Stage(f"growth through the run of {workload.name}", [seconds], method=BY))

    def _trial(self, run: Run) -> Run:
        """The first steps of a run, as many as are taken in a short time, with their states."""
        return taken(run, max(1, min(run.n_steps, int(LONG_SECONDS / self._training_step(run)))))

    def _add_scores(
        self, method: Method, run: Run, given: dict[str, Any], bound: int | None, runs: int, functional: str
    ) -> None:
        """Plan what a validation computes of a method, timed once for all seeds."""
        key = repr(replace(run.workload, seed=0)), repr((method.name, given, bound, functional))
        step = self._training_step(run)
        if key not in self._scores:
            try:
                self._scores[key] = score_cost(self.probe, method, run, self._trial(run), given, bound, functional)
            except SamattrError as error:
                self._scores[key] = str(error)
        cost, name = self._scores[key], run.workload.name
        if isinstance(cost, str):
            if (said := f"scores of {method.name} on {name}: {cost}") not in self.unknown:
                self.unknown.append(said)
            return
        if cost.chains:
            self.stages.append(Stage(f"options on {name}", cost.chains, shared=True, method=method.name))
        seconds = runs * cost.scores + (runs - 1) * run.n_steps * step
        self.stages.append(Stage(f"scores on {name}", [seconds], method=method.name))

    def _plan(self, run: Run, count: int, engine: Engine | None, path: Path) -> Plan:
        """The plan of a truth, stored or new. Where its step is compiled, that is a stage of its own."""
        stored, began = store.load(path, "plan"), time.perf_counter()
        plan = Plan(**stored[0]) if stored else plan_retraining(run, count, engine, 1)
        if plan.engine == "compiled":
            step_of(run, "compiled")
            _program(run, plan, 1)
            # by the wall clock: the compiler is a process of its own
            self.stages.append(Stage(f"compiling the step of {run.workload.name}", [time.perf_counter() - began]))
        return plan

    def _training_step(self, run: Run) -> float:
        """Device-seconds of a step of training."""

        def train(steps: int) -> None:
            deque(advance(run, run.kept_state(0), 0, steps), maxlen=0)

        return self._rate(run, "training", train, run.n_steps)

    def _program_step(self, run: Run, plan: Plan) -> float:
        """Device-seconds of a step of all the networks that run as one program."""
        return self._rate(run, f"{plan.engine} {plan.together}", partial(_program, run, plan), run.n_steps)

    def _rate(self, run: Run, what: str, call: Callable[[int], object], most: int) -> float:
        """`Probe.each`, once for all seeds."""
        key = repr(replace(run.workload, seed=0)), what
        if key not in self._rates:
            self._rates[key] = self.probe.each(call, most)
        return self._rates[key]

    def _is_new(self, run: Run, what: str) -> bool:
        """Whether this of a run was not planned before; now it is."""
        key = repr(run.workload), what
        new = key not in self._planned
        self._planned.add(key)
        return new

    def _with_data(self, workload: Workload) -> Workload:
        """The workload, or where its data are not there one of random points."""
        try:
            assert workload.splits
        except SamattrError as error:
            other = stand_in(workload)
            if other is None:
                raise
            if (note := f"{error}. Random points of the same shape stand in for them.") not in self.notes:
                self.notes.append(note)
            return other
        return workload


def _program(run: Run, plan: Plan, steps: int) -> None:
    """The first steps of the networks that run as one program."""
    nothing = [torch.empty(0, dtype=torch.int64)] * plan.together
    retrain(first_steps_of(run, steps), nothing, plan.engine, plan.together)
