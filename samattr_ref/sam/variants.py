r"""Variants of SAM: how each perturbs, and what it makes of the gradients at ω and at ω + ê.

A step of any of them takes g = ∇L_b(ω), ê(ω, g, m), the perturbed gradient g̃ = ∇L_b(ω + ê), perhaps of some of the
batch's points only, and G(g, g̃); m is a memory that some carry from step to step. All of ê, m and G are functions of
vectors alone, so that their derivatives cost next to nothing: every curvature of a step is in the two batch gradients,
whatever the variant. Each takes one vector [P], or those of several networks [m, P].
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from samattr_ref.sam.perturbation import check_radius, perturbation, perturbation_derivative, square_scale
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.options import checked
from samattr_ref.support.registered import Registry, default_label
from samattr_ref.support.seeds import stream


class Draw(NamedTuple):
    """What a step has of its own: whether it is the first, and the parameters that it perturbs where not all [P]."""

    first: bool = False
    mask: Tensor | None = None


NOTHING = Draw()


@checked
@dataclass(frozen=True)
class Sam:
    """SAM itself (Foret et al. 2021): ê of the p-norm, G = g̃.

    A variant is a subclass whose fields are its constants, and which says what it does otherwise.

    Attributes:
        name: What a recipe calls it.
        label: What tables and figures call it; by default its name, with spaces and a capital.
        remembers: Whether it carries a memory from step to step.
        selects: Whether g̃ is of some of the batch's points only.
        any_norm: Whether ê may be of any p-norm.
        radius: Its ρ where variants are compared, over SAM's there.
        radius_unit: What its ρ is in units of, where that is not the parameters' own.
    """

    name: ClassVar[str] = "sam"
    label: ClassVar[str] = "SAM"
    remembers: ClassVar[bool] = False
    selects: ClassVar[bool] = False
    any_norm: ClassVar[bool] = True
    radius: ClassVar[float] = 1.0
    radius_unit: ClassVar[str] = ""

    @property
    def is_sam(self) -> bool:
        """Whether it is SAM itself."""
        return type(self) is Sam

    @property
    def perturbs_as_sam(self) -> bool:
        """Whether ê and the memory are SAM's own, whose derivatives are written out."""
        return type(self).perturb is Sam.perturb and type(self).remember is Sam.remember

    @property
    def combines(self) -> bool:
        """Whether G is made of g̃ and of g too."""
        return type(self).combine is not Sam.combine

    def perturb(self, omega: Tensor, g: Tensor, memory: Tensor, rho: float, p: float, draw: Draw) -> Tensor:
        """The perturbation ê from ω, g and the memory, [P] or [m, P] each."""
        return perturbation(g, rho, p)

    def remember(self, memory: Tensor, g: Tensor, draw: Draw) -> Tensor:
        """The memory [P] of the next step."""
        return memory

    def combine(self, g: Tensor, perturbed: Tensor) -> Tensor:
        """The direction G [P] of the step from g and g̃."""
        return perturbed

    def draw(self, seed: int, t: int, omega: Tensor) -> Draw:
        """What step t of the run of that seed draws."""
        return Draw(first=t == 0)

    def keep(self, increase: Tensor) -> Tensor:
        """Weights c [b], of mean 1, of the points in g̃ from the increase ℓ_i(ω + ê) − ℓ_i(ω); −∞ for removed points."""
        return torch.ones_like(increase)


V = TypeVar("V", bound=type[Sam])


VARIANTS: Registry[type[Sam]] = Registry("variant", "samattr.variants", lambda _name, found, _home: variant(found))
"""The variants by name, those of installed packages among them."""


def variant(cls: V) -> V:
    """Register a class as a variant of SAM, by the name that it bears; it is then trained with wherever that is named.

    Raises:
        SamattrError: if it is no dataclass beneath `Sam` with a name of its own.
    """
    if not (isinstance(cls, type) and issubclass(cls, Sam) and is_dataclass(cls) and "name" in vars(cls)):
        raise SamattrError(f"{cls!r} is not a dataclass beneath samattr_ref.Sam with a name of its own")
    if "label" not in vars(cls):
        cls.label = default_label(cls.name)
    VARIANTS.add(cls.name, cls, cls.__module__)
    return cls


