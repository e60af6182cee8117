"""Each form of the family against a closed form for softmax regression, written out here in NumPy."""

import itertools
import math
import statistics
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

import samattr_ref as sr
from samattr_ref.implicit import attribution, system
from samattr_ref.implicit.options import ImplicitOptions
from samattr_ref.implicit.system import ImplicitSystem
from samattr_ref.implicit.warm_starts import warm_starts
from samattr_ref.methods import sam_hif, sam_hif_implicit
from samattr_ref.sam.perturbation import perturbation, perturbation_derivative
from samattr_ref.solvers.preconditioner import top_eigenvectors
from samattr_ref.solvers.solve import solve
from samattr_ref.solvers.systems import Factors, Transposed
from tests.conftest import small

FORMS = ["if", "sam-if", "sam-hif", "sam-hif-implicit"]


def regression(run, W):
    """Closed forms at weights W [c, d+1] on inputs with a 1 appended: gradients [n, c(d+1)] and Hessian without λI."""
    x = run.train.x.flatten(1).cpu().numpy()
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    z = x @ W.T
    pi = np.exp(z - z.max(1, keepdims=True))
    pi /= pi.sum(1, keepdims=True)
    delta = pi - np.eye(W.shape[0])[run.train.y.cpu().numpy()]
    gradients = np.einsum("nc,nd->ncd", delta, x).reshape(len(x), -1)
    S = np.einsum("nc,ck->nck", pi, np.eye(W.shape[0])) - np.einsum("nc,nk->nck", pi, pi)
    H = np.einsum("nck,nd,ne->cdke", S, x, x).reshape(gradients.shape[1], -1) / len(x)
    return gradients, H


def order_of(run):
    """Positions of [W | b] rows, flattened, in the parameter vector of torch's Linear (all of W, then b)."""
    c = run.splits.n_classes
    d = run.train.x[0].numel()
    index = np.arange(c * (d + 1))
    return np.concatenate([index[: c * d].reshape(c, d), index[c * d :].reshape(c, 1)], axis=1).reshape(-1)


def closed_form(run, form):
    """Δ of removing each single point, [n, P], every formula spelled out."""
    recipe, n, order = run.workload.recipe, run.n_train, order_of(run)
    omega = run.parameters.cpu().numpy()[order]
    P, lam, rho, p = len(omega), recipe.weight_decay, recipe.rho, recipe.p
    shape = (run.splits.n_classes, -1)
    gradients0, H0 = regression(run, omega.reshape(shape))
    H0 = H0 + lam * np.eye(P)
    g = gradients0.mean(0) + lam * omega
    if math.isinf(p):
        e, E = rho * np.sign(g), np.zeros((P, P))
    else:
        q = p / (p - 1)
        N = (np.abs(g) ** q).sum() ** (1 / q)
        e = rho * np.sign(g) * np.abs(g) ** (q - 1) / N ** (q - 1)
        # ∂/∂g_j of ρ s_i |g_i|^(q−1) N^(1−q), with ∂N/∂g_j = s_j |g_j|^(q−1) N^(1−q)
        power = np.sign(g) * np.abs(g) ** (q - 1)
        E = rho * (q - 1) * (np.diag(np.abs(g) ** (q - 2)) * N ** (1 - q) - np.outer(power, power) * N ** (1 - 2 * q))
    gradients, H = regression(run, (omega + e).reshape(shape))
    H = H + lam * np.eye(P)
    A, right = {
        "if": (H0, gradients0.T),
        "sam-if": (H, gradients.T),
        "sam-hif": (H + H @ E @ H0, gradients.T),
        "sam-hif-implicit": (H + H @ E @ H0, gradients.T + H @ E @ gradients0.T),
    }[form]
    change = np.empty((n, P))
    change[:, order] = (np.linalg.solve(A, right) / n).T
    return torch.as_tensor(change).to(run.parameters)


