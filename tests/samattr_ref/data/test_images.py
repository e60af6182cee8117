"""CIFAR in torchvision's own format, human labels, and mini-ImageNet, on small files made here."""

import csv
import hashlib
import itertools
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

import samattr_ref as sr
from samattr_ref.data import image_set
from tests.conftest import needs_data

SIZES = {"n_train": 20, "n_query": 3, "n_tuning": 3, "n_validation": 3}
N_TRAIN, N_TEST = 50, 10


def images(count, seed, size=32):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def dump(path, content):
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path.name, hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar(monkeypatch, root, cls, n_classes, key):
    """CIFAR in torchvision's format, whose checksums are made to match; returns its training images and labels."""
    folder = root / cls.base_folder
    folder.mkdir()
    x, labels = images(N_TRAIN + N_TEST, 0), [(7 * i) % n_classes for i in range(N_TRAIN + N_TEST)]
    flat = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    step = N_TRAIN // len(cls.train_list)
    parts = [(name, slice(i * step, (i + 1) * step)) for i, (name, _) in enumerate(cls.train_list)]
    listed = [dump(folder / name, {"data": flat[rows], key: labels[rows]}) for name, rows in parts]
    ((test_name, _),) = cls.test_list
    test = dump(folder / test_name, {"data": flat[N_TRAIN:], key: labels[N_TRAIN:]})
    _, meta = dump(folder / cls.meta["filename"], {cls.meta["key"]: [f"class {i}" for i in range(n_classes)]})
    monkeypatch.setattr(cls, "train_list", listed)
    monkeypatch.setattr(cls, "test_list", [test])
    monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": meta})
    monkeypatch.setenv("SAMATTR_DATA", str(root))
    return x[:N_TRAIN], labels[:N_TRAIN]


def write_cifar10(monkeypatch, root):
    return write_cifar(monkeypatch, root, torchvision.datasets.CIFAR10, 10, "labels")