SAM = variant(Sam)()


@variant
@checked
@dataclass(frozen=True)
class Asam(Sam):
    """ASAM (Kwon et al. 2021, Eq. 6): ê = ρ T² g/‖T g‖ with T = |ω| + ξ, a radius in units of the parameters' size.

    Attributes:
        xi: ξ >= 0, the paper's η.
    """

    name: ClassVar[str] = "asam"
    label: ClassVar[str] = "ASAM"
    radius: ClassVar[float] = 10.0  # as in its paper
    radius_unit: ClassVar[str] = "the parameters' size"
    any_norm: ClassVar[bool] = False
    xi: float = 0.01

    def __post_init__(self) -> None:
        if not (0 <= self.xi < math.inf):
            raise SamattrError("xi of asam must be a finite number >= 0")

    def perturb(self, omega: Tensor, g: Tensor, memory: Tensor, rho: float, p: float, draw: Draw) -> Tensor:
        """ê of ASAM."""
        T = omega.abs() + self.xi
        return T * perturbation(T * (g / square_scale(g)), rho)


@variant
@checked
@dataclass(frozen=True)
class FisherSam(Sam):
    """Fisher-SAM (Kim et al. 2022, Eq. 8): ê = ρ F⁻¹ g/√(gᵀ F⁻¹ g) with the diagonal F = 1 + η g² of the batch.

    Attributes:
        eta: η >= 0; 0 is SAM.
    """

    name: ClassVar[str] = "fisher-sam"
    label: ClassVar[str] = "Fisher-SAM"
    any_norm: ClassVar[bool] = False
    eta: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.eta < math.inf):
            raise SamattrError("eta of fisher-sam must be a finite number >= 0")

    def perturb(self, omega: Tensor, g: Tensor, memory: Tensor, rho: float, p: float, draw: Draw) -> Tensor:
        """ê of Fisher-SAM."""
        root = self._inverse_root(g)
        return root * perturbation(root * g, rho)

    def _inverse_root(self, g: Tensor) -> Tensor:
        """1/√F; where g² would overflow, F is η g² to rounding, and 1/√F falls as 1/|g| does."""
        most = torch.finfo(g.dtype).max
        largest = min(most, most**0.375 / math.sqrt(self.eta)) if self.eta else most
        near = g.clamp(-largest, largest)
        far = g.abs().clamp(min=largest)
        return (1 + self.eta * near * near).rsqrt() * (far.clamp(max=largest) / far)


@variant
@checked
@dataclass(frozen=True)
class FriendlySam(Sam):
    """Friendly-SAM (Li et al. 2024, Algorithm 1): ê along g − σ m, the batch's own part of the gradient.

    m is the moving average of past gradients, m ← λ m + (1 − λ) g, which starts at the first gradient; the first step
    perturbs along g itself.

    Attributes:
        sigma: σ, how much of m is taken off.
        decay: λ in [0, 1).
    """

    name: ClassVar[str] = "friendly-sam"
    label: ClassVar[str] = "Friendly-SAM"
    remembers: ClassVar[bool] = True
    any_norm: ClassVar[bool] = False
    sigma: float = 1.0
    decay: float = 0.9

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and 0 <= self.decay < 1):
            raise SamattrError("sigma of friendly-sam must be finite, and decay lie in [0, 1)")

    def perturb(self, omega: Tensor, g: Tensor, memory: Tensor, rho: float, p: float, draw: Draw) -> Tensor:
        """ê of Friendly-SAM."""
        scale = square_scale(torch.maximum(g.abs(), memory.abs()))  # σ m may round to nothing, or overflow
        return perturbation(g / scale - self.sigma * (memory / scale), rho)

    def remember(self, memory: Tensor, g: Tensor, draw: Draw) -> Tensor:
        """The moving average with g in it."""
        return g if draw.first else self.decay * memory + (1 - self.decay) * g


