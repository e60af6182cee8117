"""EK-FAC against its formula, written out in float64, and against exact curvature where it is exact."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, pad, unfold

import samattr_ref as sr
from tests.conftest import small, small_cnn
from tests.samattr_ref.zoo import COLOURS, IMAGES, VECTORS, Network

pytest.importorskip("kronfluence")

DAMPING = 0.05


def tiny(data, make):
    recipe = sr.SamRecipe(steps=8, batch_size=10, weight_decay=0.01)
    return sr.Workload("tiny", data, Network(make), recipe, dtype="float64")


def normed():
    convolution, head = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Linear(16, 3)
    return nn.Sequential(convolution, nn.GroupNorm(2, 4), nn.GELU(), nn.AvgPool2d(4), nn.Flatten(), head)


def deep():
    """More layers than ten: by name, the last is before the third."""
    for _ in range(5):
        yield from (nn.Linear(4, 4), nn.Tanh())
    yield nn.Linear(4, 3)


RUNS = {
    "logreg": lambda: small(n_train=30),
    "mlp": lambda: small("digits-mlp", n_train=30, hidden=(6,)),
    "cnn": lambda: small_cnn(n_train=20),
    "decayed": lambda: small("digits-mlp", n_train=30, hidden=(6,), weight_decay=0.1),
    "normed": lambda: tiny(COLOURS, normed),
    "long": lambda: tiny(VECTORS, lambda: nn.Sequential(*deep())),
}


class Plain:
    """EK-FAC of a run's network: one point, class and layer at a time."""

    def __init__(self, run):
        self.run = run
        self.module = run.workload.build()[0].module
        with torch.no_grad():
            for name, value in run.objective.unflatten(run.parameters).items():
                self.module.get_parameter(name).copy_(value)
        layers = [layer for layer in self.module.modules() if type(layer) in (nn.Linear, nn.Conv2d)]
        self.layers = [layer for layer in layers if layer.weight.requires_grad]

    def passes(self, x, y):
        """Inputs with a 1 [positions, d_in] and loss gradients by outputs [positions, d_out] of each layer."""
        seen = {layer: [] for layer in self.layers}

        def see(layer, inputs, output):
            seen[layer].append((inputs[0].detach().clone(), output))
            return output.clone()  # which may be changed in place

        hooks = [layer.register_forward_hook(see) for layer in self.layers]
        loss = cross_entropy(self.module(x[None]), y[None])
        for hook in hooks:
            hook.remove()
        rows = []
        for layer, calls in seen.items():
            outputs = [z for _, z in calls]
            by_output = torch.autograd.grad(loss, outputs, retain_graph=True, allow_unused=True, materialize_grads=True)
            pairs = [self.rows(layer, a, g) for (a, _), g in zip(calls, by_output, strict=True)]
            rows.append(tuple(map(torch.cat, zip(*pairs, strict=True))))
        return rows

    def rows(self, layer, a, g):
        if type(layer) is nn.Conv2d:
            by_name = isinstance(layer.padding, str)
            a = pad(a, layer._reversed_padding_repeated_twice) if by_name else a
            a = unfold(a, layer.kernel_size, layer.dilation, 0 if by_name else layer.padding, layer.stride)[0].T
            g = g[0].flatten(1).T
        a, g = a.reshape(-1, a.shape[-1]), g.reshape(-1, g.shape[-1])
        return a if layer.bias is None else torch.cat([a, torch.ones(len(a), 1).to(a)], dim=1), g

    def gradients(self, examples):
        return [[g.T @ a for a, g in self.passes(x, y)] for x, y in zip(examples.x, examples.y, strict=True)]

    def scores(self, queries, damping):
        run, n = self.run, self.run.n_train
        chances = run.predictions(run.train)
        classes = torch.arange(chances.shape[1]).to(run.train.y)
        drawn = [  # each label with its probability
            (p, self.passes(x, y))
            for x, own in zip(run.train.x, chances, strict=True)
            for y, p in zip(classes, own, strict=True)
        ]
        asked, trained = self.gradients(queries), self.gradients(run.train)
        total = torch.zeros(n, len(asked)).to(run.parameters)
        for i in range(len(self.layers)):
            A = sum(p * layers[i][0].T @ layers[i][0] for p, layers in drawn)
            S = sum(p * layers[i][1].T @ layers[i][1] for p, layers in drawn)
            U_A, U_S = torch.linalg.eigh(A).eigenvectors, torch.linalg.eigh(S).eigenvectors
            rotated = ((p, U_S.T @ layers[i][1].T @ layers[i][0] @ U_A) for p, layers in drawn)
            Lambda = sum(p * rows**2 for p, rows in rotated) / n
            for k in range(n):
                solved = U_S @ ((U_S.T @ trained[k][i] @ U_A) / (Lambda + damping)) @ U_A.T
                total[k] += torch.stack([(of[i] * solved).sum() for of in asked]) / n
        return total


def close(found, expected, tolerance=1e-8):
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize("name", RUNS)
def test_scores_are_those_of_the_formula(name):
    run = sr.train(RUNS[name]())
    found = sr.attribute(run, "ekfac", damping=DAMPING, draws=None)
    close(found.values, Plain(run).scores(run.workload.queries, DAMPING + run.objective.weight_decay))
    assert found.diagnostics["left_out"] == (8 if name == "normed" else 0)


