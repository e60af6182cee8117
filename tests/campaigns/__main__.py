"""`python -m tests.campaigns ray|ray-speed|driver|files|inputs|plan`: the long campaigns, from a clone's folder."""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import pytest
import typer

from tests.campaigns import driver_kills, files, inputs, plans, ray_kills, ray_speed

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
Count = Annotated[int, typer.Option(help="How many.")]


def run(campaign, *arguments, **settings) -> None:
    """Run a campaign in a folder and with an environment of its own, and say what came of it."""
    began = time.monotonic()
    with pytest.MonkeyPatch.context() as monkeypatch, tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("SAMATTR_STORE", str(Path(folder, "store")))
        found = campaign(*arguments, Path(folder), monkeypatch, **settings)
    print(found, f"{time.monotonic() - began:.0f} s")


@app.command()
def ray(count: Count = 1000, seconds: float = 4.0, least: int = 20) -> None:
    """Retrainings on a cluster of two node processes that are killed again and again."""
    run(ray_kills.campaign, count, seconds=seconds, least=least)


@app.command("ray-speed")
def speed_of_ray(seconds: float = 3.0, count: Count = 12) -> None:
    """What Ray takes from a worker, and how much faster two are: wants a quiet machine of two cores."""
    run(lambda _, monkeypatch: ray_speed.campaign(seconds, count, monkeypatch))


@app.command()
def driver(count: Count = 200) -> None:
    """SIGKILLs of the program at random moments."""
    run(driver_kills.campaign, count)


@app.command("files")
def damaged_files(count: Count = 10_000) -> None:
    """Damaged and swapped files."""
    run(files.campaign, count)
    run(files.swapped)


@app.command("inputs")
def odd_inputs(count: Count = 10_000) -> None:
    """Input of every kind at the public interface."""
    run(lambda *_: inputs.campaign(count))


@app.command("plan")
def plans_and_truths(share: float = 1.0) -> None:
    """Ground truths of about a minute each, planned and then made; a share of their steps."""
    run(lambda folder, _: plans.campaign(share, folder))


if __name__ == "__main__":
    app()
