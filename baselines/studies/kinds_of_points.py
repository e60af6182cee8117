"""Which points the most harmful and the most helpful ones are: of what kind, and what the network makes of them."""

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from baselines.studies.agreement import chosen_options
from baselines.studies.cases import Case
from baselines.studies.chosen import compared
from baselines.studies.detection import held_out_probabilities
from baselines.truth import leave_one_out
from baselines.validation import GROUND_TRUTH
from samattr_ref.attribution import influence_score
from samattr_ref.data import Examples
from samattr_ref.run import Run
from samattr_ref.support.errors import SamattrError
from samattr_ref.training import train
from samattr_ref.workload import Workload

NEIGHBOURS, FEW, FOLDS = 10, 3, 5

KINDS = ("wrong", "rare", "hard", "none")
OUTCOMES = ("accuracy_given", "accuracy_clean", "loss_given", "loss_clean")
"""What the network makes of points, by the label that they were given and by the right one."""

SHARE = 0.05
"""The share of the points that counts as the lowest, and as the highest."""
ALL, LOWEST, LOWEST_RIGHT, HIGHEST = "all", "lowest", "lowest, right label", "highest"
"""The groups of points."""
NO_METHOD = "–"
"""Stands where the methods stand, in the row of all points."""

SHOWN = 15
"""How many of the lowest and of the highest are shown."""


def measure(workload: Workload, methods: Sequence[str]) -> pd.DataFrame:
    """What kinds of points the lowest and the highest Influence Scores are given to: few rows, whatever n is.

    Args:
        workload: The workload; its inputs are images.
        methods: Methods, `loo` among them or not; the first one says which images are shown.

    Returns:
        A row a `method` and `group`: the number of `points`, the share of each of `KINDS`, the means of `OUTCOMES`.
        The groups: all points, the lowest and the highest of those that have a score, and the lowest with a right
        label. Then a row an image, the end of its `group` first: `point`, `score` and the columns of `labelled_points`,
        with `image` a PNG file in base64.

    Raises:
        SamattrError: for inputs that are no images.
    """
    shape = list(workload.splits.train.x.shape[1:])
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise SamattrError(
            f"harmful points are shown as images [1 or 3, height, width], and inputs of {workload.name} are {shape}: "
            "choose a workload of images"
        )
    run = train(workload)
    points = labelled_points(run)
    rows: list[dict[str, Any]] = [{"method": NO_METHOD, "group": ALL, **_summary(points)}]
    shown: list[pd.DataFrame] = []
    for method in methods:
        if method == GROUND_TRUTH:
            influence = leave_one_out(run).influence
        else:
            options = chosen_options(method, workload)
            influence = influence_score(run, method, run.splits.validation, **options)
        scored = points.assign(method=method, score=influence.double().cpu().numpy())
        scored = scored.dropna(subset="score").sort_values("score", kind="stable")
        count = max(1, round(SHARE * len(scored)))
        lowest, highest = scored[:count], scored[::-1][:count]
        groups = {LOWEST: lowest, LOWEST_RIGHT: lowest[lowest["kind"] != "wrong"], HIGHEST: highest}
        rows += [{"method": method, "group": group, **_summary(part)} for group, part in groups.items()]
        if method == methods[0]:
            shown = [scored[:SHOWN].assign(group=LOWEST), scored[::-1][:SHOWN].assign(group=HIGHEST)]
    images = pd.concat(shown).rename_axis("point").reset_index()
    images["image"] = png_images(run.train.x, images["point"])
    return pd.concat([pd.DataFrame(rows), images], ignore_index=True)


def labelled_points(run: Run) -> pd.DataFrame:
    """Every training point: its labels, its kind, and what the network makes of it.

    Returns:
        A row a point: `given` and `clean` label, `kind` (`wrong`: mislabelled; `rare`: right, but fewer than `FEW` of
        its `NEIGHBOURS` nearest training inputs share its clean label; `hard`: right and not rare, but the run without
        its fold predicts another class; `none` of these); for each of the two labels, 1 where the network gives it and
        0 elsewhere (`accuracy_given`, `accuracy_clean`), and its loss in nats (`loss_given`, `loss_clean`).
    """
    y = run.train.y
    labels = {"given": y, "clean": y if run.splits.clean is None else run.splits.clean.to(y.device)}
    predicted = run.predictions(run.train).argmax(-1)
    columns: dict[str, Tensor] = dict(labels)
    for name, label in labels.items():
        columns[f"accuracy_{name}"] = (predicted == label).double()
        columns[f"loss_{name}"] = run.query_losses(Examples(run.train.x, label)).double()
    frame = pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
    given, clean = frame["given"].to_numpy(), frame["clean"].to_numpy()
    inputs = run.train.x.flatten(1).float().cpu().numpy()
    # brute force goes by chunks and in float32; without inputs of its own it leaves each point out of its neighbours
    near = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute").fit(inputs).kneighbors(return_distance=False)
    rare = (clean[near] == clean[:, None]).sum(1) < FEW
    hard = held_out_probabilities(run, FOLDS).argmax(1) != given
    kind = np.select([run.splits.noisy.cpu().numpy(), rare, hard], KINDS[:-1], KINDS[-1])
    return frame.assign(kind=kind)


def _summary(points: pd.DataFrame) -> dict[str, float]:
    """The number of points, the share of each kind, and the means of what the network makes of them."""
    shares = {kind: (points["kind"] == kind).mean() for kind in KINDS}
    return {"points": len(points), **shares, **points[list(OUTCOMES)].mean()}


def png_images(x: Tensor, chosen: Iterable[int]) -> list[str]:
    """Some inputs [c, h, w] as PNG files in base64; 0 and 255 are the least and the greatest value of all inputs."""
    from PIL import Image

    low, high = (float(end) for end in x.aminmax())
    files = []
    for i in chosen:
        pixels = (x[i].double() - low) / (high - low) * 255
        values = pixels.round().byte().permute(1, 2, 0).cpu().numpy()
        file = io.BytesIO()
        Image.fromarray(values if values.shape[-1] == 3 else values[..., 0]).save(file, "PNG")
        files.append(base64.b64encode(file.getvalue()).decode())
    return files


SCORED = ("sam-if", *(name for name in compared() if name not in ("loo", "sam-if", "tracin")), "tracin-cp")
"""Methods where exact LOO is out of reach, the one that the figure shows in front."""

CASES = {
    "desk": [
        Case("digits-mlp", arguments={"methods": compared()}),
        Case("cifar10n-cnn", {"n_train": 500, "channels": (4, 8), "steps": 200}, {"methods": SCORED}),
    ],
    "real": [Case("mnist-mlp-full", {}, {"methods": ("sam-unrolled", "sam-if", "sam-gif", "gradient-norm")})],
    "paper": [Case("cifar10n-cnn", {"n_train": 50000, "steps": 10000}, {"methods": SCORED})],
}
