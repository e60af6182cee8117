"""Pages of `docs/` that can be followed: their files are written, their commands run and print what the page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ["a-method-of-your-own.md", "a-workload-of-your-own.md", "tutorial.md"]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_page_can_be_followed_in_an_empty_folder(page, tmp_path):
    """`python` blocks that begin with a file's name are that file; `text` is what the commands before it print.

    Commands end well, but for the last before a text that says what failed.
    """
    blocks = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs" / page).read_text(), flags=re.DOTALL)
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": programs, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    assert {"sh", "python"} <= {kind for kind, _ in blocks}
    for i, (kind, text) in enumerate(blocks):
        if kind == "python" and (named := re.match(r"# (\w+\.py)\n", text)):
            (tmp_path / named[1]).write_text(text[named.end() :])
        if kind == "sh":
            shown = blocks[i + 1][1] if blocks[i + 1 :] and blocks[i + 1][0] == "text" else None
            command = ["sh", "-e", "-c", text]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert (done.returncode == 0) == ("failed" not in (shown or "")), done.stderr
            assert shown in (None, done.stdout + done.stderr)