@variant
@checked
@dataclass(frozen=True)
class Esam(Sam):
    """ESAM (Du et al. 2022): ê on a random part of the parameters, g̃ of the points whose loss it raises most.

    Each parameter is perturbed with probability β, by ê/β; of the batch, the share γ of largest ℓ_i(ω + ê) − ℓ_i(ω) is
    kept. Both are drawn or chosen anew every step, the mask from the run's seed. Derivatives hold the choice of points
    fixed: where the removal of a point lets another in, retraining jumps and no derivative follows.

    Attributes:
        beta: β in (0, 1].
        gamma: γ in (0, 1].
    """

    name: ClassVar[str] = "esam"
    label: ClassVar[str] = "ESAM"
    selects: ClassVar[bool] = True
    any_norm: ClassVar[bool] = False
    beta: float = 0.6
    gamma: float = 0.5

    def __post_init__(self) -> None:
        if not (0 < self.beta <= 1 and 0 < self.gamma <= 1):
            raise SamattrError("beta and gamma of esam must lie in (0, 1]")

    def perturb(self, omega: Tensor, g: Tensor, memory: Tensor, rho: float, p: float, draw: Draw) -> Tensor:
        """ê of ESAM; without a mask, its mean over masks."""
        e = perturbation(g, rho)
        return e if draw.mask is None else e * draw.mask / self.beta

    def draw(self, seed: int, t: int, omega: Tensor) -> Draw:
        """The mask of step t."""
        uniform = torch.rand(omega.shape[-1], generator=stream(seed, "esam mask", t))
        return Draw(first=t == 0, mask=(uniform < self.beta).to(omega))

    def keep(self, increase: Tensor) -> Tensor:
        """1/γ for the points of largest increase, 0 for the others."""
        size = increase.shape[-1]
        count = max(1, round(self.gamma * size))
        chosen = torch.zeros_like(increase).scatter(-1, increase.topk(count).indices, 1.0)
        return chosen * (size / count)


@variant
@checked
@dataclass(frozen=True)
class Gsam(Sam):
    """GSAM (Zhuang et al. 2022, Algorithm 1): G = g̃ − α g_⊥, g_⊥ the part of g that is orthogonal to g̃.

    Attributes:
        alpha: α >= 0; 0 is SAM.
    """

    name: ClassVar[str] = "gsam"
    label: ClassVar[str] = "GSAM"
    alpha: float = 0.2

    def __post_init__(self) -> None:
        if not (0 <= self.alpha < math.inf):
            raise SamattrError("alpha of gsam must be a finite number >= 0")

    def combine(self, g: Tensor, perturbed: Tensor) -> Tensor:
        """G of GSAM."""
        scale, other = square_scale(g), square_scale(perturbed)
        line = perturbed / other
        square = (line * line).sum(-1, keepdim=True)
        along = (g / scale * line).sum(-1, keepdim=True) / torch.where(square > 0, square, 1.0)
        return perturbed - self.alpha * (g - scale * (along * line))


def variant_named(name: str) -> Sam:
    """The variant of that name, with its paper's constants.

    Raises:
        SamattrError: if there is none.
    """
    return VARIANTS.named(name)()


