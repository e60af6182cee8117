"""`ekfac`: the influence function whose curvature is an EK-FAC approximation (Grosse et al. 2023, Section 3.1).

    s[k, q] = (1/n) ⟨∇ℓ_q(ω*), (F + (δ + λ) I)⁻¹ ∇ℓ_k(ω*)⟩

F is block diagonal, a block a layer. With the layer's inputs a (a 1 appended for the bias) and the gradients g of the
loss by its outputs, for labels that are drawn from what the network predicts,

    F_layer = (U_A ⊗ U_S) diag(Λ) (U_A ⊗ U_S)ᵀ,    Λ = E[((U_A ⊗ U_S)ᵀ vec(g aᵀ))²]

where U_A and U_S are the eigenvectors of E[a aᵀ] and E[g gᵀ] (George et al. 2018). All of it is kronfluence's, by its
`Analyzer`; it is taken in the run's own precision. The network is taken as a plain one: SAM's perturbation is not in
it. What kronfluence covers are layers of `nn.Linear` and `nn.Conv2d`. The scales and shifts of norms are left out, as
published rows do: of them, scores and curvature know nothing, and `left_out` of the diagnostics says how many they are.

This differs from the paper in: (1) the L2 term is part of the training loss, and so λ is added to δ; (2) δ is one
number, chosen on held-out queries, and not a tenth of the mean of Λ in each layer; (3) labels are drawn before
anything is computed, so that scores do not depend on batches; with `draws` = None the expectation over labels is exact.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

from baselines.kronecker import covered
from baselines.libraries import apart, followed, network_at, own_garbage, positive_damping, trial_points
from samattr_ref.data import Examples
from samattr_ref.implicit.options import TUNE
from samattr_ref.registry import Family, Library, method
from samattr_ref.run import Run
from samattr_ref.scores import Scores
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.memory import block_length, chunk_bytes
from samattr_ref.support.seeds import stream

TOLERANCE = 1e-3
"""How far the library's products of gradients may be from ours at a few points, relative to the largest."""


@method(
    "ekfac",
    summary="influence function with EK-FAC curvature, by kronfluence",
    source="Grosse et al. 2023",
    tune={"damping": TUNE["damping"]},
    linear=True,
    query_bytes=None,
    label="EK-FAC",
    family=Family.IMPLICIT,
    rank=75,
    full_size={"damping": 0.03},
    compared=False,
    library=Library("kronfluence", "kronfluence", "pip install 'samattr[peers]'"),
)
def ekfac(run: Run, queries: Examples, *, damping: float = 0.01, draws: int | None = 1, seed: int = 0) -> Scores:
    """Scores [n_train, n_query] in nats, linear in the query.

    Args:
        run: The run.
        queries: The queries.
        damping: δ >= 0; the recipe's λ comes to it, and one of the two must be larger than 0.
        draws: Labels that are drawn for each training point; None takes the expectation over all classes, by a pass
            for each of them.
        seed: Seed of the drawn labels, beside the workload's own.

    Raises:
        SamattrError: for an option out of range, a parameter that is neither in a layer that kronfluence covers nor in
            a norm, or a network whose gradients are not what kronfluence takes them for.
    """
    total = positive_damping(run, damping)
    if draws is not None and draws < 1:
        raise SamattrError(f"draws must be at least 1, or None, not {draws}")
    layers, left_out = covered(run, "ekfac")
    with apart(run, "ekfac") as folder, own_garbage():
        peer = _Peer(run, layers, folder)
        peer.try_out()
        peer.fit(draws, seed)
        values = peer.products(queries, total)
    return Scores((values / run.n_train).to(run.parameters), {"damping": damping, "left_out": left_out})


