"""Global generators under a seed, and digests of what has none."""

import random

import numpy as np
import torch

from samattr_ref.support.seeds import UNKEYED, json_digest, seeded


def drawn():
    return float(torch.rand(())), float(np.random.rand()), random.random()  # noqa: NPY002 — the global one


def test_all_global_generators_are_seeded_and_put_back():
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    expected = drawn()
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    with seeded(5, "one"):
        one = drawn()
    assert drawn() == expected
    with seeded(5, "one"):
        assert drawn() == one
    with seeded(5, "another"):
        assert all(a != b for a, b in zip(drawn(), one, strict=True))


def test_generators_are_put_back_after_an_error():
    torch.manual_seed(1)
    expected = float(torch.rand(()))
    torch.manual_seed(1)
    try:
        with seeded(5, "one"):
            raise ValueError
    except ValueError:
        pass
    assert float(torch.rand(())) == expected


def test_what_depends_on_something_unkeyed_is_unkeyed():
    assert json_digest([1, {"key": f"{UNKEYED}3f"}]).startswith(UNKEYED)
    assert not json_digest([1, {"key": "3f"}]).startswith(UNKEYED)
