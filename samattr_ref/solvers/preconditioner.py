"""A preconditioner for solves with a network's curvature, of which few eigenvalues are large and most are near zero."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse.linalg
import torch
from torch import Tensor

from samattr_ref.support.errors import SolverError
from samattr_ref.support.seeds import stream

ACCURACY = 1e-3
"""How accurate eigenvalues must be, relative: `LowRank` takes any basis that nearly holds the leading directions."""


@dataclass(frozen=True)
class LowRank:
    """P⁻¹ = U (Uᵀ A U)⁻¹ Uᵀ + (I − U Uᵀ)/μ: A itself on the span of U, a multiple of the identity across it.

    Where U holds eigenvectors of a symmetric A, Uᵀ A U is the diagonal matrix of their eigenvalues.

    Attributes:
        U: Orthonormal columns, [P, k].
        inverse: (Uᵀ A U)⁻¹, [k, k].
        mu: μ > 0.
    """

    U: Tensor
    inverse: Tensor
    mu: float

    @property
    def T(self) -> "LowRank":  # noqa: N802 — as a matrix has it
        """That of Aᵀ."""
        return replace(self, inverse=self.inverse.T)

    def product(self, v: Tensor) -> Tensor:
        """P⁻¹ v for v [P, m]."""
        along = self.U.T @ v
        across = v - self.U @ along
        across = across - self.U @ (self.U.T @ across)  # what rounding left of the first, times 1/μ, would be large
        return self.U @ (self.inverse @ along) + across / self.mu

    def transpose_product(self, v: Tensor) -> Tensor:
        """P⁻ᵀ v for v [P, m]."""
        return self.T.product(v)


def top_eigenvectors(product: Callable[[Tensor], Tensor], like: Tensor, rank: int) -> Tensor:
    """Eigenvectors of a symmetric matrix to its eigenvalues of largest size, [P, rank], by ARPACK's Lanczos iteration.

    Args:
        product: The product with v [P, m].
        like: A vector [P] of the products' dtype and device.
        rank: How many, fewer than P.

    Raises:
        SolverError: if the iteration finds none.
    """

    def matvec(v: np.ndarray) -> np.ndarray:
        return product(torch.as_tensor(v).to(like).reshape(-1, 1))[:, 0].double().cpu().numpy()

    operator = scipy.sparse.linalg.LinearOperator((len(like), len(like)), matvec=matvec, dtype=np.float64)
    begin = torch.randn(len(like), generator=stream(0, "Lanczos"), dtype=torch.float64).numpy()
    try:
        vectors = scipy.sparse.linalg.eigsh(operator, rank, v0=begin, tol=ACCURACY)[1]
    except scipy.sparse.linalg.ArpackError as error:
        raise SolverError(f"the curvature's {rank} leading eigenvectors were not found: {error}") from error
    return torch.as_tensor(vectors).to(like)
