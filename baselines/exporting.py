"""A run as files that any program can read: what is needed to make scores of it without this project.

A folder holds tensors as safetensors and, in `run.json`, what they are and what is expected back. It appears whole or
not at all. Which labels are wrong and what retraining gives is not in it: no method sees either.
"""

import json
import math
import os
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from baselines.score_files import LAYOUTS, LONG, identity
from samattr_ref.network.losses import CROSS_ENTROPY, Loss
from samattr_ref.recipe import SamRecipe
from samattr_ref.run import Run
from samattr_ref.sam.variants import Sam
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.store import UNFINISHED

KIND = "samattr export 1"
"""What `run.json` says that it is."""

DESCRIPTION = "run.json"


def export(run: Run, folder: Path | str) -> Path:
    """Write what another program needs to make scores of a run.

    Args:
        run: The run.
        folder: Where to; an earlier export there is replaced.

    Returns:
        The path of its `run.json`. Beside it stand

        - `train`, `queries`, `tuning` and `validation.safetensors`: inputs `x` and class indices `y`, the labels of the
          training points as trained on;
        - `initial` and `final.safetensors`: all parameters and buffers of the network by their names, as a state dict;
        - `steps.safetensors`: `batches` [T, B] in int64, padded with −1, and `step_sizes` [T] in float64.

    Raises:
        SamattrError: for a folder that holds anything else or cannot be written, or a network whose state is not all
            tensors.
    """
    folder = check_export_folder(folder)
    sets = {name: getattr(run.splits, name) for name in ("train", "queries", "tuning", "validation")}
    tensors = {name: {"x": part.x, "y": part.y} for name, part in sets.items()}
    tensors |= {"initial": _state(run, run.checkpoints[0]), "final": _state(run, run.parameters)}
    tensors["steps"] = {"batches": run.batches, "step_sizes": run.step_sizes}
    files = {
        f"{name}.safetensors": {key: tensor.detach().cpu().contiguous() for key, tensor in part.items()}
        for name, part in tensors.items()
    }
    described = _described(run) | {"files": {name: _shapes(part) for name, part in files.items()}}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder.parent) as scratch:
            made, before = Path(scratch, "made"), Path(scratch, "before")
            made.mkdir()
            for name, part in files.items():
                _write(made / name, save(part))
            _write(made / DESCRIPTION, (json.dumps(described, indent=1) + "\n").encode())
            _put(made, folder, before)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return folder / DESCRIPTION


def check_export_folder(folder: Path | str) -> Path:
    """Refuse a folder that an export may not replace, before anything is trained for it.

    Returns:
        Its path without links.

    Raises:
        SamattrError: if it holds anything but an export, is the working directory, or cannot be written.
    """
    folder = Path(folder).resolve()
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        holds = {path.name for path in folder.iterdir()} if there == folder else set()
        with tempfile.TemporaryFile(dir=there if there != folder else folder.parent):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error
    if holds and not _is_export(folder, holds):
        raise SamattrError(f"{folder} holds other things than an export: choose another folder with --out")
    if Path.cwd().is_relative_to(folder):
        raise SamattrError(f"{folder} is the working directory, or around it: choose a folder in it with --out")
    return folder


def _is_export(folder: Path, holds: set[str]) -> bool:
    try:
        described = json.loads((folder / DESCRIPTION).read_bytes())
        return described["kind"] == KIND and holds <= {DESCRIPTION, *described["files"]}
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _put(made: Path, folder: Path, before: Path) -> None:
    """Put a finished folder in its place; what was there is put back where that fails."""
    if folder.exists():
        folder.rename(before)
    try:
        made.rename(folder)
    except OSError:
        if before.exists():
            before.rename(folder)
        raise


def _unwritable(folder: Path, error: OSError) -> SamattrError:
    return SamattrError(f"{folder} could not be written ({error.strerror}): choose another folder with --out")


def _state(run: Run, omega: Tensor) -> dict[str, Tensor]:
    """The state dict of the network at ω."""
    with run.objective.network.holding(omega) as module:
        state: dict[str, Any] = {
            name: value.detach().clone() if isinstance(value, Tensor) else value  # of tied ones too
            for name, value in module.state_dict().items()
        }
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise SamattrError(f"the network's state '{name}' is a {type(value).__name__}, no tensor: it has no file")
    return state


def _shapes(tensors: dict[str, Tensor]) -> dict[str, str]:
    """What stands in a file, as in `float64 [40, 64]`."""
    return {name: f"{str(part.dtype).removeprefix('torch.')} {list(part.shape)}" for name, part in tensors.items()}


