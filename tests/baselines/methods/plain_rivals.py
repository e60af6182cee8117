"""The formulas of the rivals in the plainest way: dense matrices in float64, one point and one layer at a time."""

from functools import cached_property

import torch
from torch import nn

from samattr_ref.support.seeds import stream_seed
from samattr_ref.trajectory import segments
from tests.baselines.methods.test_ekfac import Plain
from tests.samattr_ref.oracle import hessian, plain_module, sample_gradients


class Twin:
    """What each method says of a run's queries, [n_train, n_query].

    Args:
        run: The run.
        queries: The queries; its own by default.
    """

    def __init__(self, run, queries=None):
        self.run, self.n, self.decay = run, run.n_train, run.objective.weight_decay
        self.queries = run.workload.queries if queries is None else queries
        self.module = plain_module(run.workload)

    def rows(self, examples, omega=None):
        omega = self.run.parameters if omega is None else omega
        return sample_gradients(self.module, omega, examples.x, examples.y)

    @cached_property
    def trained(self):
        """∇ℓ_k(ω_T), [n_train, P]."""
        return self.rows(self.run.train)

    @cached_property
    def asked(self):
        """∇ℓ_q(ω_T), [n_query, P]."""
        return self.rows(self.queries)

    @cached_property
    def hessian(self):
        """H, [P, P]."""
        H = hessian(self.module, self.run.parameters, self.run.train.x, self.run.train.y)
        return (H + H.T) / 2

    def curvature(self, damping):
        """H + (δ + λ) I."""
        return self.hessian + (damping + self.decay) * torch.eye(len(self.hessian)).to(self.hessian)

    def solved(self, damping):
        return self.trained @ torch.linalg.solve(self.curvature(damping), self.asked.T) / self.n

    def lissa(self, damping, depth, scale):
        """With all points in each step."""
        A, v = self.curvature(damping), self.asked.T
        x = v
        for _ in range(depth):
            x = v + x - A @ x / scale
        return self.trained @ x / scale / self.n

    def datainf(self, damping):
        """A layer is what has one name in front of the last dot, as long as names follow each other."""
        layout, layers = self.run.objective.layout, []
        for name, span in layout.spans.items():
            owner = name.rpartition(".")[0]
            if layers and layers[-1][0] == owner:
                layers[-1] = owner, slice(layers[-1][1].start, span.stop)
            else:
                layers.append((owner, span))
        total = 0
        for _, span in layers:
            identity = torch.eye(span.stop - span.start).to(self.trained)
            inverses = [
                torch.linalg.inv(torch.outer(g, g) + (damping + self.decay) * identity) for g in self.trained[:, span]
            ]
            total = total + self.trained[:, span] @ sum(inverses) @ self.asked[:, span].T
        return total / self.n**2

    def tracin(self, checkpoints, span=slice(None)):
        total = 0
        for segment in segments(self.run, checkpoints, self.run.step_sizes):
            rate = segment.weights.sum() / self.n
            trained, asked = (self.rows(part, segment.omega)[:, span] for part in (self.run.train, self.queries))
            total = total + rate * trained @ asked.T
        return total

    def arnoldi(self, damping, iterations, seed=0):
        """By all Ritz vectors of the Krylov space of one dimension less."""
        A = self.n * self.curvature(damping)
        torch.manual_seed(stream_seed(self.run.workload.seed, "captum-arnoldi", seed))
        parts = self.run.objective.unflatten(self.run.parameters).values()
        basis = torch.cat([torch.randn_like(part).reshape(-1) for part in parts])[:, None]
        for _ in range(iterations - 2):
            basis = torch.linalg.qr(torch.cat([basis, A @ basis[:, -1:]], dim=1)).Q
        basis = basis / basis.norm(dim=0)
        values, vectors = torch.linalg.eigh(basis.T @ A @ basis)
        V, values = basis @ vectors[:, values > 1e-4], values[values > 1e-4]
        return self.trained @ V / values @ V.T @ self.asked.T

    def kfac(self, damping):
        run, plain = self.run, Plain(self.run)
        chances = run.predictions(run.train)
        asked, trained = plain.gradients(self.queries), plain.gradients(run.train)
        total = torch.zeros(self.n, len(asked)).to(run.parameters)
        classes = torch.arange(chances.shape[1]).to(run.train.y)
        drawn = [
            (p, plain.passes(x, y))
            for x, own in zip(run.train.x, chances, strict=True)
            for y, p in zip(classes, own, strict=True)
        ]
        for i in range(len(plain.layers)):
            A = sum(p * layers[i][0].T @ layers[i][0] / len(layers[i][0]) for p, layers in drawn) / self.n
            B = sum(p * layers[i][1].T @ layers[i][1] for p, layers in drawn) / self.n
            F = torch.kron(B, A)
            F.diagonal().add_(damping + self.decay)
            left, right = (torch.stack([layers[i].flatten() for layers in part]) for part in (trained, asked))
            total += left @ torch.linalg.solve(F, right.T) / self.n
        return total


class Lent(nn.Module):
    """A layer whose weight is used once more outside of it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(torch.tanh(x @ self.layer.weight))
