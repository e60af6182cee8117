"""The gallery of the most harmful and the most helpful points, its table and its answer."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from baselines.studies.kinds_of_points import SHOWN, measure
from reports.committed import read_rows
from reports.experiments.harmful import _COLOURS, COLUMNS, answer, caption, draw, pixels, tabulate
from reports.page import save_figure
from tests.conftest import small


@pytest.fixture(scope="module")
def frame():
    """Two workloads at two seeds, the second with fewer points than are shown."""
    parts = []
    for workload, n in (("digits-logreg", 64), ("other", 11)):
        for seed in (0, 1):
            chosen = replace(small(n_train=n, batch_size=10), seed=seed)
            rows = measure(chosen, ["sam-gif", "random"])
            parts.append(rows.assign(workload=workload, seed=seed, n_train=n))
    return pd.concat(parts, ignore_index=True)


def images(figure):
    """The panels with an image, those on the left of each block first, row by row."""

    def place(axis):
        spec = axis.get_subplotspec()
        return spec.colspan.start > COLUMNS, spec.rowspan.start, spec.colspan.start

    return [axis for block in figure.subfigs for axis in sorted(block.axes, key=place) if axis.images]


def test_every_image_has_its_labels_and_the_colour_of_its_kind(frame):
    figure = draw(frame)
    shown = frame[frame["image"].notna() & (frame["seed"] == 0)]
    axes = images(figure)
    assert len(axes) == len(shown) == 2 * SHOWN + 2 * 11
    for axis, row in zip(axes, shown.itertuples(), strict=True):
        given, clean = int(row.given), int(row.clean)
        assert axis.get_title() == (str(given) if given == clean else f"{given} ({clean})")
        assert axis.title.get_color() == _COLOURS[row.kind]
        np.testing.assert_array_equal(axis.images[0].get_array(), pixels(row.image))
    assert [block.get_suptitle() for block in figure.subfigs] == [
        f"{workload}: most harmful (left) and most helpful (right) by SAM-GIF"
        for workload in ("digits-logreg", "other")
    ]
    plt.close(figure)


@pytest.mark.slow
def test_the_gallery_the_table_and_the_answer_are_made_of_the_rows_of_a_kept_page(frame, tmp_path):
    save_figure(draw(frame), frame, tmp_path, "harmful")
    kept = read_rows(tmp_path / "harmful.csv")
    before, after = draw(frame), draw(kept)
    for one, other in zip(images(before), images(after), strict=True):
        assert one.get_title() == other.get_title()
        np.testing.assert_array_equal(one.images[0].get_array(), other.images[0].get_array())
    plt.close("all")
    pd.testing.assert_frame_equal(tabulate(kept), tabulate(frame))
    assert answer(kept) == answer(frame)
    assert caption(kept) == caption(frame)


def test_the_table_has_a_row_a_group(frame):
    table = tabulate(frame)
    part = table[table["Workload"] == "digits-logreg"]
    assert [*zip(part["Method"], part["Points"], strict=True)] == [
        ("–", "all points"),
        ("SAM-GIF", "lowest 5 %"),
        ("SAM-GIF", "lowest 5 %, right label"),
        ("SAM-GIF", "highest 5 %"),
        ("random", "lowest 5 %"),
        ("random", "highest 5 %"),
    ]


def test_the_answer_says_the_shares_and_what_the_network_makes_of_the_points():
    outcomes = ("accuracy_given", "accuracy_clean", "loss_given", "loss_clean")
    groups = {
        ("–", "all"): (0.1, 0.1, 0.1, 0.7, 0.8, 0.9, 1.0, 0.5),
        ("loo", "lowest"): (0.75, 0.1, 0.15, 0.0, 0.25, 0.7, 3.0, 1.2),
        ("loo", "lowest, right label"): (0.0, 0.4, 0.6, 0.0, 0.2, 0.2, 2.5, 2.5),
    }
    columns = ("wrong", "rare", "hard", "none", *outcomes)
    rows = [
        {"workload": "w", "seed": 0, "method": method, "group": group, **dict(zip(columns, values, strict=True))}
        for (method, group), values in groups.items()
    ]
    shown = {"workload": "w", "seed": 0, "method": "loo", "group": "lowest", "image": "x"}
    frame = pd.DataFrame([*rows, shown])
    assert answer(frame) == (
        "Of the 5 % of the points of w with the lowest scores by exact LOO: 75 % wrong label, 10 % rare, 15 % hard, "
        "0 % none of these. The network gives 25 % of them the label given and 70 % the right one. Of those whose "
        "label is right it gets 20 % right, at a mean loss of 2.50; of all points 90 %, at 0.50."
    )
    frame.loc[frame["group"] == "lowest, right label", list(columns)] = np.nan
    assert answer(frame).endswith("the right one.")
