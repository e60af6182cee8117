"""Each solver against a dense one, on symmetric and unsymmetric systems, and what failure looks like."""

from dataclasses import dataclass, field

import pytest
import scipy.sparse.linalg
import torch

import samattr_ref as sr
from samattr_ref.solvers import gmres
from samattr_ref.solvers.preconditioner import LowRank, top_eigenvectors
from samattr_ref.solvers.solve import solve
from samattr_ref.solvers.systems import Factors, Transposed, relative_residual
from samattr_ref.support.memory import memory_bound


@dataclass
class Matrix:
    A: torch.Tensor
    symmetric: bool
    widths: list = field(default_factory=list)

    @property
    def size(self):
        return len(self.A)

    def product(self, v):
        self.widths.append(v.shape[1])
        return self.A @ v

    def transpose_product(self, v):
        return self.A.T @ v

    def dense(self):
        return self.A

    def factors(self):
        return Factors.of(self.A)


def systems():
    generator = torch.Generator().manual_seed(0)
    R = torch.randn(30, 30, generator=generator, dtype=torch.float64)
    spd = R @ R.T / 30 + 0.3 * torch.eye(30, dtype=torch.float64)
    skewed = spd @ (torch.eye(30, dtype=torch.float64) + 0.2 * spd.roll(3, 0).roll(3, 1).abs())
    return {"symmetric": Matrix(spd, True), "unsymmetric": Matrix(skewed, False)}


