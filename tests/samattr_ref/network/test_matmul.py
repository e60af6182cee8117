"""Large matrix products against plain ones."""

import pytest
import torch

from samattr_ref.network import matmul


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 1, 1), (64, 50, 33), (3, 4, 0), (0, 4, 3)])
@pytest.mark.parametrize("small", [-1, 2**20])
def test_products_equal_plain_ones(shape, dtype, small, monkeypatch):
    monkeypatch.setattr(matmul, "SMALL", small)
    m, n, k = shape
    a, b = torch.randn(m, k, dtype=dtype), torch.randn(k, n, dtype=dtype).T
    exact = (a.double() @ b.double().T).to(dtype)
    torch.testing.assert_close(matmul.matmul_t(a, b), exact)
    torch.testing.assert_close(matmul.matmul_t(a.T.contiguous().T, b), exact)
