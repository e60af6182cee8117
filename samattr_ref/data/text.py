"""Texts as bags of words."""

import ast
import re
import sysconfig
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

from samattr_ref.data.examples import Examples, Splits
from samattr_ref.data.folder import class_files, data_folder
from samattr_ref.data.sizes import Sizes, make_splits
from samattr_ref.support.errors import SamattrError
from samattr_ref.support.options import checked

PACKAGES = ("asyncio", "email", "importlib", "logging", "unittest", "xml")
"""The standard library's packages with the most docstrings that every supported version has."""

MOST, FEWEST_WORDS = 300, 8
"""Docstrings of one package at most, and words of a docstring at least."""


@checked
@dataclass(frozen=True, kw_only=True)
class Texts(Sizes):
    """What the sets of texts share.

    Attributes:
        vocabulary: How many words count: the most frequent ones of the training texts.

    Raises:
        SamattrError: if it is not positive.
    """

    vocabulary: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vocabulary < 1:
            raise SamattrError(f"vocabulary must be at least 1, not {self.vocabulary}")


@checked
@dataclass(frozen=True, kw_only=True)
class Docstrings(Texts):
    """Which of six packages of Python's standard library does a docstring come from?

    The docstrings of modules, classes and functions are read from the source files of the Python that runs; nothing is
    imported. Their text changes between versions of Python, and so do results: compare those of one version only.
    """

    def load(self, seed: int) -> Splits:
        """The sets for that seed, inputs [b, vocabulary] from `bags_of_words`.

        Raises:
            SamattrError: if this Python came without its source files, or with too few for the sizes.
        """
        return _bag_splits(self, self._parts(seed), list(PACKAGES), seed)

    def described(self, seed: int) -> tuple[list[str], list[str]]:
        """The texts of the training points and of the queries."""
        return _texts(self._parts(seed))

    def _parts(self, seed: int) -> list[list[tuple[str, str]]]:
        library = Path(sysconfig.get_paths()["stdlib"])
        found = [(text, name) for name in PACKAGES for text in _docstrings(library / name)]
        if not found:
            raise SamattrError(f"{library} holds no source files of the standard library: use a Python that has them")
        copies = Counter(text for text, _ in found)
        texts = [pair for pair in found if copies[pair[0]] == 1]
        train, others = self.draw(len(texts), None, seed)
        return [[texts[i] for i in part.tolist()] for part in train + others]


@checked
@dataclass(frozen=True, kw_only=True)
class TextFolder(Texts):
    """Text files in folders named for their classes, such as 20 Newsgroups.

    Read from a folder in the data folder: `{train,test}/CLASS/FILE`, where training points come from the one and all
    others from the other (`FOLDER-train` and `FOLDER-test` will do, as in 20 Newsgroups), or `CLASS/FILE` as one pool.

    Attributes:
        folder: Its name in the data folder.
    """

    folder: str = "20news-bydate"

    def load(self, seed: int) -> Splits:
        """The sets for that seed, inputs [b, vocabulary] from `bags_of_words`.

        Raises:
            SamattrError: if there are no such texts, of fewer than two classes, or too few for the sizes.
        """
        return _bag_splits(self, *self._parts(seed), seed)

    def described(self, seed: int) -> tuple[list[str], list[str]]:
        """The texts of the training points and of the queries."""
        return _texts(self._parts(seed)[0])

    def _parts(self, seed: int) -> tuple[list[list[tuple[str, str]]], list[str]]:
        root = data_folder() / self.folder
        train, test = (_part(root, part) for part in ("train", "test"))
        parted = bool(train and test)
        files = train if parted else class_files(root)
        classes = sorted({name for _, name in files + test})
        if len(classes) < 2:
            raise SamattrError(
                f"{root} holds no texts of two classes: lay them out as {{train,test}}/CLASS/FILE or CLASS/FILE "
                "(20 Newsgroups: unpack 20news-bydate.tar.gz of qwone.com/~jason/20Newsgroups there)"
            )
        chosen, others = self.draw(len(files), len(test) if parted else None, seed)
        parts = [[files[i] for i in part.tolist()] for part in chosen]
        parts += [[(test if parted else files)[i] for i in part.tolist()] for part in others]
        texts = [[(file.read_text(encoding="utf-8", errors="replace"), name) for file, name in part] for part in parts]
        return texts, classes


def _texts(parts: list[list[tuple[str, str]]]) -> tuple[list[str], list[str]]:
    """The texts of the first two sets, which are training points and queries."""
    train, queries = ([text for text, _ in part] for part in parts[:2])
    return train, queries


def bags_of_words(texts: list[list[str]], vocabulary: int, classes: list[str]) -> list[torch.Tensor]:
    """The words of each text as a unit vector of tf-idf weights, [b, <= vocabulary] float64 for each list of texts.

    Vocabulary and document frequencies are those of the first list, the training texts. The words of the class names
    are left out, which would give the class away, and scikit-learn's English stop words, which say nothing.

    Raises:
        SamattrError: if the training texts hold no words.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

    names = re.findall(r"\w\w+", " ".join(classes).lower())
    counter = TfidfVectorizer(max_features=vocabulary, stop_words=sorted({*names, *ENGLISH_STOP_WORDS}))
    try:
        counter.fit(texts[0])
    except ValueError as error:
        raise SamattrError("the training texts hold no words: take more of them, or look what they are") from error
    return [torch.as_tensor(counter.transform(part).toarray()) for part in texts]


def _bag_splits(sizes: Texts, parts: list[list[tuple[str, str]]], classes: list[str], seed: int) -> Splits:
    """The sets from their texts with class names, in the order of `make_splits`."""
    bags = bags_of_words([[text for text, _ in part] for part in parts], sizes.vocabulary, classes)
    index = {name: i for i, name in enumerate(classes)}
    labels = [torch.tensor([index[name] for _, name in part]) for part in parts]
    return make_splits(sizes, [Examples(*pair) for pair in zip(bags, labels, strict=True)], len(classes), seed)


def _part(root: Path, name: str) -> list[tuple[Path, str]]:
    return class_files(root / name) or class_files(root / f"{root.name}-{name}")


def _docstrings(package: Path) -> list[str]:
    """The different docstrings of a package's source files, tests left out, in the order of the files."""
    texts: dict[str, None] = {}
    for file in sorted(package.rglob("*.py")):
        if {"test", "tests"} & set(file.relative_to(package).parts):
            continue
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                if len(text.split()) >= FEWEST_WORDS:
                    texts[text] = None
    return list(texts)[:MOST]
