"""Peak memory and scores of every method with and without a bound, in a process of its own: JSON on standard output."""

import json
import sys
from dataclasses import dataclass

import torch

import samattr_ref as sr
from baselines.measure import measured
from samattr_ref.registry import factored_query


@dataclass(frozen=True)
class Noise:
    """Random inputs and labels, as many training points and queries as asked for."""

    n_train: int
    n_query: int

    def load(self, seed):
        sizes = (self.n_train, self.n_query, 2, 2)
        sets = [sr.Examples(torch.randn(size, 64), torch.randint(10, (size,))) for size in sizes]
        return sr.Splits(*sets, torch.zeros(self.n_train, dtype=torch.bool), 10)


def run_of(n_train, batch_size):
    recipe = sr.SamRecipe(steps=4, batch_size=batch_size)
    return sr.train(sr.Workload("noise", Noise(n_train, 48), sr.MLP((512,)), recipe))


def quick(method):
    """Its benchmark options, with so much damping that a solve takes few iterations."""
    return {**method.benchmark, **({"damping": 10.0} if "damping" in method.benchmark else {})}


def main(bound):
    torch.manual_seed(0)
    few, many = run_of(40, 40), run_of(12_000, 6000)  # vectors of all parameters, or training points, take the memory
    cases = {
        name: (many if method.query_bytes in (None, factored_query) else few, quick(method))
        for name, method in sr.methods().items()
    }
    for name, (_, options) in cases.items():  # torch loads what it loads at the first use
        sr.attribute(few.fresh(), name, few.workload.queries.take(slice(0, 2)), **options)
    found, scores = {}, {}
    for name, (run, options) in cases.items():
        with measured() as cost:
            scores[name] = sr.attribute(run.fresh(), name, memory_bytes=bound, **options).values
        found[name] = {"bounded": cost.peak_memory_bytes}
    for name, (run, options) in cases.items():
        with measured() as cost:
            whole = sr.attribute(run.fresh(), name, **options).values
        found[name]["unbounded"] = cost.peak_memory_bytes
        found[name]["difference"] = float((scores[name] - whole).abs().max() / whole.abs().max())
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