class _Weighted(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Points with several labels each, and a factor for the loss of each label.

    Args:
        x: Inputs [n, ...].
        labels: Their labels, [n, r].
        factors: The factors, [n, r]; 1 where it is None.
    """

    def __init__(self, x: Tensor, labels: Tensor, factors: Tensor | None = None) -> None:
        self.x, self.labels = x, labels.to(x.device)
        self.factors = torch.ones(labels.shape) if factors is None else factors

    def __len__(self) -> int:
        return self.labels.numel()

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor, Tensor]:
        point, label = divmod(i, self.labels.shape[1])
        return self.x[point], self.labels[point, label], self.factors[point, label]


class _Peer:
    """kronfluence on a copy of a run's network.

    Args:
        run: The run.
        layers: The names of the layers that it covers.
        folder: Where it may write.
    """

    def __init__(self, run: Run, layers: list[str], folder: Path) -> None:
        from kronfluence.analyzer import Analyzer, prepare_model
        from kronfluence.task import Task

        self.run = run
        self.layers = {name: f"0.{name}".removesuffix(".") for name in layers}
        """What the library calls each layer: the network stands in a container, since it may be a single layer."""
        tracked = list(self.layers.values())

        class WeightedLoss(Task):  # type: ignore[misc]  # which comes without types
            def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
                x, y, factors = batch  # where labels are sampled, they stand in the data already
                losses: Tensor = factors * cross_entropy(model(x), y, reduction="none")
                return losses.sum()

            def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
                return self.compute_train_loss(batch, model)

            def get_influence_tracked_modules(self) -> list[str]:
                return tracked

        task, on_cpu = WeightedLoss(), run.parameters.device.type == "cpu"
        with followed("kronfluence"):
            model = prepare_model(nn.Sequential(network_at(run, run.parameters)), task)
            self.analyzer = Analyzer("run", model, task, cpu=on_cpu, disable_tqdm=True, output_dir=str(folder))

    def try_out(self) -> None:
        """Hold the library's products of gradients against ours at a few points with other labels, layer by layer.

        Gradients are large there, however well the network fits its own labels.

        Raises:
            SamattrError: if they are others, as where a layer is called twice, or has groups or unusual padding.
        """
        run, layout = self.run, self.run.objective.layout
        few = trial_points(run)
        rows = run.objective.sample_gradients(run.parameters, few.x, few.y)
        with followed("kronfluence"):
            self.analyzer.fit_all_factors("none", self._points(few), factor_args=self._factor_args("identity"))
            found = self._scores("none", few, few, 0.0, compute_per_module_scores=True)
        for name, tracked in self.layers.items():
            products = found[tracked]
            spans = [span for part, span in layout.spans.items() if part.rpartition(".")[0] == name]
            own = torch.cat([rows[:, span] for span in spans], dim=1)
            true = (own @ own.T).to(products)
            if not bool((products - true).abs().max() <= TOLERANCE * true.abs().max()):
                raise SamattrError(
                    f"kronfluence takes other gradients of the layer '{name}' than plain PyTorch, as it does where one "
                    "is called twice, has groups or pads with other than zeros: ekfac says nothing of this network"
                )

    def fit(self, draws: int | None, seed: int) -> None:
        """Fit the factors of the curvature, or take those that were kept with the run."""
        key, folder = ("ekfac", draws, seed), self.analyzer.factors_output_dir("own")
        if key in self.run.cache:
            folder.mkdir()
            for name, content in self.run.cache[key].items():
                (folder / name).write_bytes(content)
            return
        arguments: dict[str, Any] = {"factor_args": self._factor_args("ekfac")}
        sizes = {"per_device_batch_size": self._batch()}
        self.analyzer.fit_covariance_matrices("own", self._drawn(draws, seed, "eigenvectors"), **arguments, **sizes)
        self.analyzer.perform_eigendecomposition("own", **arguments)
        self.analyzer.fit_lambda_matrices("own", self._drawn(draws, seed, "eigenvalues"), **arguments, **sizes)
        kept = {path.name: path.read_bytes() for path in folder.iterdir() if "covariance" not in path.name}
        if sum(map(len, kept.values())) <= chunk_bytes():
            self.run.cache[key] = kept

    def products(self, queries: Examples, damping: float) -> Tensor:
        """⟨∇ℓ_q, (F + damping I)⁻¹ ∇ℓ_k⟩, [n_train, n_query]."""
        found = self._scores("own", queries, self.run.train, damping, aggregate_query_gradients=queries.pooled)
        return found["all_modules"].T / (len(queries.x) if queries.pooled else 1)

    def _scores(
        self, factors: str, queries: Examples, train: Examples, damping: float, **settings: bool
    ) -> dict[str, Tensor]:
        """What the library returns of a pair of sets, [n_query, n_train] each."""
        from kronfluence.arguments import ScoreArguments

        names = ("per_sample_gradient", "precondition", "score", "query_gradient_svd")
        self.analyzer.compute_pairwise_scores(
            scores_name=factors,
            factors_name=factors,
            query_dataset=self._points(queries),
            train_dataset=self._points(train),
            per_device_query_batch_size=block_length(3 * self.run.parameters.nbytes),
            per_device_train_batch_size=self._batch(),
            score_args=ScoreArguments(damping_factor=damping, **self._dtypes(*names), **settings),
        )
        found: dict[str, Tensor] = self.analyzer.load_pairwise_scores(factors)
        return found

    def _factor_args(self, strategy: str) -> Any:
        from kronfluence.arguments import FactorArguments

        names = ("activation_covariance", "gradient_covariance", "per_sample_gradient", "lambda")
        everything = {"covariance_max_examples": None, "lambda_max_examples": None}  # not the first 100,000 alone
        return FactorArguments(strategy=strategy, **everything, **self._dtypes(*names))

    def _dtypes(self, *names: str) -> dict[str, torch.dtype]:
        return {f"{name}_dtype": self.run.parameters.dtype for name in names}

    def _batch(self) -> int:
        """Training points a batch: a gradient of the largest layer with what it becomes, and all activations."""
        objective = self.run.objective
        largest = max(span.stop - span.start for span in objective.layout.spans.values())
        gradients = 3 * largest * self.run.parameters.element_size()
        return block_length(gradients + 12 * objective.activation_bytes(self.run.train.x))

    def _points(self, examples: Examples) -> _Weighted:
        return _Weighted(examples.x, examples.y[:, None])

    def _drawn(self, draws: int | None, seed: int, purpose: str) -> _Weighted:
        """The training points with labels as the network predicts them: E over labels is then a mean over the items.

        With all c classes as labels, a label of probability p has its gradient times √(c p).
        """
        x, chances = self.run.train.x, self.run.predictions(self.run.train).cpu()
        n, classes = chances.shape
        if draws is None:
            return _Weighted(x, torch.arange(classes).expand(n, classes), (classes * chances).sqrt())
        generator = stream(self.run.workload.seed, "ekfac", purpose, seed)
        return _Weighted(x, chances.double().multinomial(draws, replacement=True, generator=generator))
