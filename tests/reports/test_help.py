"""Help does not wait: it is there before what a command works with is loaded, and knows the same names."""

import json
import subprocess
import sys

from baselines.score_files import LAYOUTS
from samattr_ref.support.upkeep import KINDS

ASKED = """
import json, sys
from click.testing import CliRunner
import typer
from reports.cli import app

commands = typer.main.get_command(app)
helps = {}

def ask(command, words):
    found = CliRunner().invoke(command, ["--help"], terminal_width=400)
    assert found.exit_code == 0, found.output
    helps[words] = found.output
    for name, inner in getattr(command, "commands", {}).items():
        ask(inner, f"{words} {name}".strip())

ask(commands, "")
heavy = [name for name in ("torch", "numpy", "pandas", "scipy", "matplotlib", "ray") if name in sys.modules]
print(json.dumps({"heavy": heavy, "helps": helps}))
"""


def test_help_of_every_command_loads_nothing_that_is_slow_and_has_the_names():
    found = json.loads(subprocess.run([sys.executable, "-c", ASKED], check=True, capture_output=True).stdout)
    assert found["heavy"] == []
    helps = found["helps"]
    assert {"", "truth", "validate", "reproduce", "store ls"} <= set(helps)
    assert all(name in helps["store verify"] for name in KINDS)
    assert all(name in helps["validate"] for name in LAYOUTS)
