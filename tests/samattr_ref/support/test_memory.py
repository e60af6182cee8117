"""Parts that fit in memory: their lengths, what happens when memory runs out, and the peak of every method."""

from dataclasses import dataclass

import pytest
import torch

import samattr_ref as sr
from samattr_ref.registry import factored_query
from samattr_ref.support import memory as chunking
from samattr_ref.support.errors import MemoryLimitError
from samattr_ref.support.memory import block_length, chunk_length, in_chunks, memory_bound
from tests.conftest import needs_cpu, small
from tests.samattr_ref.allocated import peak_bytes


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


@pytest.mark.slow
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


def test_allocated_memory_is_counted_to_the_byte():
    before = [torch.zeros(10_000)]

    def call():
        first = torch.zeros(1000)
        second = first.double()
        del first
        before.clear()  # what was there before is none of the call's
        return torch.cat([second, second])

    found, peak = peak_bytes(call)
    assert peak == 8000 + found.nbytes == 24_000


BOUND = 16 * 2**20

TRIED = 100
"""So many vectors of all parameters the first use of a network may hold: `samattr_ref.attribute` says so."""


@dataclass(frozen=True)
class Noise:
    """Random inputs and labels, as many training points as asked for."""

    n_train: int

    def load(self, seed):
        sizes = (self.n_train, 48, 2, 2)
        sets = [sr.Examples(torch.randn(size, 64), torch.randint(10, (size,))) for size in sizes]
        return sr.Splits(*sets, torch.zeros(self.n_train, dtype=torch.bool), 10)


def run_of(n_train, batch_size):
    recipe = sr.SamRecipe(steps=4, batch_size=batch_size)
    return sr.train(sr.Workload("noise", Noise(n_train), sr.MLP((512,)), recipe))


@pytest.fixture(scope="module")
def few():
    """A run whose vectors of all parameters take the memory."""
    return run_of(40, 40)


@pytest.fixture(scope="module")
def many():
    """A run whose training points take the memory."""
    return run_of(12_000, 6000)


@needs_cpu  # on a GPU libraries hold memory of their own
@pytest.mark.slow
@pytest.mark.parametrize("name", sr.methods())
def test_every_method_keeps_a_bound(name, few, many):
    """Beside the scores, which are there twice."""
    method = sr.methods()[name]
    run = many if method.query_bytes in (None, factored_query) else few
    options = {**method.benchmark, **({"damping": 10.0} if "damping" in method.benchmark else {})}
    sr.attribute(run, name, memory_bytes=BOUND, **options)  # its network is tried at the first use
    bounded, most = peak_bytes(lambda: sr.attribute(run.fresh(), name, memory_bytes=BOUND, **options).values)
    assert most < BOUND + 2 * bounded.nbytes
    whole, unbounded = peak_bytes(lambda: sr.attribute(run.fresh(), name, **options).values)
    assert method.query_bytes is None or unbounded > 1.5 * (BOUND + 2 * whole.nbytes)
    assert float((bounded - whole).abs().max()) < 1e-5 * float(whole.abs().max())


@needs_cpu  # on a GPU libraries hold memory of their own
@pytest.mark.slow
def test_the_first_use_of_a_network_takes_no_more_than_it_says_beside_the_bound():
    run, options = run_of(40, 40), {**sr.methods()["sam-hif"].benchmark, "damping": 10.0}

    def call():
        return sr.attribute(run.fresh(), "sam-hif", memory_bytes=BOUND, **options).values

    (_, first), (_, second) = peak_bytes(call), peak_bytes(call)
    assert 0 < first - second < TRIED * run.parameters.nbytes


def test_a_method_that_holds_more_than_a_bound_is_seen():
    run = sr.train(small())

    def greedy(run, queries):
        held = torch.empty(2 * BOUND, dtype=torch.uint8)
        return torch.zeros(run.n_train, len(queries)) + held.shape[0]

    scores, most = peak_bytes(lambda: sr.attribute(run, greedy, memory_bytes=BOUND).values)
    assert most > BOUND + 2 * scores.nbytes
