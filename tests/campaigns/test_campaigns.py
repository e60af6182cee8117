"""A short form of each campaign; that on a Ray cluster is in `tests/baselines/test_on_ray.py`."""

import pytest

from tests.campaigns import driver_kills, files, inputs


def test_damaged_files_are_noticed(tmp_path, monkeypatch):
    found = files.campaign(400, tmp_path, monkeypatch, seed=1)
    assert found["refused"] > 250


def test_no_artefact_is_served_in_anothers_place(tmp_path, monkeypatch):
    assert files.swapped(tmp_path, monkeypatch)["swaps"] >= 10


@pytest.mark.slow
def test_input_of_every_kind(fresh_store):
    found = inputs.campaign(200, same=True)
    assert found["answered"] > 20 and found["refused"] > 20


@pytest.mark.slow
def test_a_killed_program_loses_nothing(tmp_path, monkeypatch):
    found = driver_kills.campaign(3, tmp_path, monkeypatch, names=("truth by one",), every=3)
    assert found["kills"] >= 3
