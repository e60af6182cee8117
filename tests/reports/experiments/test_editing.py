"""Edits are measured group by group, or method by method: the table is the same."""

import pandas as pd

from reports.experiments.editing import tabulate
from tests.test_readme import ROOT


def test_the_table_is_group_by_group_however_it_was_measured():
    rows = pd.read_csv(ROOT / "reports" / "reference" / "real" / "editing.csv")
    rows = rows[rows["workload"] == "mnist-mlp-full"]
    groups, each = rows[["kind", "fraction"]].drop_duplicates(), rows["method"].nunique()
    shown = tabulate(rows)
    assert (shown["Removed"] != shown["Removed"].shift()).sum() == len(groups) > 1
    by_method = pd.concat([part for _, part in rows.groupby("method", sort=False)])
    assert by_method["kind"].iloc[: len(groups)].nunique() > 1 and len(shown) == each * len(groups)
    pd.testing.assert_frame_equal(tabulate(by_method), shown)
