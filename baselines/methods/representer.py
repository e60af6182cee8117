"""`representer`: representer points of the last linear layer (Yeh et al. 2018, Theorem 3.1).

Where the last layer Θ is stationary under its L2 term λ, with features f_i and g_i = π_i − onehot(y_i),

    Θ = Σ_i α_i f_iᵀ,    z(q) = Σ_i α_i ⟨f_i, f_q⟩,    α_i = −g_i/(λ n)

so that −α_k ⟨f_k, f_q⟩ is what the query's logits lose with point k. Its loss changes to first order by

    s[k, q] = −⟨g_q, α_k⟩ ⟨f_k, f_q⟩ = (1/n) ⟨g_q, g_k⟩ ⟨f_k, f_q⟩/λ

in nats: an influence function of the last layer with the curvature λI. A bias is a feature of 1 more.

A run is not stationary. As in the paper, the last layer is fitted again from where the run left it, its features held,
by Newton steps on the convex loss; what it moved by is `moved` of the diagnostics. The theorem is then held at the
training points: where the logits are not what the sum says, the fit is refused.

This differs from the paper in: (1) the layer is fitted to the labels that the run was trained on, and not to its own
predictions; (2) a query has one score, of its loss, in the place of one for each logit.
"""

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from baselines.last_layer import check_last_layer, features, last_layer
from samattr_ref.data import Examples
from samattr_ref.network.losses import cross_entropy, residuals
from samattr_ref.registry import Family, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import block_length, check_fits, chunks

STEPS = 100
"""Most Newton steps that the last layer is fitted by."""

TOLERANCE = 1e-4
"""How far logits may be from the representer theorem's sum, relative to the largest."""


@method(
    "representer",
    summary="representer points of the last layer",
    source="Yeh et al. 2018",
    linear=True,
    query_bytes=None,
    label="representer points",
    family=Family.IMPLICIT,
    rank=79,
    full_size={},
    compared=False,
    by_name=True,
)
def representer(run: Run, queries: Examples) -> Scores:
    """Scores [n_train, n_query] in nats, linear in the query.

    Raises:
        SamattrError: without weight decay, where the logits come from no last linear layer, or where that could not be
            fitted.
    """
    decay = run.objective.weight_decay
    if decay == 0:
        raise SamattrError("representer needs a weight_decay larger than 0: without it no layer is a sum over points")
    layer = last_layer(run, "representer")
    check_last_layer(run, layer, "representer")
    fitted = _Fitted(run, features(run, layer, run.train.x, "representer"), layer.weight, layer.bias)
    f, g = fitted.f, fitted.residuals
    asked = fitted.extended(features(run, layer, queries.x, "representer"))
    values = torch.empty(run.n_train, len(queries.x)).to(run.parameters)
    for part in chunks(len(asked), block_length(3 * run.n_train * 8)):
        g_q = residuals(fitted.logits(asked[part]), queries.y[part])
        values[:, part] = ((g @ g_q.T) * (f @ asked[part].T) / (decay * run.n_train)).to(values)
    if queries.pooled:
        values = values.mean(1, keepdim=True)
    return Scores(values, {"moved": fitted.moved})


class _Fitted:
    """The last layer where its loss is least, in float64.

    Args:
        run: The run.
        f: What the layer reads of the training points, [n, d].
        weight: The entries of ω that are its weight, [c, d].
        bias: Those that are its bias, [c]; None for a layer without a trained one.
    """

    def __init__(self, run: Run, f: Tensor, weight: slice, bias: slice | None) -> None:
        check_fits(8 * f.numel() * 8, "the features of all points")
        self.biased = bias is not None
        self.f, y, decay = self.extended(f), run.train.y, run.objective.weight_decay
        start = run.parameters[weight].double().view(-1, f.shape[1])
        if bias is not None:
            start = torch.cat([start, run.parameters[bias].double()[:, None]], dim=1)
        self.offset = torch.zeros_like(start[:, 0])
        if bias is None:  # a frozen one stays what it is
            self.offset = (run.objective.all_logits(run.parameters, run.train.x[:1]).double() - self.f[:1] @ start.T)[0]
        n = run.n_train

        def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
            self.theta = torch.as_tensor(theta).to(start).view_as(start)
            z = self.logits(self.f)
            value = cross_entropy(z, y).mean() + decay / 2 * self.theta.square().sum()
            gradient = residuals(z, y).T @ self.f / n + decay * self.theta
            return float(value), gradient.flatten().cpu().numpy()

        def product(theta: np.ndarray, v: np.ndarray) -> np.ndarray:
            self.theta = torch.as_tensor(theta).to(start).view_as(start)
            p, direction = self.logits(self.f).softmax(1), torch.as_tensor(v).to(start).view_as(start)
            moved = p * (self.f @ direction.T)
            moved -= p * moved.sum(1, keepdim=True)
            return (moved.T @ self.f / n + decay * direction).flatten().cpu().numpy()

        initial = start.flatten().cpu().numpy()
        settings = {"method": "Newton-CG", "options": {"xtol": 1e-12, "maxiter": STEPS}}
        found = minimize(loss, initial, jac=True, hessp=product, **settings)
        self.theta = torch.as_tensor(found.x).to(start).view_as(start)
        self.moved = float((self.theta - start).norm() / start.norm().clamp(min=1e-300))
        self.residuals = residuals(self.logits(self.f), y)
        away = self.f @ (self.theta + self.residuals.T @ self.f / (decay * n)).T
        if not bool(away.abs().max() <= TOLERANCE * (self.f @ self.theta.T).abs().max()):
            raise SamattrError(
                "representer could not fit the last layer to where it is a sum over points: more weight_decay"
            )

    def extended(self, f: Tensor) -> Tensor:
        """Features with a 1 appended for the bias, in float64."""
        f = f.double()
        return torch.cat([f, f.new_ones(len(f), 1)], dim=1) if self.biased else f

    def logits(self, f: Tensor) -> Tensor:
        """Of extended features, [b, c]."""
        return f @ self.theta.T + self.offset
