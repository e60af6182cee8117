"""Each solver against a dense one, on symmetric and unsymmetric systems, and what failure looks like."""

from dataclasses import dataclass

import pytest
import torch

import samattr_ref as sr
from samattr_ref.solvers import Transposed, relative_residual, solve


@dataclass
class Matrix:
    A: torch.Tensor
    symmetric: bool

    @property
    def size(self):
        return len(self.A)

    def product(self, v):
        return self.A @ v

    def transpose_product(self, v):
        return self.A.T @ v

    def dense(self):
        return self.A


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