def _described(run: Run) -> dict[str, Any]:
    """All of `run.json` but its list of files."""
    workload, splits, objective = run.workload, run.splits, run.objective
    modes = {layer.training for layer in objective.module.modules()}
    return {
        "kind": KIND,
        "workload": workload.name,
        "seed": workload.seed,
        "training_seed": workload.training_seed,
        **identity(run),
        "n_train": run.n_train,
        "n_query": len(splits.queries),
        "n_classes": splits.n_classes,
        "n_steps": run.n_steps,
        "n_parameters": objective.layout.size,
        "input_shape": list(splits.train.x.shape[1:]),
        "dtype": workload.dtype,
        "data": repr(workload.data),
        "model": repr(workload.model),
        "network": str(objective.module),
        "mode": "mixed" if len(modes) > 1 else "train" if modes.pop() else "eval",
        "trained": objective.layout.names,
        "recipe": _recipe(workload.recipe),
        "step": _step(run),
        "not_in_this_folder": _missing(run),
        "augmentation": None if workload.augmentation is None else repr(workload.augmentation),
        "loss": repr(workload.loss),
        "scores": _expected(run),
        "environment": run.environment,
    }


def _recipe(recipe: SamRecipe) -> dict[str, Any]:
    """The recipe in numbers and words; an infinite p as the text `inf`, which JSON has no number for."""
    own = {field.name: getattr(recipe, field.name) for field in fields(recipe)}
    p = recipe.p if math.isfinite(recipe.p) else "inf"
    return own | {"p": p, "variant": recipe.variant.name, "constants": repr(recipe.variant)}


def _step(run: Run) -> list[str]:
    """How a step goes from ω and v to the next, in words that a program can be written after."""
    recipe = run.workload.recipe
    variant = type(recipe.variant)
    perturbation = {
        1: "e = rho sign(g) where |g| is largest, shared equally among ties, else 0",
        2: "e = rho g / |g|_2",
        math.inf: "e = rho sign(g)",
    }.get(recipe.p, "e = rho sign(g) |g|^(q-1) / (sum |g|^q)^(1/p), 1/p + 1/q = 1")
    lines = [
        "b: the points batches[t] that are not -1",
        f"L(w): mean {_loss(run.workload.loss)} over b, plus weight_decay/2 |w|_2^2 of all trained parameters w",
        "g = grad L(w)",
    ]
    if recipe.rho == 0:
        lines.append("G = g, since rho = 0")
    elif variant is Sam:
        lines += [f"{perturbation}, of all trained parameters as one vector; 0 where g is 0"]
        lines += ["G = grad L at w + e, no derivative taken through e"]
    else:
        said = (variant.__doc__ or "").strip().splitlines() or [""]
        lines.append(f"G: by the variant {variant.name}. {said[0]}")
    momentum = "v = momentum v + G, v = 0 before the first step" if recipe.momentum else "v = G"
    return [*lines, f"{momentum}; w = w - step_sizes[t] v"]


def _loss(loss: Loss) -> str:
    return "cross-entropy" if loss == CROSS_ENTROPY else repr(loss)


def _missing(run: Run) -> list[str]:
    """What a step has seen that no file here holds; with nothing of that, the steps can be taken again from it."""
    recipe, augmentation = run.workload.recipe, run.workload.augmentation
    missing = []
    if augmentation is not None:
        missing.append(
            f"views: step t saw the points of its batch as {augmentation!r} shows them at that step; x of the training "
            "points is the points themselves"
        )
    if recipe.rho > 0 and type(recipe.variant).draw is not Sam.draw:
        missing.append(f"draws: the variant {recipe.variant.name} draws something in every step")
    return missing


def _expected(run: Run) -> dict[str, Any]:
    """What scores are expected back."""
    n, m = run.n_train, len(run.splits.queries)
    query = "the mean loss of all queries" if run.splits.queries.pooled else "the loss of query q"
    return {
        "value": f"s[i, q]: what {query} would be if training point i had had weight 0 in every step (batches and "
        "their divisors as they were), minus what it is with the final parameters; in nats, without the L2 term. "
        "Positive: the point helps",
        "order": "points and queries as in train and queries.safetensors",
        "layouts": dict(zip(LAYOUTS, ([n, m], [m, n]), strict=True)),
        "files": {
            "npy": "the array",
            "safetensors": "tensor 'scores'; perhaps 'validation' [n_train], the mean over the validation points",
            "parquet": f"columns {', '.join(LONG)}; or 0, 1, ..., a matrix",
            "metadata": "'run' and 'queries' of this file, in safetensors and Parquet",
        },
    }
