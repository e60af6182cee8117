"""The caption of the number of checkpoints says what the largest one is."""

import pytest

from reports.committed import read_rows
from reports.experiments.checkpoints import caption
from tests.test_readme import ROOT


@pytest.mark.parametrize(("page", "every_step"), [("desk", True), ("real", False)])
def test_it_speaks_of_every_step_where_every_step_was_measured(page, every_step):
    text = caption(read_rows(ROOT / "reports" / "reference" / page / "checkpoints.csv"))
    assert ("every step" in text) == every_step
