"""What is read off diagnostics, and that the growth which counts as chaotic is the measured one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from samattr_ref.marks import CHAOTIC, SOLVED, marks_of

PAGE = Path(__file__).parents[2] / "reports" / "reference" / "beyond"


@pytest.mark.parametrize(
    ("diagnostics", "said"),
    [
        ({}, []),
        ({"status": "converged", "residual": SOLVED, "growth": CHAOTIC, "truth": {"kept": True}}, []),
        ({"status": "truncated", "residual": SOLVED / 2}, []),
        ({"options": {"growth": 1e9}, "tuning": {"status": "failed"}}, []),  # what is chosen from is no result
        (
            {"solver": "neumann", "status": "converged, truncated", "residual": 0.97, "iterations": 51},
            ["the solver neumann stopped at residual 0.97 after 51 iterations"],
        ),
        ({"status": "not_positive_definite"}, ["the solver stopped (not positive definite)"]),
        ({"residual": float("nan")}, ["the solver stopped at residual nan"]),
        ({"residual": np.float32(0.5)}, ["the solver stopped at residual 0.5"]),
        (
            {"growth": float("inf")},
            ["the run is chaotic (its adjoint grew inf-fold), and no score of it is to be trusted"],
        ),
        ({"growth": 1.0, "tail": {"status": "stalled"}}, ["the solver stopped (stalled)"]),
        ({"truth": {"diverged": 3, "retrainings": 500}}, ["3 of 500 retrainings diverged and are left out"]),
        ({"marks": ["mine stopped early", "mine stopped early"]}, ["mine stopped early"]),
        ({"marks": "in one word"}, ["in one word"]),
        ({"status": 3, "residual": "small", "growth": None}, ["the solver stopped (3)"]),  # of another's method
    ],
)
def test_reasons(diagnostics, said):
    assert marks_of(diagnostics) == said


def test_the_growth_that_counts_as_chaotic_is_the_measured_one():
    """The numbers of its docstring and of the page on workloads, from the rows of the committed page."""
    rows = pd.read_csv(PAGE / "attributable.csv").query("method == 'sam-unrolled'").dropna(subset="spearman")
    chaotic = rows[rows["growth"] > CHAOTIC]
    assert (len(chaotic), (chaotic["spearman"] < 0.35).sum()) == (13, 11)
    others = chaotic[chaotic["spearman"] >= 0.35]
    assert set(others["axis"]) == {"rho"} and (others["value"] == 1).all() and (others["accuracy"] < 0.73).all()
    calm = rows[rows["growth"] <= CHAOTIC]
    smooth = calm["activation"] != "relu"
    assert (smooth.sum(), (calm[smooth]["spearman"] >= 0.9).sum()) == (115, 109)
    assert ((~smooth).sum(), (calm[~smooth]["spearman"] >= 0.9).sum()) == (66, 1)