@dataclass(frozen=True)
class Rule:
    """A variant with its radius: the perturbation of a step, and its derivatives.

    Attributes:
        rho: ρ >= 0; 0 is plain SGD, whatever the variant.
        p: Order of the norm; 2 for every variant that has a norm of its own.
        momentum: μ in [0, 1).
        variant: The variant.
        decay: λ of a weight decay that the optimiser adds at ω: ê is made of g − λω, and G is g̃ − λê, as the L2 term
            stands in g and g̃ by λω and λ(ω + ê). 0 where that term is a part of the loss.
    """

    rho: float
    p: float = 2.0
    momentum: float = 0.0
    variant: Sam = SAM
    decay: float = 0.0

    def __post_init__(self) -> None:
        check_radius(self.rho, self.p)
        if self.p != 2 and not self.variant.any_norm:
            raise SamattrError(f"{self.variant.name} has a norm of its own: leave p at 2")
        if self.decay and (self.variant.remembers or self.variant.combines):
            raise SamattrError(
                f"{self.variant.name} takes weight decay as a part of the loss alone: leave decay at 'loss'"
            )

    def perturb(self, omega: Tensor, g: Tensor, memory: Tensor, draw: Draw = NOTHING) -> Tensor:
        """ê [P]; zero for ρ = 0."""
        if self.rho == 0:
            return torch.zeros_like(g)
        return self.variant.perturb(omega, self.less_decay(g, omega), memory, self.rho, self.p, draw)

    def less_decay(self, v: Tensor, at: Tensor) -> Tensor:
        """What is left of v without λ times `at`: of g without λω what perturbs, of g̃ without λê the direction G."""
        return v - self.decay * at if self.decay else v

    def jvp(self, at: "Point", d_omega: Tensor, d_g: Tensor, d_memory: Tensor) -> tuple[Tensor, Tensor]:
        """Changes of ê and of the next memory along changes of ω, g and the memory, [m, P] each."""
        if self.variant.perturbs_as_sam:
            g, d_g = self.less_decay(at.g, at.omega), self.less_decay(d_g, d_omega)
            return perturbation_derivative(g, d_g.T, self.rho, self.p).T, d_memory

        def along(*tangents: Tensor) -> tuple[Tensor, Tensor]:
            changes: tuple[Tensor, Tensor] = jvp(self._outputs(at.draw), (at.omega, at.g, at.memory), tangents)[1]
            return changes

        return vmap(along)(d_omega, d_g, d_memory)

    def vjp(self, at: "Point", a_e: Tensor, a_memory: Tensor) -> tuple[Tensor | float, Tensor, Tensor]:
        """Adjoints of ω, g and the memory from those of ê and of the next memory, [m, P] each."""
        if self.variant.perturbs_as_sam:
            a_g = perturbation_derivative(self.less_decay(at.g, at.omega), a_e.T, self.rho, self.p).T
            return (-self.decay * a_g if self.decay else 0.0), a_g, a_memory
        back = vjp(self._outputs(at.draw), at.omega, at.g, at.memory)[1]
        adjoints: tuple[Tensor, Tensor, Tensor] = vmap(back)((a_e, a_memory))
        return adjoints

    def jvp_direction(self, at: "Point", d_g: Tensor, d_perturbed: Tensor) -> Tensor:
        """Changes of G along changes of g and g̃, [m, P] each."""
        if not self.variant.combines:
            return d_perturbed

        def along(*tangents: Tensor) -> Tensor:
            change: Tensor = jvp(self.variant.combine, (at.g, at.g_perturbed), tangents)[1]
            return change

        return vmap(along)(d_g, d_perturbed)

    def vjp_direction(self, at: "Point", u: Tensor) -> tuple[Tensor | float, Tensor]:
        """Adjoints of g and g̃ from that of G, [m, P] each."""
        if not self.variant.combines:
            return 0.0, u
        adjoints: tuple[Tensor, Tensor] = vmap(vjp(self.variant.combine, at.g, at.g_perturbed)[1])(u)
        return adjoints

    def _outputs(self, draw: Draw) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
        def outputs(omega: Tensor, g: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
            return self.perturb(omega, g, memory, draw), self.variant.remember(memory, g, draw)

        return outputs


class Point(NamedTuple):
    """Where the derivatives of a rule are taken: ω, g, the memory and g̃ [P] each, and what the step drew."""

    omega: Tensor
    g: Tensor
    memory: Tensor
    g_perturbed: Tensor
    draw: Draw = Draw()