@pytest.fixture(scope="module", params=[2.0, 3.0, math.inf])
def run(request):
    return sr.train(small(p=request.param, rho=0.05 if math.isinf(request.param) else 0.2, steps=150))


@pytest.mark.parametrize("form", FORMS)
def test_forms_agree_with_their_closed_forms(run, form):
    expected = closed_form(run, form)
    change = sr.parameter_change(run, form, [[k] for k in range(run.n_train)])
    scores = sr.attribute(run, form)
    scale = expected.abs().max()
    assert (change - expected).abs().max() < 1e-8 * scale
    products = expected @ run.query_gradients(run.workload.queries).T
    assert (scores.values - products).abs().max() < 1e-8 * products.abs().max()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("solver", ["cg", "gmres", pytest.param("neumann", marks=pytest.mark.slow)])
def test_solvers_agree_with_dense(run, form, solver):
    damping = 0.05 if solver == "neumann" else 0.0  # the series converges without, in minutes
    dense = sr.attribute(run, form, solver="dense", damping=damping).values
    found = sr.attribute(run, form, solver=solver, damping=damping, order=200_000, max_iterations=50_000)
    assert found.diagnostics["status"] == "converged"
    assert (found.values - dense).abs().max() < 1e-6 * dense.abs().max()


@pytest.mark.parametrize("form", FORMS)
def test_a_group_is_the_sum_of_its_points(run, form):
    groups = [[3, 1, 20], [5], []]
    change = sr.parameter_change(run, form, groups)
    single = sr.parameter_change(run, form, [[3], [1], [20]])
    torch.testing.assert_close(change[0], single.sum(0))
    assert torch.equal(change[2], torch.zeros_like(change[2]))


@pytest.mark.slow
def test_the_fast_form_converges_to_the_dense_one(run):
    dense = sr.attribute(run, "sam-hif", solver="dense").values
    errors = []
    for order in (1, 10, 100, 1000):
        fast = sr.attribute(run, "sam-hif-fast", order=order)
        errors.append(float((fast.values - dense).norm() / dense.norm()))
        assert fast.diagnostics["status"] in ("truncated", "converged")
    assert errors == sorted(errors, reverse=True)


def test_diagnostics_hold_what_must_be_known(run):
    found = sr.attribute(run, "sam-hif").diagnostics
    norm = float(run.gradient(run.parameters).norm())
    assert found["grad_norm"] == pytest.approx(norm)
    assert found["rho_over_grad_norm"] == pytest.approx(run.workload.recipe.rho / norm)
    assert found["status"] == "converged"
    assert found["residual"] < 1e-10


def test_without_radius_all_forms_are_the_classical_one():
    run = sr.train(small(rho=0.0))
    classical = sr.attribute(run, "if").values
    for form in FORMS[1:]:
        torch.testing.assert_close(sr.attribute(run, form).values, classical)


def test_gauss_newton_and_hessian_are_the_same_for_a_linear_model(run):
    for form in FORMS:
        exact = sr.attribute(run, form, curvature="hessian").values
        torch.testing.assert_close(sr.attribute(run, form, curvature="gauss-newton").values, exact)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"damping": -1.0}, "damping must be"),
        ({"curvature": "gaus-newton"}, "did you mean 'gauss-newton'"),
        ({"dampening": 0.1}, "did you mean 'damping'"),
        ({"damping": "much"}, "cannot be 'much'"),
        ({"order": 0}, "order and max_iterations"),
        ({"preconditioner_rank": -1}, "preconditioner_rank must be at least 0, not -1"),
        ({"preconditioner_rank": 2.5}, "preconditioner_rank of sam-hif cannot be 2.5: it takes a whole number"),
        ({"preconditioner_rank": 650}, "preconditioner_rank must be less than the number of parameters, 650"),
    ],
)
def test_bad_options_are_refused(run, options, said):
    with pytest.raises(sr.SamattrError, match=said):
        sr.attribute(run, "sam-hif", **options)


