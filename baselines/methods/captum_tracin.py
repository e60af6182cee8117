"""`captum-tracin-cp`, `captum-tracin-cp-fast`: TracIn from C checkpoints, by captum (Pruthi et al. 2020, Section 3.3).

    s[k, q] = Σ_c W_c ⟨∇ℓ_k(ω_c), ∇ℓ_q(ω_c)⟩,    W_c = (1/n) Σ_t η_t over the steps t of the c-th segment

The states ω_c are those of our `tracin-cp`. captum takes one weight a checkpoint; W_c is the mean over points of ours,
Σ_t η_t B_{k,t}/|b_t|, so that scores are in nats, and with full batches both methods are the same. The gradients and
their products are captum's, by its `TracInCP`, or by its `TracInCPFast`: the part of the last linear layer's weight,

    s[k, q] = Σ_c W_c ⟨g_k, g_q⟩ ⟨f_k, f_q⟩,    g = π − onehot(y), f what the layer reads, both at ω_c

Traps: (1) captum's own weight is the step size alone, without the 1/n of removing a point from a mean; (2) the hooks of
its fast gradients leave out, without a word, parameters of other layers, so that they are tried first, and a backward
pass a point is taken where they are wrong (`by_hooks` of the diagnostics); (3) checkpoints given as strings are put in
the order of their names: each is given alone; (4) `TracInCPFast` leaves out the last layer's bias, and takes for
granted that the layer gives the logits: it is refused where it does not. Networks with frozen or unused parameters are
refused too: captum asks for gradients by all of them.

This differs from the paper in: (1) see W_c.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from baselines.captum_gradients import CAPTUM, batch_length, batches, loss, right_way, tracin
from baselines.last_layer import check_last_layer, last_layer
from baselines.libraries import apart, followed, network_at, put
from samattr_ref.data import Examples
from samattr_ref.registry import Family, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.support.memory import block_length, chunks
from samattr_ref.trajectory import segments

Products = Callable[[nn.Module, float, Examples], Tensor]
"""From a network, the weight of its state and queries to products with all training points, [queries, n_train]."""


@method(
    "captum-tracin-cp",
    summary="TracIn at C checkpoints, by captum",
    source="Pruthi et al. 2020",
    linear=True,
    query_bytes=None,
    label="TracIn-CP (captum)",
    family=Family.TRAJECTORY,
    rank=91,
    benchmark={"checkpoints": 2},
    full_size={"checkpoints": 10},
    compared=False,
    library=CAPTUM,
)
def captum_tracin_cp(run: Run, queries: Examples, *, checkpoints: int = 10) -> Scores:
    """Scores [n_train, n_query] in nats, linear in the query.

    Args:
        run: The run.
        queries: The queries.
        checkpoints: C, evenly spaced.

    Raises:
        SamattrError: if C is larger than the number of steps, or the network is none that captum takes gradients of.
    """
    with apart(run, "captum-tracin-cp"):
        module = network_at(run, run.parameters)
        by_hooks = right_way(run, module, "captum-tracin-cp")

        def products(module: nn.Module, rate: float, asked: Examples) -> Tensor:
            peer = tracin(run, module, run.train, by_hooks, rate)
            whole = batches(asked, batch_length(run)) if queries.pooled else (asked.x, asked.y)
            found: Tensor = peer.influence(whole, aggregate=queries.pooled)
            return found / len(asked.x) if queries.pooled else found

        values = _summed(run, module, queries, checkpoints, products)
    return Scores(values, {"checkpoints": checkpoints, "by_hooks": by_hooks})


@method(
    "captum-tracin-cp-fast",
    summary="TracIn at C checkpoints, of the last layer's weight alone, by captum",
    source="Pruthi et al. 2020",
    linear=True,
    query_bytes=None,
    label="TracIn-CP, last layer (captum)",
    family=Family.TRAJECTORY,
    rank=92,
    benchmark={"checkpoints": 2},
    full_size={"checkpoints": 10},
    compared=False,
    library=CAPTUM,
)
def captum_tracin_cp_fast(run: Run, queries: Examples, *, checkpoints: int = 10) -> Scores:
    """Scores [n_train, n_query] in nats, linear in the query.

    Args:
        run: The run.
        queries: The queries.
        checkpoints: C, evenly spaced.

    Raises:
        SamattrError: if C is larger than the number of steps, or the logits come from no last linear layer.
    """
    with apart(run, "captum-tracin-cp-fast"):
        from captum.influence import TracInCPFast

        layer = last_layer(run, "captum-tracin-cp-fast")
        check_last_layer(run, layer, "captum-tracin-cp-fast")
        module = network_at(run, run.parameters)

        def products(module: nn.Module, rate: float, asked: Examples) -> Tensor:
            peer: Any = TracInCPFast(
                module,
                module.get_submodule(layer.name),
                batches(run.train, batch_length(run)),
                checkpoints=[0],
                checkpoints_load_func=lambda *_: rate,
                loss_fn=loss(by_hooks=True),
            )
            found: Tensor = peer.influence((asked.x, asked.y))
            return found

        values = _summed(run, module, queries, checkpoints, products)
    if queries.pooled:
        values = values.mean(1, keepdim=True)
    return Scores(values, {"checkpoints": checkpoints, "layer": layer.name})


def _summed(run: Run, module: nn.Module, queries: Examples, checkpoints: int, products: Products) -> Tensor:
    """The sum over checkpoints, in blocks of queries; what a library makes of a mean query is one column."""
    each = 3 * run.parameters.nbytes + 6 * run.objective.activation_bytes(run.train.x)
    length = len(queries.x) if queries.pooled else block_length(each)
    columns: dict[int, Tensor] = {}
    for segment in segments(run, checkpoints, run.step_sizes):
        put(run, module, segment.omega)
        rate = float(segment.weights.sum()) / run.n_train
        for part in chunks(len(queries.x), length):
            with followed("captum"):
                found = products(module, rate, queries.take(part)).detach().T
            columns[part.start] = columns[part.start] + found if part.start in columns else found
    return torch.cat(list(columns.values()), dim=1).to(run.parameters)
