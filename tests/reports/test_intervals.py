"""Means over seeds and their intervals, as frames, tables and figures have them."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from baselines.metrics import NO_LIMITS, mean_interval
from reports.dots import Mark, draw_dots
from reports.intervals import brackets, summarise, triple
from reports.style import style_of

REFERENCE = Path(__file__).parents[2] / "reports" / "reference"
NUMBER = r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?"


def test_summaries_are_over_seeds():
    frame = pd.DataFrame({"method": ["a"] * 3, "seed": [0, 1, 2], "x": [1.0, 2.0, 3.0], "y": [0.1, None, 0.3]})
    row = summarise(frame, ["method"], ["x", "y"]).iloc[0]
    assert row["x"] == 2
    assert row["x_low"] < 2 < row["x_high"]
    assert row["y"] == pytest.approx(0.2)
    assert row["seeds"] == 3


def test_intervals_end_where_their_columns_do():
    frame = pd.DataFrame({"method": "a", "seed": [0, 1, 2], "accuracy": [0.9, 0.98, 1.0], "seconds": [0.1, 0.2, 3.0]})
    frame = frame.assign(lds_0=frame["accuracy"], slope=frame["accuracy"])
    row = summarise(frame, ["method"], ["accuracy", "seconds", "lds_0", "slope"]).iloc[0]
    assert row["lds_0_high"] < row["accuracy_high"] == 1 < row["slope_high"]
    assert row["seconds_low"] == 0


def test_a_value_that_float32_rounds_beyond_its_limit_is_the_limit():
    """As the cosine of an edit with itself: 1.0000002."""
    frame = pd.DataFrame({"method": "a", "seed": [0, 1, 2], "cosine": [1.0000004, 1.0000002, 1.0]})
    row = summarise(frame, ["method"], ["cosine"]).iloc[0]
    assert row["cosine_low"] == row["cosine"] == row["cosine_high"] == 1


def test_a_value_beyond_the_limits_of_its_name_is_a_mistake_of_ours():
    frame = pd.DataFrame({"method": "a", "seed": [0, 1, 2], "accuracy": [90.0, 98.0, 100.0]})
    with pytest.raises(AssertionError, match="accuracy is not within"):
        summarise(frame, ["method"], ["accuracy"])


def test_committed_intervals_hold_their_values():
    found = [
        (path.name, *map(float, numbers))
        for path in REFERENCE.glob("*/*.md")
        for numbers in re.findall(rf"({NUMBER}) \[({NUMBER}), ({NUMBER})\]", path.read_text())
    ]
    assert len(found) > 1000
    assert [row for row in found if not row[2] <= row[1] <= row[3]] == []


def test_brackets_are_of_each_row():
    means = pd.DataFrame([[0.5, 0.4, 0.6], [1, np.nan, np.nan], [np.nan] * 3], columns=triple("x"))
    assert brackets(means, {"x": "Heading"}, 1) == {"Heading": ["0.5 [0.4, 0.6]", "1.0", "–"]}


def test_dots_are_the_means_with_their_intervals_a_row_a_method_and_a_mark_a_series():
    values = {("if", "a"): [1.0, 2.0, 4.0], ("if", "b"): [3.0, 5.0, 5.5], ("sam-if", "a"): [7.0, 7.5, 9.0]}
    frame = pd.DataFrame(
        {"workload": "w", "seed": seed, "row": style_of(method).label, "series": series, "value": value}
        for (method, series), seeds in values.items()
        for seed, value in enumerate(seeds)
    )
    marks = {"a": Mark("first"), "b": Mark("second", filled=False)}
    figure = draw_dots(frame, [style_of("if"), style_of("sam-if")], marks, "x", reference=1, limits=NO_LIMITS)
    (axis,) = figure.axes
    assert dict(zip(axis.get_yticks(), (text.get_text() for text in axis.get_yticklabels()), strict=True)) == {
        1: style_of("if").label,
        0: style_of("sam-if").label,
    }
    drawn = [line.get_xydata().tolist() for line in axis.lines if len(line.get_xdata())]
    for (method, series), y in {("if", "a"): 1.16, ("if", "b"): 0.84, ("sam-if", "a"): 0.16}.items():
        mean, low, high = mean_interval(np.array(values[method, series]))
        assert [[pytest.approx(mean), pytest.approx(y)]] in drawn
        assert [[pytest.approx(low), pytest.approx(y)], [pytest.approx(high), pytest.approx(y)]] in drawn
    assert len(drawn) == 2 * len(values) + 1  # and the reference
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["first", "second"]
    plt.close(figure)
