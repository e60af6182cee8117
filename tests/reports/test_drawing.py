"""What all figures share: looks that are told apart, marks and names that do not cover each other, honest axes."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

import samattr_ref as sr
from reports.classes import class_name, class_names
from reports.curves import FIXED_POINTS, draw_curves, parted
from reports.experiment import get_experiment
from reports.panels import legend, name_points, row_of_panels
from reports.scales import scale_x, scale_y, ticks_at
from reports.style import figure_style, style_of, styles
from samattr_ref.registry import METHODS
from samattr_ref.support.registered import is_own

SEEING = {
    "all colours": np.eye(3),
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
"""What readers see of linear RGB (Machado et al. 2009)."""

XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
KINDS = (
    ("sam-unrolled", "sam-hif-implicit", "sam-if", "sam-hif", "sam-hif-fast", "if", "ekfac"),
    ("sam-gif", "tracin", "tracin-cp", "trak", "grad-dot", "gradient-norm", "loss", "random"),
)
"""The methods that share panels."""


def linear(colour):
    value = np.array(to_rgb(colour))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE L*a*b* of linear RGB, in which distances are what eyes tell apart."""
    x, y, z = np.cbrt(XYZ @ np.clip(rgb, 1e-4, 1) / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_methods_of_a_panel_are_told_apart_by_colour_and_by_mark():
    own = {name for name in sr.methods() if is_own(METHODS[name].function.__module__)}
    assert own <= set(itertools.chain(*KINDS))
    for names in KINDS:
        shown = [style_of(name) for name in names]
        assert len({look.marker for look in shown}) == len(names)
        for one, other in itertools.combinations(shown, 2):
            seen = [lab(matrix @ linear(one.colour)) - lab(matrix @ linear(other.colour)) for matrix in SEEING.values()]
            assert min(map(np.linalg.norm, seen)) > 12, (one, other)
        for look in shown:
            assert 1.05 / (0.05 + XYZ[1] @ linear(look.colour)) > 2.2, look  # contrast with the paper


def frame_of(methods, x, value=0.5, **columns):
    rows = [
        {"workload": "w", "method": m, "seed": s, "x": at, "spearman": value + 0.02 * s, **columns}
        for m in methods
        for s in range(3)
        for at in x
    ]
    return pd.DataFrame(rows)


def marks(line):
    """Where a line's marks are, in pixels [k, 2]."""
    return line.get_transform().transform(line.get_xydata()[line.get_markevery()])


@pytest.mark.parametrize("count", [5, 40])
def test_marks_and_intervals_of_methods_that_agree_stand_apart(count):
    methods = ["sam-if", "sam-hif", "if", "tracin"]
    figure = draw_curves(frame_of(["loo", *methods], np.linspace(0, 1, count)), "x", "x", {"spearman": "s"})
    figure.draw_without_rendering()
    (axis,) = figure.axes
    lines = {line.get_label(): line for line in axis.lines}
    places = np.concatenate([marks(lines[style_of(name).label])[:, 0] for name in methods])
    assert len(places) >= 5 * len(methods)
    assert np.diff(np.sort(places)).min() > 1.5 * figure.dpi / 72  # points
    intervals = {c.get_segments()[0].shape: len(c.get_segments()) for c in axis.collections}
    assert set(intervals) == {(2, 2)}
    assert np.ptp(marks(lines["exact LOO"])[:, 1]) == 0
    plt.close(figure)


def test_lines_are_means_over_seeds_and_bars_their_intervals():
    frame = frame_of(["if"], [1.0, 2.0])
    figure = draw_curves(frame, "x", "x", {"spearman": "s"})
    (axis,) = figure.axes
    assert axis.lines[0].get_ydata() == pytest.approx([0.52, 0.52])
    (low, high) = axis.collections[0].get_segments()[0][:, 1]
    assert low < 0.5 < 0.54 < high
    plt.close(figure)


def test_edits_of_a_single_share_have_the_whole_panel_and_what_they_are_held_against_goes_through_it():
    methods = ["retrained", "if", "sam-if"]
    several, one = frame_of(methods, [0.01, 0.1]), frame_of(methods, [0.1])
    frame = pd.concat([several, one.assign(workload="v")]).rename(columns={"x": "fraction", "spearman": "accuracy"})
    figure = get_experiment("editing").draw(frame.assign(kind="random"))
    figure.draw_without_rendering()
    above, below = (next(a for a in figure.axes if a.lines and a.get_subplotspec().rowspan.start == i) for i in (0, 1))
    assert [drawn_ticks(axis) for axis in (above, below)] == [["1", "10"], ["10"]]
    (reference, *marked), low, high = below.lines, *below.get_xlim()
    assert reference.get_label() == "retrained" and list(reference.get_xdata()) == [0, 1]  # of the panel's width
    assert np.diff([marks(line)[0, 0] for line in marked]) > 10 * figure.dpi / 72
    assert low < 10 < high
    plt.close(figure)


def test_many_methods_of_one_workload_are_parted_into_columns_of_several_into_rows():
    names = list(itertools.chain(*KINDS))
    one = frame_of(["loo", *names], [1.0, 2.0])
    groups = parted(one)
    assert {name for name in groups["implicit and unrolled"]["method"] if name != "loo"} == {
        name for name in names if METHODS[name].family in FIXED_POINTS
    }
    assert all("loo" in set(group["method"]) for group in groups.values())
    figure = draw_curves(one, "x", "x", {"spearman": "s"})
    assert [axis.get_title() for axis in figure.axes] == [f"w: {kind}" for kind in groups]
    both = pd.concat([one, one.assign(workload="v")])
    other = draw_curves(both, "x", "x", {"spearman": "s"})
    assert [axis.get_title() for axis in other.axes] == ["w", "v", "", ""]
    assert [axis.texts[0].get_text() for axis in other.axes if axis.texts] == list(groups)
    plt.close("all")


def test_ways_of_a_method_follow_it_and_what_all_are_held_against_comes_first():
    frame = pd.DataFrame(
        {"method": ["mine.py:one", "if", "sam-if", "sam-if", "loo"], "how": ["", "", "in parts", "", ""]}
    )
    labels = [shown.label for shown, _ in styles(frame)]
    assert labels == ["exact LOO", "SAM-IF, in parts", "SAM-IF", "IF", "mine.py:one"]


def drawn_ticks(axis):
    axis.figure.draw_without_rendering()
    left, right = axis.get_xlim()
    ticks = [t for t in axis.xaxis.get_major_ticks() if left <= t.get_loc() <= right and t.label1.get_text()]
    boxes = [tick.label1.get_window_extent() for tick in ticks]
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(sorted(boxes, key=lambda box: box.x0)))
    return [tick.label1.get_text() for tick in sorted(ticks, key=lambda tick: tick.get_loc())]