def test_a_solver_that_does_not_converge_is_an_error(run):
    with pytest.raises(sr.SamattrError, match=r"max_iterations.*residual"):
        sr.attribute(run, "sam-if", solver="cg", max_iterations=2)


def hessian(run, omega, x, y):
    return torch.autograd.functional.hessian(lambda w: run.objective.loss(w, x, y), omega)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_mean_over_batches_agrees_with_its_sum_written_out(form):
    run = sr.train(small(rho=0.2, steps=30))
    recipe, n = run.workload.recipe, run.n_train
    A, right = (torch.zeros(650, columns).to(run.parameters) for columns in (650, n))
    for t in range(28, 30):
        batch = run.batch(t)
        x, y = run.train.x[batch], run.train.y[batch]
        g = run.objective.eager_gradient(run.parameters, x, y)
        e = perturbation(g, recipe.rho) if form != "if" else torch.zeros_like(g)
        at = run.parameters + e
        H0, H = (hessian(run, w, x, y) for w in (run.parameters, at))
        E = perturbation_derivative(g, torch.eye(650).to(g), recipe.rho)
        gradients0, gradients = (run.objective.sample_gradients(w, x, y).T for w in (run.parameters, at))
        A += (H + H @ E @ H0 if "hif" in form else H) / 2
        right[:, batch] += (
            (gradients + H @ E @ gradients0 if form == "sam-hif-implicit" else gradients) / len(batch) / 2
        )
    expected = torch.linalg.solve(A, right).T
    change = sr.parameter_change(run, form, [[k] for k in range(n)], batches=2)
    assert (change - expected).abs().max() < 1e-8 * expected.abs().max()
    scores = sr.attribute(run, form, batches=2).values
    torch.testing.assert_close(scores, change @ run.query_gradients(run.workload.queries).T)
    torch.testing.assert_close(sr.attribute(run, form, batches=2, solver="gmres").values, scores, rtol=1e-5, atol=1e-8)
    pair = sr.parameter_change(run, form, [[4, 9]], batches=2)[0]
    torch.testing.assert_close(pair, change[4] + change[9])


def test_all_points_in_one_batch_are_the_full_training_set():
    run = sr.train(small(batch_size=None))
    whole = sr.attribute(run, "sam-hif-implicit").values
    torch.testing.assert_close(sr.attribute(run, "sam-hif-implicit", batches=3).values, whole, rtol=1e-8, atol=1e-12)
    with pytest.raises(sr.SamattrError, match="batches must be a whole number from 1 to the number of steps, 40"):
        sr.attribute(run, "sam-hif-implicit", batches=41)


@pytest.fixture(scope="module")
def flat():
    """A run whose curvature is nearly singular: 2410 parameters, 60 points."""
    return sr.train(small("digits-mlp"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "solver", "damping"),
    [("sam-if", "cg", 1e-3), ("sam-hif", "gmres", 1e-3), ("sam-hif-implicit", "gmres", 1e-3), ("sam-hif", "cg", 0.03)],
)
def test_a_preconditioner_saves_steps_and_leaves_the_scores(flat, form, solver, damping):
    system = {"curvature": "gauss-newton", "damping": damping}
    options = system | {"solver": solver, "max_iterations": 5000}
    exact = sr.attribute(replace(flat), form, solver="dense", **system).values
    plain = sr.attribute(replace(flat), form, **options)
    found = sr.attribute(replace(flat), form, preconditioner_rank=40, **options)
    for scores in (plain.values, found.values):
        assert (scores - exact).abs().max() < 1e-7 * exact.abs().max()
    assert found.diagnostics["iterations"] < 0.6 * plain.diagnostics["iterations"]
    changes = [
        sr.parameter_change(replace(flat), form, [[3], [1, 2]], preconditioner_rank=k, **options) for k in (0, 40)
    ]
    assert (changes[1] - changes[0]).abs().max() < 1e-7 * changes[0].abs().max()