def position(x, pool):
    """Where in the pool of byte images the input [3, h, w] in [-1, 1] comes from."""
    pixels = ((x + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    (found,) = (pool == pixels).all((1, 2, 3)).nonzero()[0]
    return found


@pytest.mark.parametrize(
    ("source", "cls", "n_classes", "key"),
    [
        (sr.CIFAR10, torchvision.datasets.CIFAR10, 10, "labels"),
        (sr.CIFAR100, torchvision.datasets.CIFAR100, 100, "fine_labels"),
    ],
)
def test_torchvisions_cifar_is_read(monkeypatch, tmp_path, source, cls, n_classes, key):
    x, labels = write_cifar(monkeypatch, tmp_path, cls, n_classes, key)
    splits = source(**SIZES, noise=None).load(0)
    assert splits.n_classes == n_classes
    assert splits.train.x.shape == (20, 3, 32, 32)
    assert [labels[position(point, x)] for point in splits.train.x] == splits.train.y.tolist()
    assert source(**SIZES, noise=0.5).load(0).noisy.sum() == 10
    for name, model in (("cnn", {}), ("resnet9-wide", {"width": 2})):
        run = sr.train(
            sr.load_workload(f"cifar{n_classes}-{name}").override(**SIZES, **model, steps=2, warmup=0, batch_size=10)
        )
        assert run.objective.logits(run.parameters, run.splits.queries.x).shape == (3, n_classes)


class Touch:
    """A pickle of it makes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("source", "cls", "file"),
    [
        (sr.CIFAR10, torchvision.datasets.CIFAR10, "data_batch_3"),
        (sr.CIFAR100, torchvision.datasets.CIFAR100, "train"),
    ],
)
def test_a_file_with_another_checksum_is_never_unpickled(monkeypatch, tmp_path, source, cls, file):
    write_cifar(monkeypatch, tmp_path, cls, 10, "labels")
    touched = tmp_path / "executed"
    (tmp_path / cls.base_folder / file).write_bytes(pickle.dumps(Touch(touched)))
    with pytest.raises(sr.SamattrError, match=r"not found or corrupted\.\): put it there") as error:
        source(**SIZES).load(0)
    assert "\n" not in str(error.value)
    assert not touched.exists()
    pickle.loads((tmp_path / cls.base_folder / file).read_bytes())
    assert touched.exists()  # the file does what the test fears


def human_labels(labels):
    """Label sets in which people are wrong about every fifth image, and `worse` about every second one."""
    clean = np.array(labels)
    wrong = np.where(np.arange(len(clean)) % 5 == 0, (clean + 1) % 10, clean)
    worse = np.where(np.arange(len(clean)) % 2 == 0, (clean + 3) % 10, clean)
    return {"clean": clean, "aggregate": wrong, "worse": worse, "random1": wrong, "random2": wrong, "random3": wrong}


def write_table(path, labels, names):
    sets = human_labels(labels)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["cifar10_index", "path", *sets])
        for i, name in enumerate(names):
            writer.writerow([i, name, *(values[i] for values in sets.values())])


def write_original(path, labels, numpy_1=False):
    ours = human_labels(labels)
    names = {"clean": "clean_label", "aggregate": "aggre_label", "worse": "worse_label"}
    names |= {f"random{i}": f"random_label{i}" for i in (1, 2, 3)}
    content = {theirs: ours[name] for name, theirs in names.items()}
    torch.save(content, path, _use_new_zipfile_serialization=not numpy_1)
    if numpy_1:
        path.write_bytes(path.read_bytes().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))


@pytest.mark.parametrize("form", ["table", "original", "original of NumPy 1", "both"])
def test_human_labels_stand_for_the_training_labels_alone(monkeypatch, tmp_path, form):
    x, labels = write_cifar10(monkeypatch, tmp_path)
    if form in ("table", "both"):
        write_table(tmp_path / "cifar10n.csv", labels, ["-"] * N_TRAIN)
    if form == "both":  # the table comes first, so that this one is never looked at
        (tmp_path / "CIFAR-10_human.pt").write_bytes(b"damaged")
    if form.startswith("original"):
        write_original(tmp_path / "CIFAR-10_human.pt", labels, numpy_1=form.endswith("1"))
    clean = sr.CIFAR10(**SIZES, noise=None).load(0)
    for name, expected in human_labels(labels).items():
        splits = sr.CIFAR10N(**SIZES, labels=name).load(0)
        assert torch.equal(splits.train.x, clean.train.x)
        assert torch.equal(splits.queries.y, clean.queries.y)
        assert [expected[position(point, x)] for point in splits.train.x] == splits.train.y.tolist()
        assert torch.equal(splits.noisy, splits.train.y != clean.train.y)
        assert bool(splits.noisy.any()) == (name != "clean")


def write_tree(root, parts, classes, count, size=32, ending="jpg"):
    for p, part in enumerate(parts):
        for c, name in enumerate(classes):
            (root / part / name).mkdir(parents=True)
            for i, pixels in enumerate(images(count, 100 * p + c, size)):
                Image.fromarray(pixels).save(root / part / name / f"{i:04d}.{ending}")


def test_human_labels_follow_the_files_of_an_image_tree(monkeypatch, tmp_path):
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path))
    classes = [f"class{i}" for i in range(10)]
    write_tree(tmp_path / "cifar10-jpeg", ["train", "test"], classes, 3)
    labels = [i % 10 for i in range(30)]
    write_table(tmp_path / "cifar10n.csv", labels, [f"train/class{i % 10}/{i // 10:04d}.jpg" for i in range(30)])
    splits = sr.CIFAR10N(**SIZES).load(0)
    clean = sr.CIFAR10(**SIZES, noise=None).load(0)
    assert splits.noisy.any()
    assert torch.equal(splits.train.y[splits.noisy], (clean.train.y[splits.noisy] + 1) % 10)
    (tmp_path / "cifar10n.csv").unlink()
    write_original(tmp_path / "CIFAR-10_human.pt", labels)
    with pytest.raises(sr.SamattrError, match=r"which the image tree does not keep: put cifar10n\.csv"):
        sr.CIFAR10N(**SIZES).load(0)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "UCSC-REAL/cifar-10-100n"),
        (lambda path: path.write_text(path.read_text().replace("aggregate", "agregate")), "has no column aggregate"),
        (lambda path: path.write_text(path.read_text().splitlines()[0]), "has no rows"),
        (lambda path: path.write_text("\n".join(path.read_text().splitlines()[:9])), "has no row for the image"),
        (
            lambda path: path.write_text("\n".join(path.read_text().splitlines()[:9]) + "\n9,x"),
            "too few columns in row",
        ),
        (lambda path: path.write_text(path.read_text().replace(",-,", ",-,a")), "not a whole number"),
        (lambda path: write_table(path, [3] * N_TRAIN, ["-"] * N_TRAIN), "do not belong to the images"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "could not be read"),
    ],
)
def test_human_labels_that_do_not_fit_are_refused(monkeypatch, tmp_path, spoil, said):
    _, labels = write_cifar10(monkeypatch, tmp_path)
    write_table(tmp_path / "cifar10n.csv", labels, ["-"] * N_TRAIN)
    spoil(tmp_path / "cifar10n.csv")
    with pytest.raises(sr.SamattrError, match=said) as error:
        sr.CIFAR10N(**SIZES).load(0)
    assert "\n" not in str(error.value)


def test_an_original_label_file_executes_nothing(monkeypatch, tmp_path):
    write_cifar10(monkeypatch, tmp_path)
    touched = tmp_path / "executed"
    torch.save({"clean_label": Touch(touched)}, tmp_path / "CIFAR-10_human.pt")
    with pytest.raises(sr.SamattrError, match="or damaged"):
        sr.CIFAR10N(**SIZES).load(0)
    assert not touched.exists()


@pytest.mark.parametrize("settings", [{"labels": "agregate"}, {"noise": 0.1}])
def test_human_labels_by_another_name_or_with_noise_are_refused(settings):
    with pytest.raises(sr.SamattrError, match=r"did you mean 'aggregate'|leave noise at None"):
        sr.CIFAR10N(**settings)


@pytest.mark.slow
@needs_data("cifar10n.csv")
def test_the_real_human_labels_have_the_published_error():
    for name, rate in {"aggregate": 0.09, "worse": 0.402}.items():
        assert sr.CIFAR10N(n_train=2000, labels=name).load(0).noisy.double().mean() == pytest.approx(rate, abs=0.03)


def write_listed(root, classes):
    """The form with tables: one class in each, images of different sizes."""
    (root / "images").mkdir(parents=True)
    for c, (table, name) in enumerate(zip(("train", "val", "test"), classes, strict=True)):
        lines = ["filename,label"]
        for i, pixels in enumerate(images(12, c, size=40 + c)):
            Image.fromarray(pixels).save(root / "images" / f"{name}{i:04d}.jpg")
            lines.append(f"{name}{i:04d}.jpg,{name}")
        (root / f"{table}.csv").write_text("\n".join(lines))


@pytest.fixture(params=["listed", "tree"])
def mini(request, monkeypatch, tmp_path):
    """The folder of a small mini-ImageNet in either form: 3 classes of 12 images each."""
    root = tmp_path / "mini-imagenet"
    if request.param == "listed":
        write_listed(root, ["n03", "n01", "n02"])
    else:
        write_tree(root, ["train", "test"], ["n01", "n02", "n03"], 6, size=50, ending="JPEG")
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path))
    return root


def test_mini_imagenet_is_one_pool_of_its_first_classes(mini):
    source = sr.MiniImageNet(**SIZES, n_classes=3, image_size=16, noise=None)
    splits = source.load(0)
    sets = [splits.train, splits.queries, splits.tuning, splits.validation]
    assert [tuple(part.x.shape) for part in sets] == [(n, 3, 16, 16) for n in (20, 3, 3, 3)]
    assert splits.train.x.abs().max() <= 1
    assert splits.train.x.min() < -0.2 < 0.2 < splits.train.x.max()
    assert set(splits.train.y.tolist()) == {0, 1, 2}
    assert len({x.numpy().tobytes() for part in sets for x in part.x}) == 29
    assert torch.equal(source.load(0).train.x, splits.train.x)
    for name in ("miniimagenet-resnet9", "miniimagenet-resnet9-wide"):
        small = sr.load_workload(name).override(
            **SIZES, n_classes=3, image_size=16, width=2, steps=2, warmup=0, batch_size=10
        )
        run = sr.train(small)
        assert run.objective.logits(run.parameters, run.splits.queries.x).shape == (3, 3)
    fewer = replace(source, n_classes=2, n_train=15).load(0)
    assert fewer.n_classes == 2
    assert torch.cat([fewer.train.y, fewer.queries.y, fewer.tuning.y, fewer.validation.y]).bincount().tolist() == [
        12,
        12,
    ]
    with pytest.raises(sr.SamattrError, match="holds 3 classes: set n_classes"):
        sr.MiniImageNet(**SIZES).load(0)
    with pytest.raises(sr.SamattrError, match="36 points, fewer than the sizes"):
        replace(source, n_train=40).load(0)


def test_a_damaged_image_is_named(mini):
    for path in [*mini.rglob("*.jpg"), *mini.rglob("*.JPEG")]:
        path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(sr.SamattrError, match="is not a readable image"):
        sr.MiniImageNet(**SIZES, n_classes=3).load(0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("filename,label\nn99.jpg,n99", r"names n99\.jpg, which is not in"),
        ("file,label\nn010000.jpg,n01", "has no column filename"),
        ("filename,label\n", "has no rows"),
        ("", "has no column filename or label"),
        ("filename,label\nn010000.jpg,n01", "a second time"),
    ],
)
def test_tables_that_do_not_fit_are_refused(monkeypatch, tmp_path, content, said):
    write_listed(tmp_path / "mini-imagenet", ["n01", "n02", "n03"])
    (tmp_path / "mini-imagenet" / "test.csv").write_text(content)
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path))
    with pytest.raises(sr.SamattrError, match=said):
        sr.MiniImageNet(**SIZES, n_classes=2).load(0)


def test_missing_images_are_named_with_where_they_go(monkeypatch, tmp_path):
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path))
    with pytest.raises(sr.SamattrError, match="Ravi & Larochelle 2017") as error:
        sr.MiniImageNet().load(0)
    assert "\n" not in str(error.value)
    (tmp_path / "mini-imagenet" / "images").mkdir(parents=True)
    with pytest.raises(sr.SamattrError, match="Ravi & Larochelle 2017"):
        sr.MiniImageNet().load(0)
    for settings in ({"n_classes": 1}, {"image_size": 0}):
        with pytest.raises(sr.SamattrError, match="n_classes must be at least 2"):
            sr.MiniImageNet(**settings)


def test_a_zip_file_is_read_where_it_is_and_a_damaged_one_named(monkeypatch, tmp_path, fresh_store):
    write_tree(tmp_path / "cifar10-jpeg", ["train", "test"], ["cat", "dog"], 12)
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path))
    of_tree = sr.CIFAR10(**SIZES).load(0)
    (tmp_path / "cifar10-jpeg").rename(tmp_path / "made")
    archive = tmp_path / "cifar10-jpeg.zip"
    archive.write_bytes(b"not a zip file")
    with pytest.raises(sr.SamattrError, match=r"cifar10-jpeg.zip could not be read.*fetch it again"):
        sr.CIFAR10(**SIZES).load(0)
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in sorted((tmp_path / "made").rglob("*.jpg"), reverse=True):
            zipped.write(path, "cifar10-jpeg" / path.relative_to(tmp_path / "made"))
        zipped.writestr("cifar10-jpeg/train/cat/.hidden.jpg", b"")
        zipped.writestr("cifar10-jpeg/train/cat/notes.txt", b"")
        zipped.writestr("cifar10-jpeg/README.md", b"")
    of_zip = sr.CIFAR10(**SIZES).load(0)
    assert of_zip.digest == of_tree.digest
    assert not fresh_store.exists()
    content = archive.read_bytes()
    at = content.index((tmp_path / "made" / "train" / "cat" / "0003.jpg").read_bytes()) + 200
    archive.write_bytes(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
    with pytest.raises(sr.SamattrError, match=r"0003.jpg is not a readable image.*fetch it again"):
        sr.CIFAR10(n_train=24, n_query=1, n_tuning=1, n_validation=1).load(0)


def test_files_that_unpack_to_more_than_an_image_are_refused(monkeypatch, tmp_path, fresh_store):
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path))
    monkeypatch.setattr(image_set, "LARGEST", 1 << 20)
    with zipfile.ZipFile(tmp_path / "cifar10-jpeg.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for part, kind, i in itertools.product(["train", "test"], ["cat", "dog"], range(12)):
            zipped.writestr(f"cifar10-jpeg/{part}/{kind}/{i}.jpg", bytes(2 << 20))
    with pytest.raises(sr.SamattrError, match=r"jpg is larger than 1 MiB"):
        sr.CIFAR10(**SIZES).load(0)
    write_tree(tmp_path / "cifar10-jpeg", ["train", "test"], ["cat", "dog"], 12)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(sr.SamattrError, match=r"jpg is not a readable image.*decompression bomb"):
        sr.CIFAR10(**SIZES).load(0)


def test_images_of_different_sizes_are_named(monkeypatch, tmp_path):
    write_tree(tmp_path / "cifar10-jpeg", ["train", "test"], ["cat", "dog"], 12)
    Image.fromarray(images(1, 0, size=20)[0]).save(tmp_path / "cifar10-jpeg" / "train" / "cat" / "0000.jpg")
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path))
    with pytest.raises(sr.SamattrError, match="make all images one size"):
        sr.CIFAR10(n_train=24, n_query=1, n_tuning=1, n_validation=1).load(0)


def test_other_data_sets_of_torchvision_are_refused():
    with pytest.raises(sr.SamattrError, match="did you mean 'MNIST'"):
        sr.TorchvisionDigits(dataset="MNST")
