"""Parts that fit in memory: their lengths, what happens when memory runs out, and the peak of every method."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import samattr_ref as sr
from samattr_ref.support import memory as chunking
from samattr_ref.support.errors import MemoryLimitError
from samattr_ref.support.memory import block_length, chunk_length, in_chunks, memory_bound
from tests.conftest import small


def out_of_memory(kind):
    if kind == "cpu":
        torch.empty(2**50)  # more than any machine has
    raise {"cuda": torch.OutOfMemoryError("CUDA out of memory"), "numpy": MemoryError("Unable to allocate")}[kind]


@pytest.mark.parametrize("kind", ["cuda", "cpu", "numpy"])
def test_memory_that_ran_out_halves_the_chunk(kind):
    calls = []

    def squares(part):
        calls.append((part.start, part.stop))
        if part.stop - part.start > 3:
            out_of_memory(kind)
        return torch.arange(part.start, part.stop) ** 2

    found = torch.cat([squares for _, squares in in_chunks(squares, 10, 8)])
    assert torch.equal(found, torch.arange(10) ** 2)
    assert calls == [(0, 8), (0, 4), (0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]


@pytest.mark.parametrize("kind", ["cuda", "cpu", "numpy"])
def test_memory_that_has_no_room_for_one_item_is_one_line(kind):
    with pytest.raises(sr.SamattrError, match="memory ran out with a single item at a time") as raised:
        list(in_chunks(lambda part: out_of_memory(kind), 5, 4))
    assert "\n" not in str(raised.value)


def test_inner_parts_that_do_not_fit_halve_the_outer_ones():
    def outer(part):
        return sum(found for _, found in in_chunks(lambda inner: product(part, inner), 3, 3))

    def product(part, inner):
        if (part.stop - part.start) * (inner.stop - inner.start) > 2:
            out_of_memory("cuda")
        return (part.stop - part.start) * (inner.stop - inner.start)

    assert sum(found for _, found in in_chunks(outer, 8, 8)) == 24


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="size of tensor"):
        list(in_chunks(lambda part: torch.ones(2) + torch.ones(3), 4, 2))


def test_lengths_come_from_the_bound():
    assert (chunk_length(1000), block_length(1000)) == (67_108, 268_435)
    assert chunk_length(2**40) == 1  # where nobody gave a bound, one at a time
    with memory_bound(80_000):
        assert (chunk_length(1000), block_length(1000), chunking.states_bytes()) == (10, 40, 20_000)
        with pytest.raises(MemoryLimitError, match=r"80000 is too small: one training point takes about 10001 bytes"):
            chunk_length(10_001)
        with memory_bound(8000), memory_bound(None):
            assert chunk_length(1000) == 1
    assert chunking.states_bytes() is None


@pytest.mark.parametrize("bound", [0, -1, 1.5, True, "1G"])
def test_bounds_are_whole_numbers(bound):
    with pytest.raises(sr.SamattrError, match="memory_bytes must be a whole number of at least 1"):
        sr.attribute(sr.train(small()), "grad-dot", memory_bytes=bound)


@pytest.mark.parametrize("name", [name for name, method in sr.methods().items() if method.query_bytes is not None])
def test_a_bound_that_holds_nothing_is_one_line(name):
    run = sr.train(small())
    with pytest.raises(sr.SamattrError, match=r"memory_bytes = 1000 is too small: .* bytes") as raised:
        sr.attribute(run, name, memory_bytes=1000)
    assert "\n" not in str(raised.value)
    if sr.methods()[name].change is not None:
        with pytest.raises(sr.SamattrError, match="memory_bytes = 1000 is too small"):
            sr.parameter_change(run, name, [[0]], memory_bytes=1000)


def test_memory_that_runs_out_in_a_block_of_queries_halves_it(monkeypatch):
    run = sr.train(small())
    whole = sr.attribute(run, "grad-dot").values
    products = run.objective.product_chunks

    def scarce(omega, x, y, directions, points=None):
        if len(directions) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return products(omega, x, y, directions, points)

    monkeypatch.setattr(run.objective, "product_chunks", scarce)
    torch.testing.assert_close(sr.attribute(run, "grad-dot").values, whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", [name for name, method in sr.methods().items() if method.change is not None])
def test_groups_of_points_are_taken_in_blocks(name, monkeypatch):
    run, groups = sr.train(small()), [[0], [3, 4], [7]]
    options = {key: 0.3 for key in ("damping",) if key in sr.methods()[name].options}
    whole = sr.parameter_change(run, name, groups, **options)
    monkeypatch.setattr(chunking, "BLOCK", 2000)
    cut = sr.parameter_change(run, name, groups, **options)
    torch.testing.assert_close(cut, whole, rtol=1e-9, atol=1e-9 * float(whole.abs().max()))


@pytest.mark.slow
@pytest.mark.memory
def test_every_method_keeps_a_bound():
    """Within 16 MiB: the scores, 2 MiB, are there twice, and the allocator keeps some of what is given back."""
    bound, slack = 32 * 2**20, 16 * 2**20
    command = [sys.executable, "-W", "ignore", "-m", "tests.samattr_ref.peak_memory", str(bound)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert set(found) == set(sr.methods())
    for name, numbers in found.items():
        assert numbers["bounded"] < bound + slack, name
        bounded = sr.methods()[name].query_bytes is not None
        assert not bounded or numbers["unbounded"] > bound + 2 * slack, name
        assert numbers["difference"] < 1e-5, name
