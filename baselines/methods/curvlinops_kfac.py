"""`curvlinops-kfac`: the influence function whose curvature is a KFAC approximation (Martens & Grosse 2015, Section 3).

    s[k, q] = (1/n) ⟨∇ℓ_q(ω*), (A ⊗ B + (δ + λ) I)⁻¹ ∇ℓ_k(ω*)⟩,    a block a layer

A = E[a aᵀ] of the layer's inputs a (a 1 appended for the bias), B = E[g gᵀ] of the gradients g of the loss by its
outputs, the expectation over labels that the network predicts taken exactly. Factors and inverse are those of
curvlinops, by its `KFACLinearOperator` and `KFACInverseLinearOperator`; gradients and products are ours, since it has
no scores. It covers layers of `nn.Linear` and `nn.Conv2d`; those of norms are left out as `ekfac` does (`left_out` of
the diagnostics). Layers that are used at many positions take its way "expand". The network is taken as a plain one.

Traps: (1) damping is added to each factor unless exact damping is asked for, and is then no δI; (2) labels are drawn
unless `type-2` is asked for; (3) weight and bias of a layer have blocks of their own unless told otherwise; (4) of
grouped convolutions it takes the mean over groups, and of padding the zeros alone: the gradients that its factors imply
are held against ours at a few points; (5) it takes parameters as a list (its later versions a dict). Its own conjugate
gradients stop at a tolerance of 1 unless told otherwise, and only warn: they are not used.

This differs from the paper in: (1) the L2 term is part of the training loss, and so λ is added to δ, exactly.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from baselines.kronecker import covered
from baselines.libraries import apart, check_gradients, followed, network_at, positive_damping, trial_points
from samattr_ref.data import Examples
from samattr_ref.implicit.options import TUNE
from samattr_ref.registry import DENSE_VECTORS, Family, Library, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import block_length, chunk_length, chunks


@method(
    "curvlinops-kfac",
    summary="influence function with KFAC curvature, by curvlinops",
    source="Martens & Grosse 2015",
    tune={"damping": TUNE["damping"]},
    linear=True,
    query_bytes=None,
    label="KFAC (curvlinops)",
    family=Family.IMPLICIT,
    rank=76,
    benchmark={"damping": 0.3},
    full_size={"damping": 0.03},
    compared=False,
    library=Library("curvlinops", "curvlinops-for-pytorch", "pip install 'samattr[peers]'"),
)
def curvlinops_kfac(run: Run, queries: Examples, *, damping: float = 0.01) -> Scores:
    """Scores [n_train, n_query] in nats, linear in the query.

    Args:
        run: The run.
        queries: The queries.
        damping: δ >= 0; the recipe's λ comes to it, and one of the two must be larger than 0.

    Raises:
        SamattrError: for an option out of range, a parameter that is neither in a layer with Kronecker factors nor in a
            norm, or a network whose gradients are not what the factors are made of.
    """
    total = positive_damping(run, damping)
    layers, left_out = covered(run, "curvlinops-kfac")
    with apart(run, "curvlinops-kfac"):
        from curvlinops import FisherType, KFACInverseLinearOperator, KFACLinearOperator

        module = network_at(run, run.parameters)
        spans = {name: span for name, span in run.objective.layout.spans.items() if name.rpartition(".")[0] in layers}
        _try_out(run, module, layers)
        length = chunk_length(6 * run.objective.activation_bytes(run.train.x) + 8 * run.splits.n_classes**2)
        with followed("curvlinops"):
            curvature = KFACLinearOperator(
                module,
                nn.CrossEntropyLoss(reduction="mean"),
                [module.get_parameter(name) for name in spans],
                [(run.train.x[part], run.train.y[part]) for part in chunks(run.n_train, length)],
                check_deterministic=False,  # proved of every network before it is trained
                fisher_type=FisherType.TYPE2,
                separate_weight_and_bias=False,
                num_per_example_loss_terms=1,
                num_data=run.n_train,
            )
            inverse = KFACInverseLinearOperator(curvature, damping=total, use_exact_damping=True)
        values = torch.empty(run.n_train, len(queries)).to(run.parameters)
        entries = torch.cat([torch.arange(span.start, span.stop) for span in spans.values()]).to(run.parameters.device)
        for part in chunks(len(queries), block_length(DENSE_VECTORS * run.parameters.nbytes)):
            asked = queries if queries.pooled else queries.take(part)
            gradients = run.query_gradients(asked).T
            directions = torch.zeros_like(gradients)
            with followed("curvlinops"):
                directions[entries] = (inverse @ gradients[entries].contiguous()).detach()
            products = run.objective.gradient_products(run.parameters, run.train.x, run.train.y, directions)
            values[:, part] = products / run.n_train
    return Scores(values, {"damping": damping, "left_out": left_out})


def _try_out(run: Run, module: nn.Module, layers: list[str]) -> None:
    """Hold Σ g aᵀ, of the inputs and gradients that factors are made of, against our gradients at a few points.

    Raises:
        SamattrError: if they are others, or a layer is not called once.
    """
    from curvlinops.kfac_utils import extract_patches

    few = trial_points(run)
    calls: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers}

    def watch(name: str) -> torch.utils.hooks.RemovableHandle:
        def see(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            calls[name].append((inputs[0].detach().clone(), output))
            return output.clone()  # which may be changed in place

        return module.get_submodule(name).register_forward_hook(see)

    handles = [watch(name) for name in layers]
    try:
        total = cross_entropy(module(few.x.clone()), few.y, reduction="sum")
        outputs = [seen[0][1] for seen in calls.values() if seen]
        by_output = torch.autograd.grad(total, outputs, allow_unused=True, materialize_grads=True)
    finally:
        for handle in handles:
            handle.remove()
    # the backward pass among it: what is checkpointed is called again there
    if wrong := [name for name, seen in calls.items() if len(seen) != 1]:
        raise SamattrError(f"curvlinops-kfac needs each layer to be called once, and '{wrong[0]}' is not")
    found = run.objective.sample_gradients(run.parameters, few.x, few.y).clone()
    for (name, seen), g in zip(calls.items(), by_output, strict=True):
        layer, a = module.get_submodule(name), seen[0][0]
        with followed("curvlinops"):
            if isinstance(layer, nn.Conv2d):
                settings = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
                a, g = extract_patches(a, *settings), g.flatten(2).mT
            a, g = a.reshape(len(a), -1, a.shape[-1]), g.reshape(len(g), -1, g.shape[-1])
            for part, rows in (("weight", g.mT @ a), ("bias", g.sum(1))):
                if (span := run.objective.layout.spans.get(f"{name}.{part}".removeprefix("."))) is not None:
                    found[:, span] = rows.flatten(1)
    check_gradients(run, found, few, "curvlinops", "curvlinops-kfac")
