"""Runs before they are trained: what a plan counts steps of, and the few steps of them that it times."""

from dataclasses import replace

import torch

from samattr_ref.data import CIFAR10, CIFAR10N, CIFAR100, Examples, MiniImageNet, Splits, TorchvisionDigits
from samattr_ref.data.sizes import Sizes
from samattr_ref.given import Given
from samattr_ref.network.proof import prove
from samattr_ref.run import Run
from samattr_ref.sam.step import first_state
from samattr_ref.support import store
from samattr_ref.support.fingerprint import fingerprint
from samattr_ref.support.seeds import json_digest, stream
from samattr_ref.training import advance, steps_to_keep, train
from samattr_ref.workload import Workload

BEGUN = "begun"
"""The key of a run that nothing is stored of."""


def find_or_begin(workload: Workload) -> tuple[Run, int]:
    """The stored run of a workload, or what it is before its first step: ω_0 stands for ω*, no other state is kept.

    Returns:
        The run, and how many of its steps are done.

    Raises:
        SamattrError: for data that are not there, or a network that breaks a rule.
    """
    objective, initial = workload.build()
    recipe, train_set = workload.recipe, workload.splits.train
    network = fingerprint(objective.module)
    origin = workload.key_of(network)
    path = store.folder("runs", json_digest([origin, steps_to_keep("auto", recipe, initial).tolist()]))
    if store.exists(path, "run"):
        return train(workload), recipe.steps
    done = max((int(file.stem.partition("-")[2]) for file in path.glob("partial-*.json")), default=0)
    state = first_state(initial, recipe.rule)
    ways = prove(objective, train_set.x, train_set.y, workload.splits.n_classes, recipe.batch_size, initial)
    run = Run(
        workload=workload,
        key=BEGUN,
        parameters=initial,
        batches=recipe.batches(len(train_set), workload.drawn_by),
        step_sizes=recipe.step_sizes(),
        checkpoint_steps=torch.zeros(1, dtype=torch.int64),
        checkpoints=initial[None],
        velocities=state.velocity[None] if recipe.momentum else initial.new_empty(1, 0),
        memories=state.memory[None],
        environment={},
        origin=origin,
        network=network.digest,
        ways=ways,
    )
    return run, done


def is_begun(run: Run) -> bool:
    """Whether a run is one that `find_or_begin` began."""
    return run.key == BEGUN


def run_bytes(run: Run) -> int:
    """Bytes of the tensors that are stored of a run, see `samattr_ref.training.train`."""
    recipe = run.workload.recipe
    kept = len(steps_to_keep("auto", recipe, run.parameters))
    vectors = 1 + kept * (1 + bool(recipe.momentum) + recipe.variant.remembers)
    return vectors * run.parameters.nbytes + run.batches.nbytes + run.step_sizes.nbytes + 8 * kept


def first_steps_of(run: Run, count: int) -> Run:
    """The first steps of a run, as if there were no others; what was computed about it stays known."""
    kept = run.checkpoint_steps < count
    short = replace(
        run,
        batches=run.batches[:count],
        step_sizes=run.step_sizes[:count],
        checkpoint_steps=run.checkpoint_steps[kept],
        checkpoints=run.checkpoints[kept],
        velocities=run.velocities[kept],
        memories=run.memories[kept],
    )
    short.cache.update(run.cache)
    return short


def taken(run: Run, count: int) -> Run:
    """The first steps of a run, taken here, with the states that a run of its size keeps and the last one as ω*."""
    wanted = set(steps_to_keep("auto", run.workload.recipe, run.parameters).tolist())
    *before, (_, end) = (at for at in advance(run, run.kept_state(0), 0, count) if at[0] in wanted | {count})
    kept = [state for _, state in before]
    return replace(
        first_steps_of(run, count),
        parameters=end.omega,
        checkpoint_steps=torch.tensor([t for t, _ in before]),
        checkpoints=torch.stack([state.omega for state in kept]),
        velocities=torch.stack([state.velocity[: run.velocities.shape[1]] for state in kept]),
        memories=torch.stack([state.memory for state in kept]),
    )


def first_points_of(run: Run, count: int) -> Run:
    """The run as if it had its first training points alone, its batches drawn anew of them."""
    splits = run.splits
    if count >= run.n_train:
        return run
    fewer = replace(
        splits,
        train=splits.train.take(slice(0, count)),
        noisy=splits.noisy[:count],
        clean=None if splits.clean is None else splits.clean[:count],
    )
    workload = replace(run.workload, data=Given(fewer))
    batches = workload.recipe.batches(count, workload.drawn_by)[: run.n_steps]
    built = {id(workload): (workload, run.objective)}
    return replace(run, workload=workload, batches=batches, built=built)


def stand_in(workload: Workload) -> Workload | None:
    """The workload with random points in the shape of its data, where these are images that are known; else None."""
    match workload.data:
        case CIFAR10() | CIFAR10N():
            shape, n_classes = (3, 32, 32), 10
        case CIFAR100():
            shape, n_classes = (3, 32, 32), 100
        case TorchvisionDigits():
            shape, n_classes = (1, 28, 28), 10
        case MiniImageNet(n_classes=n_classes, image_size=size):
            shape = (3, size, size)
        case _:
            return None
    assert isinstance(workload.data, Sizes)  # as all of these are
    generator = stream(workload.seed, "stand-in")

    def drawn(count: int) -> Examples:
        labels = torch.randint(n_classes, (count,), generator=generator)
        return Examples(torch.randn(count, *shape, generator=generator), labels)

    of = workload.data
    train, queries, tuning, validation = map(drawn, (of.n_train, of.n_query, of.n_tuning, of.n_validation))
    noisy = torch.zeros(of.n_train, dtype=torch.bool)
    return replace(workload, data=Given(Splits(train, queries, tuning, validation, noisy, n_classes)))
