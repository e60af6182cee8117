"""mini-ImageNet: 100 classes of ImageNet, 600 images each (Vinyals et al. 2016; split of Ravi & Larochelle 2017)."""

from dataclasses import dataclass
from pathlib import Path

from samattr_ref.data.examples import Splits
from samattr_ref.data.folder import class_files, data_folder, read_table
from samattr_ref.data.image_set import SUFFIXES, from_files
from samattr_ref.data.sizes import Sizes, make_splits
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.options import checked

PARTS = ("train", "val", "test")


@checked
@dataclass(frozen=True, kw_only=True)
class MiniImageNet(Sizes):
    """mini-ImageNet as one pool of images, a seeded subset, resized to squares and scaled to [-1, 1].

    The few-shot split keeps whole classes apart, so that no class is in both training and test: all its images form one
    pool here, and every set is drawn from it. Read from the folder `mini-imagenet` in the data folder, in either form:

    - `images/NAME.jpg` and `train.csv`, `val.csv`, `test.csv` (columns filename,label), of which any may be absent;
    - `{train,val,test}/CLASS/*.jpg`, of which any may be absent.

    Attributes:
        n_classes: How many classes to take: the first ones by name.
        image_size: Height and width in pixels.

    Raises:
        SamattrError: if there are fewer than 2 classes or no pixels.
    """

    n_classes: int = 100
    image_size: int = 84

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_classes < 2 or self.image_size < 1:
            raise SamattrError(
                f"n_classes must be at least 2 and image_size at least 1, not {self.n_classes} and {self.image_size}"
            )

    def load(self, seed: int) -> Splits:
        """The sets for that seed, inputs [b, 3, image_size, image_size].

        Raises:
            SamattrError: if the images are missing or damaged, or there are fewer classes than asked for.
        """
        root = data_folder() / "mini-imagenet"
        pool = _listed(root) if (root / "images").is_dir() else _tree(root)
        if not pool:
            raise SamattrError(
                f"mini-ImageNet is not in {root}: fetch the images from ImageNet (its licence asks each user to) as "
                "images/NAME.jpg with train.csv, val.csv and test.csv of Ravi & Larochelle 2017 (repository "
                "twitter-research/meta-learning-lstm, data/miniImagenet), or as {train,val,test}/CLASS/*.jpg"
            )
        names = sorted({name for _, name in pool})
        if len(names) < self.n_classes:
            raise SamattrError(
                f"{root} holds {len(names)} classes: set n_classes to at most that, not {self.n_classes}"
            )
        classes = names[: self.n_classes]
        chosen = sorted((name, file) for file, name in pool if name in set(classes))
        images = from_files([(file, name) for name, file in chosen], classes, self.image_size)
        train, others = self.draw(len(images), None, seed)
        return make_splits(self, [images.take(i) for i in train + others], self.n_classes, seed)


def _listed(root: Path) -> list[tuple[Path, str]]:
    """The images that the tables name, with their classes."""
    tables = [table for part in PARTS if (table := root / f"{part}.csv").is_file()]
    here = {file.name for file in (root / "images").iterdir()}
    classes: dict[str, str] = {}
    for table in tables:
        for row in read_table(table, ["filename", "label"]):
            name = row["filename"]
            if name not in here:
                raise SamattrError(f"{table} names {name}, which is not in {root / 'images'}: put it there")
            if name in classes:
                raise SamattrError(f"{table} names {name} a second time: fetch the tables again")
            classes[name] = row["label"]
    return [(root / "images" / name, label) for name, label in classes.items()]


def _tree(root: Path) -> list[tuple[Path, str]]:
    """The images of the class folders, with their classes."""
    return [pair for part in PARTS for pair in class_files(root / part, SUFFIXES)]
