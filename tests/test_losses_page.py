"""The examples of docs/losses.md run as they stand, and print what they say."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "losses.md").read_text()
NUMBER = r"-?\d+\.\d+"


@pytest.mark.slow
def test_examples_say_what_the_page_says(fresh_store):
    lines, names = [], {"print": lambda *values: lines.append(" ".join(map(str, values)))}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(block, names)
    shown = "".join(re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)).splitlines()
    assert [re.sub(NUMBER, "", line) for line in lines] == [re.sub(NUMBER, "", line) for line in shown]
    for line, said in zip(lines, shown, strict=True):  # float32 rounds in another order elsewhere
        assert [float(n) for n in re.findall(NUMBER, line)] == pytest.approx(
            [float(n) for n in re.findall(NUMBER, said)], abs=0.02
        )
    assert names["exact"].metrics["spearman_per_query"]["mean"] > 0.98
    assert names["scores"].shape == (250, 30)
