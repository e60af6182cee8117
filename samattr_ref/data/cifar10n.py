"""CIFAR-10N: CIFAR-10 with the labels that people gave it (Wei et al., Learning with Noisy Labels Revisited, 2022)."""

from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import torch
from torch import Tensor

from samattr_ref.data.examples import Examples, LabelNoise, Splits
from samattr_ref.data.folder import data_folder, read_table
from samattr_ref.data.image_set import ImageSet
from samattr_ref.data.images import open_cifar10
from samattr_ref.data.sizes import Sizes, make_splits
from samattr_ref.support.errors import SamattrError, unknown_name
from samattr_ref.support.options import checked

TABLE, ORIGINAL = "cifar10n.csv", "CIFAR-10_human.pt"

LABELS = {
    "aggregate": "aggre_label",
    "worse": "worse_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "clean": "clean_label",
}
"""Our names of the label sets, and those of the original file."""


@checked
@dataclass(frozen=True, kw_only=True)
class CIFAR10N(Sizes):
    """CIFAR-10 with human labels on the training points: real label noise in place of a synthetic one.

    The images are those that `CIFAR10` reads, the same ones for the same sizes and seed. The labels come from
    `cifar10n.csv` in the data folder (columns cifar10_index, path, clean, aggregate, worse, random1, random2, random3),
    or else from the original `CIFAR-10_human.pt`. Both are CC BY-NC 4.0. Queries, tuning and validation points have no
    human labels: they keep CIFAR-10's own.

    Attributes:
        labels: `"aggregate"` (majority of three people, 9 % wrong), `"worse"` (40 %), `"random1"`, `"random2"`,
            `"random3"` (one person each, 17–18 %) or `"clean"`.
        noise: None, always: the wrong labels are the people's.

    Raises:
        SamattrError: if there are no labels of that name, or synthetic noise is asked for.
    """

    noise: LabelNoise | None = None
    labels: str = "aggregate"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels not in LABELS:
            raise unknown_name("labels", self.labels, LABELS)
        if self.noise is not None:
            raise SamattrError("CIFAR10N's wrong labels are people's: leave noise at None, or use CIFAR10")

    def load(self, seed: int) -> Splits:
        """The sets for that seed, inputs [b, 3, 32, 32]; `noisy` marks the labels that differ from CIFAR-10's own.

        Raises:
            SamattrError: if images or labels are missing, or the labels do not belong to the images.
        """
        train, test = open_cifar10()
        (chosen,), others = self.draw(len(train), len(test), seed)
        examples = [train.take(chosen), *(test.take(i) for i in others)]
        human = _human_labels(train, chosen, self.labels)
        splits = make_splits(self, examples, 10, seed)
        return replace(
            splits, train=Examples(splits.train.x, human), noisy=human != splits.train.y, clean=splits.train.y
        )


def _human_labels(train: ImageSet, chosen: Tensor, name: str) -> Tensor:
    """The labels of that name [k] of the chosen training images."""
    root = data_folder()
    if (root / TABLE).is_file():
        clean, human = _from_table(root / TABLE, train, chosen, name)
    elif (root / ORIGINAL).is_file():
        clean, human = _from_original(root / ORIGINAL, train, chosen, name)
    else:
        raise SamattrError(
            f"CIFAR-10N's labels are not in {root}: put {ORIGINAL} there, from the repository UCSC-REAL/cifar-10-100n "
            f"(folder data; CC BY-NC 4.0), or {TABLE}"
        )
    if wrong := int((clean != train.labels[chosen]).sum()):
        raise SamattrError(
            f"CIFAR-10N's labels do not belong to the images: {wrong} of {len(chosen)} clean labels are not the "
            f"image's own; fetch the labels and the images in {root} again"
        )
    return human


def _from_table(path: Path, train: ImageSet, chosen: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Clean and human labels [k], joined by the image's file where it has one, else by its index."""
    key = "cifar10_index" if train.files is None else "path"
    rows = {row[key]: row for row in read_table(path, ["cifar10_index", "path", *LABELS])}
    positions = chosen.tolist()
    names = [str(i) if train.files is None else "/".join(PurePath(str(train.files[i])).parts[-3:]) for i in positions]
    try:
        pairs = [(int(rows[image]["clean"]), int(rows[image][name])) for image in names]
    except KeyError as error:
        raise SamattrError(f"{path} has no row for the image {error.args[0]}: fetch it again") from error
    except ValueError as error:
        raise SamattrError(f"{path} has a label that is not a whole number ({error}): fetch it again") from error
    clean, human = torch.tensor(pairs).T
    return clean, human


def _from_original(path: Path, train: ImageSet, chosen: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Clean and human labels [k], joined by the image's index; the file may hold arrays only, no code."""
    import numpy as np

    if train.files is not None:
        raise SamattrError(
            f"{path.name} follows the order of torchvision's CIFAR-10, which the image tree does not keep: put {TABLE} "
            "beside it, or torchvision's cifar-10-batches-py in place of the tree"
        )
    reconstruct = np._core.multiarray._reconstruct  # type: ignore[attr-defined]
    # The file was written by NumPy 1, which calls the module numpy.core.
    arrays = [reconstruct, (reconstruct, "numpy.core.multiarray._reconstruct"), np.ndarray, np.dtype]
    try:
        with torch.serialization.safe_globals([*arrays, type(np.dtype(np.int64))]):
            content = torch.load(path, weights_only=True)
        clean, human = (torch.as_tensor(content[LABELS[part]], dtype=torch.int64) for part in ("clean", name))
        return clean[chosen], human[chosen]
    except Exception as error:  # torch, zipfile and pickle each raise errors of their own
        raise SamattrError(f"{path} is not CIFAR-10N's label file or damaged: fetch it again") from error