def test_eigenvectors_are_found_once_a_run(flat, monkeypatch):
    run, calls = replace(flat), []
    monkeypatch.setattr(system, "top_eigenvectors", lambda *given: calls.append(given) or top_eigenvectors(*given))
    options = {"solver": "gmres", "preconditioner_rank": 20}
    for form, damping in itertools.product(FORMS[2:], (1e-2, 1e-1)):
        sr.attribute(run, form, curvature="gauss-newton", damping=damping, **options)
    assert len(calls) == 1
    sr.attribute(run, "sam-hif", damping=0.5, **options)
    assert len(calls) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("form", "solver"), [("sam-if", "cg"), ("sam-hif", "gmres"), ("sam-hif-implicit", "gmres")])
def test_among_dampings_iterations_begin_at_the_latest_solution(flat, form, solver, monkeypatch):
    queries, run, starts = flat.workload.queries, replace(flat), []

    def recorded(*given, start, **options):
        starts.append(start is not None)
        return solve(*given, start=start, **options)

    def scores_of(given, on, damping, curvature):
        return sr.attribute(given, form, on, solver=solver, damping=damping, curvature=curvature)

    calls = [
        (queries, 1e-2, "gauss-newton"),
        (queries, 2e-2, "gauss-newton"),
        (queries, 2e-2, "gauss-newton"),
        (queries.take(torch.arange(7).flip(0)), 2e-2, "gauss-newton"),
        (queries.pool(), 2e-2, "gauss-newton"),
        (queries.pool(), 0.5, "hessian"),
        (queries.pool(), 0.4, "hessian"),
    ]
    fresh = [scores_of(replace(flat), *call) for call in calls]
    with monkeypatch.context() as patch, warm_starts():
        patch.setattr(attribution, "solve", recorded)
        found = [scores_of(run, *call) for call in calls]
    for warm, cold in zip(found, fresh, strict=True):
        assert (warm.values - cold.values).abs().max() < 1e-7 * cold.values.abs().max()
    assert starts == [False, True, True, False, False, False, True]
    # the same once more is all but solved
    assert found[2].diagnostics["iterations"] < 0.2 * fresh[2].diagnostics["iterations"]
    monkeypatch.setattr(attribution, "solve", recorded)
    starts.clear()
    for call, cold in zip(calls, fresh, strict=True):
        assert torch.equal(scores_of(run, *call).values, cold.values)
    assert not any(starts)


@pytest.mark.parametrize("first", FORMS)
def test_no_other_system_takes_a_start(first, monkeypatch):
    """Each after each: other terms, and the transposed system of a parameter change."""
    run = sr.train(small(steps=20))
    for second in FORMS:
        given = []
        monkeypatch.setattr(
            attribution, "solve", lambda *a, start, given=given, **o: given.append(start) or solve(*a, **o)
        )
        with warm_starts():
            sr.attribute(run, first, solver="gmres")
            sr.attribute(run, second, solver="gmres", damping=0.1)
            sr.parameter_change(run, second, [[3]], solver="gmres", damping=0.1)
            sr.attribute(run.fresh(), second, solver="gmres", damping=0.1)
        same = first == second or {first, second} == {"sam-hif", "sam-hif-implicit"}
        assert [start is not None for start in given] == [False, same, False, False]


@pytest.fixture(scope="module")
def coarse():
    """A float32 run, in which every other order of operations shows."""
    return sr.train(small("digits-mlp", hidden=(4,), dtype="float32"))


GAUSS = {"curvature": "gauss-newton", "damping": 0.1}
CALLS = [
    GAUSS | {"solver": "dense"},
    GAUSS | {"solver": "cg"},
    GAUSS | {"solver": "cg", "preconditioner_rank": 5, "damping": 0.2},
    GAUSS | {"solver": "gmres", "preconditioner_rank": 5},
    GAUSS | {"solver": "gmres", "memory_bytes": 2**24},
    GAUSS | {"solver": "neumann", "order": 10},
    GAUSS | {"solver": "dense", "batches": 3},
    GAUSS | {"solver": "gmres", "batches": 3, "damping": 0.2},
]


