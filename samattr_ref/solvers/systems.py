"""Square matrices that are known by their products, and what every solver needs of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor


class LinearSystem(Protocol):
    """A square matrix A [P, P] known by its products."""

    @property
    def size(self) -> int:
        """P."""

    @property
    def symmetric(self) -> bool:
        """Whether A = Aᵀ."""

    def product(self, v: Tensor) -> Tensor:
        """A v for v [P, m]."""

    def transpose_product(self, v: Tensor) -> Tensor:
        """Aᵀ v for v [P, m]."""

    def dense(self) -> Tensor:
        """A itself, float64 [P, P]."""

    def factors(self) -> "Factors":
        """A's factors; `Factors.of(self.dense())` unless they are kept from a solve before."""


class Preconditioner(Protocol):
    """An approximate inverse P⁻¹ of A, known by its products; symmetric and positive definite where `cg` needs A so."""

    def product(self, v: Tensor) -> Tensor:
        """P⁻¹ v for v [P, m]."""

    def transpose_product(self, v: Tensor) -> Tensor:
        """P⁻ᵀ v for v [P, m]."""


class Identity:
    """No preconditioner."""

    def product(self, v: Tensor) -> Tensor:
        """V itself."""
        return v

    transpose_product = product


@dataclass(frozen=True)
class Factors:
    """The LU factors of a matrix A, for solves with A or with Aᵀ.

    Attributes:
        lu: L and U in one matrix, float64 [P, P].
        pivots: Its row exchanges, int32 [P].
        regular: Whether no pivot is zero.
        transposed: Whether it is Aᵀ that is solved with.
    """

    lu: Tensor
    pivots: Tensor
    regular: bool
    transposed: bool = False

    @classmethod
    def of(cls, A: Tensor) -> "Factors":
        """The factors of A, float64 [P, P]."""
        lu, pivots, info = torch.linalg.lu_factor_ex(A)
        return cls(lu, pivots, int(info) == 0)

    @property
    def T(self) -> "Factors":  # noqa: N802 — as a matrix has it
        """Those of Aᵀ, in the same memory."""
        return replace(self, transposed=not self.transposed)

    def solve(self, b: Tensor) -> Tensor:
        """A⁻¹ b for b [P, m], or A⁻ᵀ b; not finite where A is singular."""
        x: Tensor = torch.linalg.lu_solve(self.lu, self.pivots, b, adjoint=self.transposed)
        return x


@dataclass(frozen=True)
class Transposed:
    """Aᵀ of a system A."""

    of: LinearSystem

    @property
    def size(self) -> int:
        """P."""
        return self.of.size

    @property
    def symmetric(self) -> bool:
        """Whether A = Aᵀ."""
        return self.of.symmetric

    def product(self, v: Tensor) -> Tensor:
        """Aᵀ v."""
        return self.of.transpose_product(v)

    def transpose_product(self, v: Tensor) -> Tensor:
        """A v."""
        return self.of.product(v)

    def dense(self) -> Tensor:
        """Aᵀ itself."""
        return self.of.dense().T

    def factors(self) -> Factors:
        """Those of A, transposed."""
        return self.of.factors().T


def relative_residual(product: Callable[[Tensor], Tensor], x: Tensor, b: Tensor) -> float:
    """The largest ‖b − A x‖ / ‖b‖ over the columns; a zero column of B counts as solved by zero."""
    return float((norms(b - product(x)) / positive(norms(b))).max())


def norms(v: Tensor) -> Tensor:
    """The 2-norm of each column."""
    found: Tensor = torch.linalg.vector_norm(v, dim=0)
    return found


def positive(v: Tensor) -> Tensor:
    """The same norms, to divide by: 1 where they are zero."""
    return torch.where(v > 0, v, 1.0)


def begin(system: LinearSystem, b: Tensor, start: Tensor | None) -> tuple[Tensor, Tensor]:
    """Where to begin, and the residual there.

    Each column of a start is scaled to its least residual, which is at most that of beginning from zero.
    """
    if start is None:
        return torch.zeros_like(b), b
    there = system.product(start)
    scale = (there * b).sum(0) / positive((there * there).sum(0))
    return scale * start, b - scale * there