def test_where_all_predictions_are_the_same_it_is_the_exact_influence_function():
    """At ω = 0 the curvature of logistic regression is a Kronecker product."""
    run = sr.train(small(n_train=50, weight_decay=0.02))
    run = replace(run, parameters=torch.zeros_like(run.parameters))
    exact = sr.attribute(run, "if", damping=DAMPING, solver="dense").values
    close(sr.attribute(run, "ekfac", damping=DAMPING, draws=None).values, exact)


def test_it_ranks_as_the_influence_function_does():
    run = sr.train(sr.load_workload("digits-logreg").override(n_train=200, n_query=20, steps=300))
    found, exact = (sr.attribute(run, name, damping=0.0).values for name in ("ekfac", "if"))
    ranks = [scores.argsort(0).argsort(0).double() for scores in (found, exact)]
    assert torch.corrcoef(torch.stack([part.flatten() for part in ranks]))[0, 1] > 0.5


def test_drawn_labels_come_near_the_expectation():
    run = sr.train(small(n_train=30))
    exact = sr.attribute(run, "ekfac", draws=None).values

    def away(draws):
        return float((sr.attribute(run, "ekfac", draws=draws).values - exact).norm() / exact.norm())

    assert away(400) < 0.1 < away(1)


def test_a_seed_says_which_labels_are_drawn():
    run = sr.train(small("digits-mlp", n_train=30))
    first = sr.attribute(run, "ekfac").values
    assert torch.equal(first, sr.attribute(run, "ekfac").values)  # by factors that were kept
    assert torch.equal(first, sr.attribute(run.fresh(), "ekfac").values)
    assert not torch.equal(first, sr.attribute(run, "ekfac", seed=1).values)


def test_batches_change_nothing_but_rounding():
    run = sr.train(small("digits-mlp", n_train=30))
    whole = sr.attribute(run, "ekfac").values
    close(sr.attribute(run.fresh(), "ekfac", memory_bytes=500_000).values, whole, 1e-9)


def test_pooled_queries_are_their_mean():
    run = sr.train(small("digits-mlp", n_train=30))
    queries = run.workload.queries
    pooled = sr.attribute(run, "ekfac", queries.pool()).values
    close(pooled, sr.attribute(run, "ekfac", queries).values.mean(1, keepdim=True), 1e-9)


def test_float32_is_near_float64():
    run = sr.train(small("digits-mlp", n_train=30))
    expected = sr.attribute(run, "ekfac", damping=DAMPING).values
    plain = sr.train(replace(run.workload, dtype="float32"))
    plain = replace(plain, parameters=run.parameters.float())
    found = sr.attribute(plain, "ekfac", damping=DAMPING).values
    assert found.dtype == torch.float32
    close(found.double(), expected, 1e-2)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.first(torch.tanh(self.first(x))))


class Shifted(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.shift = nn.Linear(4, 3), nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.layer(x) + self.shift


def half_frozen():
    layer = nn.Linear(4, 3)
    layer.bias.requires_grad_(False)
    return layer


def padded(**settings):
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, **settings), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(24, 3))


REFUSED = {
    "called twice": (VECTORS, Twice, "first"),
    "a parameter of its own": (VECTORS, Shifted, "'shift' \\(Shifted\\) is in neither"),
    "half frozen": (VECTORS, half_frozen, "'weight' \\(Linear\\) is in neither"),
    "groups": (COLOURS, lambda: padded(groups=3), "the layer '0'"),
    "padding": (COLOURS, lambda: padded(padding_mode="reflect"), "the layer '0'"),
    "one dimension": (
        IMAGES,
        lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(68, 3)),
        "'1.weight' \\(Conv1d\\) is in neither",
    ),
    "norms alone": (VECTORS, lambda: nn.LayerNorm(4), "has none"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_library_does_not_cover_is_refused(name):
    data, make, said = REFUSED[name]
    if name == "norms alone":
        data = replace(VECTORS, n_classes=4)
    run = sr.train(tiny(data, make))
    with pytest.raises(sr.SamattrError, match=said) as caught:
        sr.attribute(run, "ekfac")
    assert "\n" not in str(caught.value)


def test_a_single_layer_and_a_frozen_one_are_right():
    def features():
        network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        network[0].requires_grad_(False)
        return network

    for make in (lambda: nn.Linear(4, 3), features):
        run = sr.train(tiny(VECTORS, make))
        found = sr.attribute(run, "ekfac", damping=DAMPING, draws=None).values
        close(found, Plain(run).scores(run.workload.queries, DAMPING + run.objective.weight_decay))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"damping": -0.1}, "damping must be"),
        ({"damping": float("nan")}, "damping must be"),
        ({"draws": 0}, "at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options, said):
    with pytest.raises(sr.SamattrError, match=said):
        sr.attribute(sr.train(small(n_train=30)), "ekfac", **options)


def test_curvature_that_nothing_is_added_to_is_refused():
    with pytest.raises(sr.SamattrError, match="damping must be larger than 0"):
        sr.attribute(sr.train(small(n_train=30, weight_decay=0.0)), "ekfac", damping=0.0)