@pytest.mark.slow
@pytest.mark.parametrize("form", [*FORMS, "sam-hif-fast"])
def test_no_bit_depends_on_what_was_computed_before(coarse, form):
    def scored(run, call):
        return sr.attribute(run, form, **call).values

    def changed(run, call):
        return sr.parameter_change(run, form, [[3], [1, 2]], **call)

    asked = [(ask, call) for call in CALLS for ask in (scored, changed)]
    fresh = [ask(replace(coarse), call) for ask, call in asked]
    run = replace(coarse)
    for (ask, call), alone in reversed(list(zip(asked, fresh, strict=True))):
        assert torch.equal(ask(run, call), alone), (ask.__name__, call)


def test_a_bound_that_is_too_small_is_so_whatever_was_computed_before(coarse):
    run = replace(coarse)
    sr.attribute(run, "sam-hif", solver="dense", **GAUSS)
    with pytest.raises(sr.SamattrError, match="a dense solve, which solver=cg avoids"):
        sr.attribute(run, "sam-hif", solver="dense", memory_bytes=2**20, **GAUSS)


def test_the_factors_of_a_dense_solve_are_kept_for_the_same_matrix(monkeypatch):
    run, made, of = sr.train(small()), [], Factors.of
    monkeypatch.setattr(Factors, "of", lambda A: made.append(A) or of(A))
    counts = []
    for form, damping in [("sam-hif", 1e-2), ("sam-hif-implicit", 1e-2), ("sam-hif", 2e-2), ("sam-if", 2e-2)]:
        options = {"solver": "dense", "damping": damping}
        scores, pooled = (sr.attribute(run, form, on, **options).values for on in (None, run.workload.queries.pool()))
        change = sr.parameter_change(run, form, [[3], [5]], **options)
        counts.append(len(made))
        torch.testing.assert_close(scores.mean(1), pooled[:, 0], rtol=1e-8, atol=1e-10)
        products = change @ run.query_gradients(run.workload.queries).T
        torch.testing.assert_close(scores[[3, 5]], products, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(scores, sr.attribute(run.fresh(), form, **options).values)
        made[counts[-1] :] = []
    assert counts == [1, 1, 2, 3]


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize(
    ("form", "kept", "solver"),
    [
        ("sam-hif", sam_hif.FORM, "gmres"),
        ("sam-hif-implicit", sam_hif_implicit.FORM, "gmres"),
        ("sam-hif-implicit", sam_hif_implicit.FORM, "dense"),  # the one with more to do after the solve
    ],
)
def test_scores_of_all_points_cost_little_more_than_the_solves(form, kept, solver):
    """At most 1.2 times 50 solves, whatever n is: seconds of the processor, and room for what runs beside."""
    options = {"curvature": "gauss-newton", "damping": 0.03}

    def solved(run, directions):
        system = ImplicitSystem(run, kept, ImplicitOptions(**options))
        solve(Transposed(system), directions, solver).require()

    def scored(run, solver):
        sr.attribute(run, form, solver=solver, **options)

    for n in (100, 500):
        run = sr.train(sr.load_workload("digits-mlp").override(n_train=n, n_query=50, steps=40))
        scored(run.fresh(), "gmres")  # torch loads what it loads at the first use
        directions = run.query_gradients(run.workload.queries).T.contiguous()
        pairs = [(seconds(scored, run.fresh(), solver), seconds(solved, run.fresh(), directions)) for _ in range(3)]
        assert statistics.median(whole / part for whole, part in pairs) < 1.3


def seconds(function, *given):
    begin = time.process_time()
    function(*given)
    return time.process_time() - begin
