"""Measurements and texts."""

import pytest
import torch

import samattr_ref as sr
from samattr_ref.data.text import PACKAGES, bags_of_words

SIZES = {"n_train": 12, "n_query": 2, "n_tuning": 2, "n_validation": 2}


def test_measurements_are_standardised_by_the_training_points():
    splits = sr.BreastCancer().load(0)
    assert [len(part) for part in (splits.train, splits.queries, splits.tuning, splits.validation)] == [
        300,
        80,
        30,
        150,
    ]
    assert splits.train.x.shape == (300, 30)
    torch.testing.assert_close(splits.train.x.mean(0), torch.zeros(30, dtype=torch.float64), rtol=0, atol=1e-10)
    torch.testing.assert_close(splits.train.x.std(0, correction=0), torch.ones(30, dtype=torch.float64))
    assert splits.queries.x.mean(0).abs().max() > 0.01
    assert splits.noisy.sum() == 30
    assert not sr.BreastCancer(n_train=1).load(0).train.x.any()


@pytest.mark.slow
def test_docstrings_come_from_the_standard_library_without_their_packages_names():
    source = sr.Docstrings(vocabulary=100, noise=None)
    splits = source.load(0)
    assert splits.n_classes == len(PACKAGES)
    assert splits.train.x.shape == (500, 100)
    lengths = splits.train.x.norm(dim=1)
    torch.testing.assert_close(lengths[lengths > 0], torch.ones_like(lengths[lengths > 0]))
    assert splits.train.y.bincount(minlength=6).min() > 20
    assert torch.equal(source.load(0).train.x, splits.train.x)


def test_a_python_without_source_files_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"stdlib": str(tmp_path)})
    with pytest.raises(sr.SamattrError, match="holds no source files"):
        sr.Docstrings().load(0)


def test_a_docstring_of_two_packages_or_a_test_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"stdlib": str(tmp_path)})
    for package in PACKAGES:
        (tmp_path / package / "tests").mkdir(parents=True)
        own = [f'def f{i}():\n    """Words {package}{i} that are a docstring of one {i}."""\n' for i in range(4)]
        shared = 'class A:\n    """These are eight or more words found everywhere alike."""\n'
        executed = f"open({str(tmp_path / 'executed')!r}, 'w')\n"
        (tmp_path / package / "code.py").write_text("\n".join([*own, own[0], shared, executed]))
        (tmp_path / package / "tests" / "more.py").write_text(own[0].replace("Words", "Sentences"))
    with pytest.raises(sr.SamattrError, match="the data has 24 points"):
        sr.Docstrings().load(0)
    sr.Docstrings(**SIZES).load(0)
    assert not (tmp_path / "executed").exists()


def test_words_are_those_of_the_training_texts():
    train, other = ["apple berry berry sci", "cherry apple space"], ["durian berry", "durian"]
    first, second = bags_of_words([train, other], 10, ["sci.space", "apple"])
    assert first.shape == (2, 2)  # berry and cherry
    torch.testing.assert_close(first, torch.eye(2, dtype=torch.float64))
    assert second.tolist() == [[1, 0], [0, 0]]
    assert bags_of_words([train, other], 1, [])[0].shape == (2, 1)
    with pytest.raises(sr.SamattrError, match="hold no words"):
        bags_of_words([["the of"]], 10, [])


def write_texts(root, count):
    for name, words in (("rec.autos", "wheel engine road"), ("sci.space", "orbit rocket moon")):
        (root / name).mkdir(parents=True)
        for i in range(count):
            (root / name / str(i)).write_bytes(f"{words} number{i} \xe9".encode("latin-1"))
        (root / name / ".hidden").write_text("not a text")


@pytest.mark.parametrize("parts", [["{0}-train", "{0}-test"], ["train", "test"], ["."]])
def test_text_folders_are_read_in_each_layout(monkeypatch, tmp_path, parts):
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path))
    for part in parts:
        write_texts(tmp_path / "news" / part.format("news"), 12)
    source = sr.TextFolder(folder="news", vocabulary=6, noise=None, **SIZES)
    splits = source.load(0)
    assert splits.n_classes == 2
    assert splits.train.x.shape == (12, 6)
    # The six most frequent words: engine, moon, orbit, road, rocket, wheel.
    words = torch.tensor([[1, 0, 0, 1, 0, 1], [0, 1, 1, 0, 1, 0]], dtype=torch.bool)
    assert torch.equal(splits.train.x > 0, words[splits.train.y])
    with pytest.raises(sr.SamattrError, match="24" if parts == ["."] else "24 and 24"):
        sr.TextFolder(folder="news").load(0)


def test_a_missing_text_folder_is_named_with_where_it_goes(monkeypatch, tmp_path):
    monkeypatch.setenv("SAMATTR_DATA", str(tmp_path))
    with pytest.raises(sr.SamattrError, match=r"20news-bydate\.tar\.gz") as error:
        sr.TextFolder().load(0)
    assert "\n" not in str(error.value)
    with pytest.raises(sr.SamattrError, match="vocabulary must be at least 1"):
        sr.TextFolder(vocabulary=0)
