"""The examples of docs/runs-trained-elsewhere.md run as they stand, and print what they say."""

import re
from pathlib import Path

import pytest

import samattr_ref as sr

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "runs-trained-elsewhere.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module")
def printed():
    lines, names = [], {"print": lambda *values: lines.append(" ".join(map(str, values)))}
    for block in BLOCKS:
        exec(block, names)
    return lines, names


def test_examples_say_what_the_page_says(printed):
    lines, names = printed
    replay, spearman, clipped, unrolled, retrained = lines
    assert float(re.search(r"'largest': ([\d.e-]+)", replay)[1]) < 1e-5
    assert float(spearman) > 0.9
    assert re.match(r"the recorded loop leaves its replay at step 0 of 3: its change is 0\.2\d+ times as long", clipped)
    assert unrolled.startswith(
        "sam-unrolled needs the batches and states of the run, which are not known: record it with"
    )
    assert "needs the batches and states of the run" in retrained
    assert names["scores"].values.shape == (60, 20)
    assert names["truth"].values.shape == (60, 5)


def test_names_and_paths_are_there():
    for name in re.findall(r"\bsr\.(\w+)", PAGE):
        assert hasattr(sr, name), name
    for path in re.findall(r"`((?:samattr_ref|baselines|tests|docs)/[\w./-]*)`", PAGE):
        assert (ROOT / path).exists(), path
    table = PAGE.split("| what you have")[1].split("\n\n")[0]
    for name in re.findall(r"`([a-z]+-[a-z]+)`", table):
        assert name in sr.methods(), name
