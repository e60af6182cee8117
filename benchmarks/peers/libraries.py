"""How each library is asked for the same numbers.

What is prepared once (objects, data loaders) is not timed; the returned call computes everything from the checkpoint
on, training points in batches of the size asked for, queries in one.
"""

import io
import logging
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.peers.work import Calculation, Problem


def torch_func(problem: Problem, batch: int) -> Calculation:
    """`vmap(grad)` and a matrix product, as PyTorch's own tutorial on per-sample gradients has it."""
    module = problem.module()
    parameters = {name: value.detach() for name, value in module.named_parameters()}

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(functional_call(module, parameters, (x[None],)), y[None])

    rows = vmap(grad(loss), in_dims=(None, 0, 0))

    def gradients(x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([part.flatten(1) for part in rows(parameters, x, y).values()], dim=1)

    def calculate() -> Tensor:
        queries = gradients(problem.queries.x, problem.queries.y).T
        parts = zip(problem.train.x.split(batch), problem.train.y.split(batch), strict=True)
        return torch.cat([gradients(x, y) @ queries for x, y in parts])

    return calculate


def captum(problem: Problem, batch: int) -> Calculation:
    """captum's `TracInCP`, its per-sample gradients by hooks (`sample_wise_grads_per_batch`)."""
    from captum.influence import TracInCP

    tracin = TracInCP(
        problem.module(),
        TensorDataset(problem.train.x, problem.train.y),
        checkpoints=["only"],
        checkpoints_load_func=lambda *_: 1.0,
        loss_fn=nn.CrossEntropyLoss(reduction="sum"),
        batch_size=batch,
        sample_wise_grads_per_batch=True,
    )
    return lambda: tracin.influence((problem.queries.x, problem.queries.y), show_progress=False).T


def dattri(problem: Problem, batch: int) -> Calculation:
    """dattri's `TracInAttributor`, its random projection switched off."""
    from dattri.algorithm.tracin import TracInAttributor
    from dattri.task import AttributionTask

    module = problem.module()

    def loss(parameters: dict[str, Tensor], data: tuple[Tensor, Tensor]) -> Tensor:
        x, y = data
        return cross_entropy(functional_call(module, parameters, (x[None],)), y[None])

    task = AttributionTask(loss_func=loss, model=module, checkpoints=module.state_dict())
    device = str(problem.omega.device)
    attributor = TracInAttributor(task, weight_list=torch.ones(1), normalized_grad=False, device=device)
    attributor.projector_kwargs = None  # None as an argument leaves the projection on
    train, queries = _loaders(problem, batch)

    def calculate() -> Tensor:
        with redirect_stderr(io.StringIO()):  # a progress bar for every batch, which nothing switches off
            scores: Tensor = attributor.attribute(train, queries)
        return scores.to(problem.omega.device)

    return calculate


def kronfluence(problem: Problem, batch: int) -> Calculation:
    """kronfluence's pairwise scores with the identity for a preconditioner; it hands them over in a file."""
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments
    from kronfluence.task import Task

    class Loss(Task):  # type: ignore[misc]  # which comes without types
        def compute_train_loss(self, batch: tuple[Tensor, Tensor], model: nn.Module, sample: bool = False) -> Tensor:
            return cross_entropy(model(batch[0]), batch[1], reduction="sum")

        def compute_measurement(self, batch: tuple[Tensor, Tensor], model: nn.Module) -> Tensor:
            return self.compute_train_loss(batch, model)

    task, folder = Loss(), tempfile.TemporaryDirectory()
    analyzer = Analyzer(
        "peer",
        prepare_model(problem.module(), task),
        task,
        cpu=problem.omega.device.type == "cpu",
        log_level=logging.ERROR,
        disable_tqdm=True,
        output_dir=folder.name,
    )
    train = TensorDataset(problem.train.x, problem.train.y)
    queries = TensorDataset(problem.queries.x, problem.queries.y)
    analyzer.fit_all_factors("identity", train, factor_args=FactorArguments(strategy="identity"))

    def calculate(folder: tempfile.TemporaryDirectory[str] = folder) -> Tensor:  # which lives as long as this function
        analyzer.compute_pairwise_scores(
            scores_name="dots",
            factors_name="identity",
            query_dataset=queries,
            train_dataset=train,
            per_device_query_batch_size=len(queries),
            per_device_train_batch_size=batch,
            overwrite_output_dir=True,
        )
        scores: Tensor = analyzer.load_pairwise_scores("dots")["all_modules"]
        return scores.T.to(problem.omega.device)

    return calculate


def traker(problem: Problem, batch: int) -> Calculation:
    """traker's features, the gradients of its model output, here the loss, unprojected; and a matrix product."""
    from trak.gradient_computers import FunctionalGradientComputer
    from trak.modelout_functions import AbstractModelOutput
    from trak.projectors import NoOpProjector

    class Loss(AbstractModelOutput):  # type: ignore[misc]  # which comes without types
        def __init__(self) -> None:  # abstract there
            super().__init__()

        @staticmethod
        def get_output(
            model: nn.Module, weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor
        ) -> Tensor:
            return cross_entropy(functional_call(model, (weights, buffers), (x[None],)), y[None])

        def get_out_to_loss_grad(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            return torch.ones(len(batch[1]), 1)

    size = len(problem.omega)
    settings = {"dtype": problem.omega.dtype, "device": problem.omega.device}
    computer = FunctionalGradientComputer(problem.module(), Loss(), size, **settings)
    projector = NoOpProjector(size, size, 0, "normal", problem.omega.device)

    def features(x: Tensor, y: Tensor) -> Tensor:
        gradients = computer.compute_per_sample_grad((x, y))
        flat = torch.cat([part.flatten(1) for part in gradients.values()], dim=1)
        projected: Tensor = projector.project(flat, model_id=0)
        return projected

    def calculate() -> Tensor:
        queries = features(problem.queries.x, problem.queries.y).T
        parts = zip(problem.train.x.split(batch), problem.train.y.split(batch), strict=True)
        return torch.cat([features(x, y) @ queries for x, y in parts])

    return calculate


PEERS: dict[str, Callable[[Problem, int], Calculation]] = {
    "torch.func": torch_func,
    "captum": captum,
    "dattri": dattri,
    "kronfluence": kronfluence,
    "traker": traker,
}
"""Each library, given a problem and the training points of a batch."""


def _loaders(problem: Problem, batch: int) -> tuple[DataLoader[Any], DataLoader[Any]]:
    train, queries = problem.train, problem.queries
    return (
        DataLoader(TensorDataset(train.x, train.y), batch_size=batch, shuffle=False),
        DataLoader(TensorDataset(queries.x, queries.y), batch_size=len(queries), shuffle=False),
    )