B = torch.randn(30, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("kind", ["symmetric", "unsymmetric"])
@pytest.mark.parametrize("solver", ["dense", "cg", "gmres", "neumann"])
def test_solvers_agree_with_a_dense_solve(solver, kind, transposed):
    system = systems()[kind]
    system = Transposed(system) if transposed else system
    found = solve(system, B, solver, order=20000).require()
    assert found.status == "converged"
    assert found.residual == pytest.approx(relative_residual(system.product, found.x, B), abs=1e-9)
    assert found.residual < 1e-9
    torch.testing.assert_close(found.x, torch.linalg.solve(system.dense(), B), rtol=1e-7, atol=1e-7)


def test_truncated_series_is_the_sum_of_its_terms_and_says_its_residual():
    system = systems()["symmetric"]
    found = solve(system, B, "neumann", order=3, scale=0.1)
    step = torch.eye(30, dtype=torch.float64) - 0.1 * system.A
    expected = 0.1 * sum(torch.linalg.matrix_power(step, j) @ B for j in range(4))
    torch.testing.assert_close(found.x, expected)
    assert found.status == "truncated"
    assert found.residual == pytest.approx(relative_residual(system.product, found.x, B))
    assert found.require() is found


@pytest.mark.parametrize(
    ("matrix", "solver", "options", "status"),
    [
        (-torch.eye(30, dtype=torch.float64), "cg", {}, "not_positive_definite"),
        (-torch.eye(30, dtype=torch.float64), "neumann", {"order": 10}, "diverged"),
        (torch.zeros(30, 30, dtype=torch.float64), "dense", {}, "singular"),
        (torch.zeros(30, 30, dtype=torch.float64), "gmres", {}, "stalled"),
        (torch.full((30, 30), torch.nan, dtype=torch.float64), "gmres", {}, "stalled"),
        (torch.diag(torch.logspace(-12, 3, 30, dtype=torch.float64)), "cg", {"max_iterations": 5}, "max_iterations"),
        (torch.diag(torch.logspace(-12, 3, 30, dtype=torch.float64)), "gmres", {"max_iterations": 5}, "max_iterations"),
    ],
)
def test_a_failed_solve_says_so_with_its_residual(matrix, solver, options, status):
    found = solve(Matrix(matrix, True), B, solver, **options)
    assert found.status == status
    with pytest.raises(sr.SamattrError, match=f"{solver}.*{status}.*residual"):
        found.require()


def test_unknown_solver_is_named_with_the_nearest():
    with pytest.raises(sr.SamattrError, match="did you mean 'gmres'"):
        solve(systems()["symmetric"], B, "gmress")


def test_a_zero_column_is_solved_by_zero():
    columns = B.clone()
    columns[:, 1] = 0
    for solver in ("dense", "cg", "gmres", "neumann"):
        found = solve(systems()["symmetric"], columns, solver, order=20000).require()
        assert torch.equal(found.x[:, 1], torch.zeros(30, dtype=torch.float64))


@pytest.mark.parametrize(("restart", "memory"), [(200, None), (6, None), (200, 2 * 2 * 31 * 30 * 8)])
@pytest.mark.parametrize("kind", ["symmetric", "unsymmetric"])
def test_all_columns_together_are_scipys_gmres_one_at_a_time(kind, restart, memory, monkeypatch):
    monkeypatch.setattr(gmres, "RESTART", restart)
    system = systems()[kind]
    with memory_bound(memory):  # which has room for the bases of two columns
        found = solve(system, B, "gmres").require()
    steps = []
    for j in range(4):
        taken = []
        x, info = scipy.sparse.linalg.gmres(
            system.A.numpy(),
            B[:, j].numpy(),
            rtol=1e-10,
            restart=min(restart, 30),
            maxiter=100,
            callback=taken.append,
            callback_type="pr_norm",
        )
        assert info == 0
        torch.testing.assert_close(found.x[:, j], torch.as_tensor(x), rtol=1e-8, atol=1e-9)
        steps.append(len(taken))
    together = [max(steps[:2]), max(steps[2:])] if memory else [max(steps)]
    assert abs(found.iterations - sum(together)) <= len(together)


@pytest.mark.parametrize("solver", ["cg", "gmres"])
def test_columns_that_are_done_take_no_more_products(solver):
    system = systems()["symmetric"]
    columns = B.clone()
    columns[:, :2] = torch.linalg.eigh(system.A).eigenvectors[:, :2]  # each is solved by one step
    found = solve(system, columns, solver).require()
    assert system.widths[0] == 4
    assert set(system.widths[1 : found.iterations]) <= {1, 2}
    torch.testing.assert_close(found.x, torch.linalg.solve(system.A, columns), rtol=1e-7, atol=1e-8)


def test_restarts_that_gain_nothing_are_given_up(monkeypatch):
    monkeypatch.setattr(gmres, "RESTART", 10)
    shift = Matrix(torch.eye(30, dtype=torch.float64).roll(1, 0), False)
    unit = torch.eye(30, dtype=torch.float64)[:, :1]
    found = solve(shift, unit, "gmres")  # the residual stays at 1 until the space is the whole one
    assert (found.status, found.iterations, found.residual) == ("stalled", 10, 1)
    monkeypatch.setattr(gmres, "RESTART", 30)
    torch.testing.assert_close(solve(shift, unit, "gmres").require().x, unit.roll(-1, 0))


@pytest.mark.parametrize("kind", ["symmetric", "unsymmetric"])
@pytest.mark.parametrize("solver", ["cg", "gmres"])
def test_a_start_changes_the_number_of_steps_and_not_the_solution(solver, kind):
    system = systems()[kind]
    cold = solve(system, B, solver).require()
    near = Matrix(system.A + 1e-6 * torch.eye(30, dtype=torch.float64), system.symmetric)
    starts = {"solution": cold.x, "near": solve(near, B, "dense").x, "scaled": 1e9 * cold.x, "wrong": 1e9 * B.flip(0)}
    warm = {name: solve(system, B, solver, start=start).require() for name, start in starts.items()}
    for found in warm.values():
        torch.testing.assert_close(found.x, cold.x, rtol=1e-7, atol=1e-8)
    assert warm["near"].iterations < 0.8 * cold.iterations
    assert max(warm["solution"].iterations, warm["scaled"].iterations) <= 0.2 * cold.iterations
    assert warm["wrong"].iterations <= cold.iterations + 2


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("kind", ["symmetric", "unsymmetric"])
@pytest.mark.parametrize("solver", ["cg", "gmres"])
def test_a_preconditioner_changes_the_number_of_steps_and_not_the_solution(solver, kind, transposed):
    Q = torch.linalg.qr(systems()["symmetric"].A).Q
    A = Q @ torch.cat([torch.logspace(1, 3, 8), torch.linspace(0.8, 1.2, 22)]).double().diag() @ Q.T
    U = top_eigenvectors(lambda v: A @ v, B[:, 0], 8)
    torch.testing.assert_close(U @ U.T, Q[:, :8] @ Q[:, :8].T, rtol=0, atol=1e-5)
    if kind == "unsymmetric":
        A = A @ (torch.eye(30, dtype=torch.float64) + 1e-3 * systems()["unsymmetric"].A)
    preconditioner = LowRank(U, torch.linalg.inv(U.T @ A @ U), 1.0)
    P = Q @ (preconditioner.product(Q)).T  # (P⁻¹)ᵀ, column by column
    torch.testing.assert_close(preconditioner.transpose_product(B), P @ B)
    system = Matrix(A, kind == "symmetric")
    system = Transposed(system) if transposed else system
    plain = solve(system, B, solver).require()
    found = solve(system, B, solver, preconditioner=preconditioner.T if transposed else preconditioner).require()
    torch.testing.assert_close(found.x, torch.linalg.solve(system.dense(), B), rtol=1e-7, atol=1e-8)
    assert found.iterations < 0.7 * plain.iterations


def test_a_matrix_without_leading_eigenvectors_is_refused():
    with pytest.raises(sr.SamattrError, match="the curvature's 3 leading eigenvectors were not found"):
        top_eigenvectors(torch.zeros_like, B[:, 0], 3)