@pytest.mark.parametrize(
    ("scale", "values", "shown"),
    [
        ("log", [1, 2, 3, 5, 10, 30, 100, 1000], ["1", "2", "3", "5", "10", "30", "100", "1000"]),
        ("symlog", [0, 0.05, 0.1, 0.2, 0.5, 1], ["0", "0.05", "0.1", "0.2", "0.5", "1"]),
        ("log", [20.1, 22.7, 28.3], ["20", "22", "24", "26", "28"]),  # too narrow for a logarithm
        ("log", [1.37, 2.91, 7.77], ["2", "5"]),  # what was measured is no round number
    ],
)
def test_ticks_are_what_was_tried_in_plain_numbers(scale, values, shown):
    with figure_style():
        figure, (axis, _) = row_of_panels(2, 1.5)
        scale_x(axis, scale, values)
        assert drawn_ticks(axis) == shown
    plt.close(figure)


def test_of_ticks_that_have_no_room_both_ends_keep_their_labels():
    with figure_style():
        figure, axes = row_of_panels(4, 1.5)
        scale_x(axes[0], "log", range(100, 112))
        ticks_at(axes[0], range(100, 112))
        found = drawn_ticks(axes[0])
        assert found[0] == "100" and found[-1] == "111" and 2 < len(found) < 12
    plt.close(figure)


def test_a_share_has_no_axis_beyond_one_and_wide_intervals_do_not_stretch_it():
    with figure_style():
        figure, (axis,) = row_of_panels(1, 1.5)
        axis.plot([0, 1], [0.2, 1.0])
        axis.vlines([0, 1], -50, 50)
        scale_y([axis], "linear", (0.0, 1.0))
        low, high = axis.get_ylim()
        assert 0 <= low < 0.2 and 1 < high < 1.05
    plt.close(figure)


def test_a_legend_takes_an_empty_panel_or_makes_its_own_room():
    with figure_style():
        figure, panels = row_of_panels(5, 1.0)
        panels[0].plot([0, 1], [0, 1], label="line")
        legend(figure, panels)
        assert not figure.legends and figure.axes[5].get_legend() is not None
        other, panels = row_of_panels(2, 1.0)
        for i in range(20):
            panels[0].plot([0, 1], [0, i], label=f"a line with a name, {i}")
        before = other.get_figheight()
        legend(other, panels)
        other.draw_without_rendering()
        box = other.legends[0].get_window_extent()
        assert other.get_figheight() > before and box.x0 >= 0 and box.x1 <= other.bbox.x1
        assert box.y1 < min(axis.get_window_extent().y0 for axis in panels)
    plt.close("all")


def test_names_beside_points_that_lie_together_do_not_cover_each_other():
    with figure_style():
        figure, (axis,) = row_of_panels(1, 2.0)
        points = np.array([[0, 0], [0.01, 0], [0, 0.01], [1, 1], [0.99, 1]])
        axis.plot(*points.T, "o", markersize=4)
        name_points(axis, points, ["10", "11", "12", "13", "14"])
        boxes = [text.get_window_extent() for text in axis.texts]
        assert len(boxes) == 5
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    plt.close(figure)


def test_classes_have_the_names_of_their_data_set():
    assert [class_name("cifar10-cnn", i) for i in (0, 1, 9)] == ["airplane", "automobile", "truck"]
    assert class_name("fashion-logreg", 9) == "Ankle boot"
    assert class_name("docstrings-mlp", 5) == "xml"
    assert (class_name("cancer-logreg", 0), class_name("cancer-logreg", 1)) == ("malignant", "benign")
    assert class_name("mnist-mlp", 7) == class_name("nobody-knows", 7) == "7"


def test_a_data_source_of_ones_own_names_its_classes():
    class Flowers:
        class_names = ("rose", "tulip")

    assert class_names(Flowers()) == ("rose", "tulip")
    assert class_names(sr.Digits()) == ()


def test_breast_cancer_has_the_names_that_scikit_learn_gives():
    from sklearn.datasets import load_breast_cancer

    assert tuple(load_breast_cancer().target_names) == class_names(sr.BreastCancer())
