"""The library dattri on a copy of a run's network: gradients of samples, and what it makes of those of queries."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from baselines.libraries import apart, check_gradients, followed, in_precision_of, network_at, trial_points
from samattr_ref.data import Examples
from samattr_ref.network.trial import differing
from samattr_ref.registry import DENSE_VECTORS
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import block_length, chunk_length, chunks
from samattr_ref.support.seeds import stream

Solve = Callable[[Tensor], Tensor]
"""From gradients [m, P] to what they become, [m, P]."""


class DattriPeer(ExitStack):
    """The library on a run's network, tried out when the block is entered; it leaves no trace.

    Points go to it by their numbers, which it may turn into float32 and back.

    Args:
        run: The run.
        method: The method that asks.

    Raises:
        SamattrError: for a network whose gradients are not what dattri takes them for.
    """

    def __init__(self, run: Run, method: str) -> None:
        super().__init__()
        self.run, self.method = run, method
        self.largest_residual: float | None = None

    def __enter__(self) -> "DattriPeer":
        super().__enter__()
        try:
            for context in (apart(self.run, self.method), in_precision_of(self.run)):
                self.enter_context(context)
            self.module = network_at(self.run, self.run.parameters)
            few = trial_points(self.run)
            check_gradients(self.run, self._rows(few, slice(0, len(few.x))), few, "dattri", self.method)
        except BaseException:
            self.close()
            raise
        return self

    def try_products(self) -> None:
        """Hold the library's product with the Hessian, reverse over reverse, against ours at a few points.

        Raises:
            SamattrError: if it is another, as through layers whose second derivative torch has wrong in that mode.
        """
        from dattri.func.hessian import hvp

        run, few = self.run, trial_points(self.run)
        v = torch.randn(len(run.parameters), generator=stream(0, "dattri"), dtype=torch.float64).to(run.parameters)
        task = self._task(few)
        with followed("dattri"), torch.no_grad():
            loss = partial(task.get_loss_func(), **{task.loss_func_data_key: (self._numbers(slice(0, len(few.x))),)})
            found = hvp(loss)((task.get_param(0)[0],), v)
        true = run.objective.hvp(run.parameters, few.x, few.y, v[:, None])[:, 0] - run.objective.weight_decay * v
        if differing(run.objective.layout, found.detach(), true, factor=10.0):
            raise SamattrError(f"dattri takes another Hessian of this network: {self.method} says nothing of it")

    def solver(self, attributor: Callable[..., Any], **settings: Any) -> Solve:
        """What one of the library's attributors makes of gradients, given all training points as one batch."""
        with followed("dattri"), torch.no_grad():
            peer = attributor(task=self._task(self.run.train), device=str(self.run.parameters.device), **settings)
            peer.cache([(self._numbers(slice(0, self.run.n_train)),)])

        def solve(rows: Tensor) -> Tensor:
            with followed("dattri"), torch.no_grad():
                found: Tensor = peer.transform_test_rep(0, rows)
            return found.detach().to(rows)

        return solve

    def residuals(self, solved: Tensor, rows: Tensor, damping: float) -> Tensor:
        """‖v − A x‖/‖v‖ of each row, by our own products; 0 where both are."""
        run = self.run
        product = run.objective.hvp(run.parameters, run.train.x, run.train.y, solved.T.contiguous())
        away = torch.linalg.vector_norm(rows.T - product - damping * solved.T, dim=0)
        sizes = torch.linalg.vector_norm(rows, dim=1)
        return torch.where((sizes == 0) & (away == 0), 0.0, away / sizes)

    def held(self, solve: Solve, damping: float, tolerance: float, advice: str) -> Solve:
        """A way of solving whose residuals must be at most a tolerance; the largest is kept for the diagnostics."""

        def checked(rows: Tensor) -> Tensor:
            found = solve(rows)
            residual = float(self.residuals(found, rows, damping).max())
            if not residual <= tolerance:
                raise SamattrError(f"{self.method} left a residual of {residual:.2g}: {advice}")
            self.largest_residual = max(residual, self.largest_residual or 0.0)
            return found

        return checked

    def scores(
        self, queries: Examples, solve: Solve, diagnostics: dict[str, Any], points: int, pairs: int = 0
    ) -> Scores:
        """The products of the points' gradients with what those of the queries become, times 1/n.

        Args:
            queries: The queries.
            solve: From the gradients of queries to what they become.
            diagnostics: What is said beside the scores.
            points: How many points the library passes through the network at once, for each query.
            pairs: How many vectors of all parameters it holds for each pair of queries.
        """
        run, n = self.run, self.run.n_train
        vectors, activations = run.parameters.nbytes, run.objective.activation_bytes(run.train.x)
        length = block_length(DENSE_VECTORS * vectors + 6 * points * activations)
        if pairs:
            length = max(1, min(length, math.isqrt(block_length(pairs * vectors))))
        size = chunk_length(3 * vectors + 6 * activations)
        columns = []
        for block in self._blocks(queries, length, size):
            solved = solve(block)
            found = [self._rows(run.train, part) @ solved.T for part in chunks(n, size)]
            columns.append(torch.cat(found) / n)
        residual = {} if self.largest_residual is None else {"residual": self.largest_residual}
        return Scores(torch.cat(columns, dim=1).to(run.parameters), diagnostics | residual)

    def _blocks(self, queries: Examples, length: int, size: int) -> Iterator[Tensor]:
        """The gradients of the queries [m, P], so many at once; of pooled ones their mean."""
        count = len(queries.x)
        if queries.pooled:
            total = torch.zeros_like(self.run.parameters)[None]
            for part in chunks(count, size):
                total += self._rows(queries, part).sum(0)
            yield total / count
            return
        for part in chunks(count, length):
            yield self._rows(queries, part)

    def _numbers(self, part: slice) -> Tensor:
        return torch.arange(part.start, part.stop, device=self.run.train.x.device)

    def _rows(self, examples: Examples, part: slice) -> Tensor:
        """The library's ∇ℓ_i(ω*) of some examples, [b, P]."""
        from dattri.algorithm.base import BaseInnerProductAttributor

        with followed("dattri"), torch.no_grad():
            peer = BaseInnerProductAttributor(self._task(examples), device=str(self.run.parameters.device))
            found: Tensor = peer.generate_train_rep(0, (self._numbers(part)[None],))
        return found.detach()

    def _task(self, examples: Examples) -> Any:
        """What dattri calls a task: the mean loss of examples that are given by their numbers."""
        from dattri.task import AttributionTask

        def loss(parameters: dict[str, Tensor], data: tuple[Tensor]) -> Tensor:
            numbers = data[0].long()
            return cross_entropy(functional_call(self.module, parameters, (examples.x[numbers],)), examples.y[numbers])

        return AttributionTask(loss, self.module, checkpoints=[None], checkpoints_load_func=lambda model, _: model)
