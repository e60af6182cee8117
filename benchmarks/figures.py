"""`python -m benchmarks.figures`: what asv stored of `bench_scaling`, as figures, a table and tidy rows.

With `--redraw` the figures alone, from the rows beside the committed ones.

Takes each machine's newest commit that has results, from where `asv.conf.json` says that they lie. The newest of all
is drawn, and beside it the page has the other machines, such as one with a GPU, and what the peer benchmark stored.
"""

import ast
import itertools
import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from asv.benchmarks import Benchmarks
from asv.config import Config
from asv.results import Results, iter_results
from asv.util import UserError
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullFormatter, NullLocator

from baselines.studies.growth import log_slope, paths
from benchmarks.peers.__main__ import TABLE
from reports.committed import read_rows
from reports.markdown import render
from reports.markdown import table as markdown_table
from reports.page import save_figure
from reports.panels import grid, label_y, legend
from reports.scales import scale_x, ticks_at
from reports.style import Style, figure_style, style_of
from samattr_ref.growth import AXES
from samattr_ref.support.environment import environment
from samattr_ref.support.errors import SamattrError

OUT = Path("reports/reference/speed")
PREFIX = "bench_scaling."
KEPT = "MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296"
"""With these, glibc keeps freed memory in the process; mapped anew for every chunk, it can cost more than the work."""

RUN = f"OMP_NUM_THREADS=1 {KEPT} asv run -E existing --set-commit-hash {{commit}} --bench scaling"
RUN_HEAD = RUN.format(commit="$(git rev-parse HEAD)")
SECONDS, BYTES, ERROR = "seconds", "bytes", "relative error"
QUANTITIES = {SECONDS: "seconds a call", BYTES: "peak memory of the process"}
COLUMNS = 3
ROUND = [digit * 10.0**power for power in range(15) for digit in (1, 2, 5)]
"""Where an axis of memory may end, in bytes."""


def main(arguments: Sequence[str]) -> None:
    """Write the rows, figures and table of the newest stored results; with `--redraw`, the committed figures anew.

    Raises:
        SamattrError: if nothing is stored.
    """
    if "--redraw" in arguments:
        write_figures(read_rows(OUT / "scaling.csv"))
        return
    machines = stored(Path.cwd())
    OUT.mkdir(parents=True, exist_ok=True)
    write_figures(machines[0].frame)
    (OUT / "scaling.md").write_text(page(machines))


def write_figures(frame: pd.DataFrame) -> None:
    """Write the figures of some rows, and the rows."""
    save_figure(draw(frame, SECONDS), frame, OUT, "scaling")
    save_figure(draw(frame, BYTES), frame[frame["unit"] == BYTES], OUT, "scaling-memory")


class Machine(NamedTuple):
    """What one machine measured: `tidy` rows, and asv's description of it."""

    frame: pd.DataFrame
    described: dict[str, str]


def stored(folder: Path) -> list[Machine]:
    """What asv stored of the scaling benchmarks: each machine's newest commit that has them, the newest first.

    Args:
        folder: Where `asv.conf.json` lies.

    Raises:
        SamattrError: if there is nothing, or no configuration.
    """
    try:
        conf = Config.load(str(folder / "asv.conf.json"))
        conf.results_dir = str(folder / conf.results_dir)
        benchmarks = Benchmarks.load(conf, regex=f"^{PREFIX}")
    except UserError as error:
        raise SamattrError(f"no results of asv are stored ({str(error).splitlines()[0]}): {RUN_HEAD}") from error
    found = [results for results in iter_results(conf.results_dir) if results.get_result_keys(benchmarks)]
    if not found:
        raise SamattrError(f"no results of the scaling benchmarks are stored: {RUN_HEAD}")
    newest = {results.params["machine"]: results for results in sorted(found, key=_when)}
    latest_first = sorted(newest.values(), key=_when, reverse=True)
    return [Machine(tidy(results, benchmarks), results.params) for results in latest_first]


def _when(results: Results) -> tuple[int, int]:
    return results.date, max(results.started_at.values())


def tidy(results: Results, benchmarks: Benchmarks) -> pd.DataFrame:
    """A row a benchmark, method and size; methods that are not installed here are left out.

    Returns:
        Columns `benchmark`, `method`, `axis`, `size`, `value`, `unit` (`seconds`, the median of `calls`; `bytes`;
        `relative error`), `calls`, `machine`, `commit`, `commit_date`, `command`.
    """
    rows: list[dict[str, Any]] = []
    known = paths()
    for name in sorted(results.get_result_keys(benchmarks)):
        benchmark = benchmarks[name]
        values = results.get_result_value(name, benchmark["params"])
        statistics = results.get_result_stats(name, benchmark["params"])
        cells = itertools.product(*benchmark["params"])
        for (size, method), value, counted in zip(cells, values, statistics, strict=True):
            path = ast.literal_eval(method)
            if path in known and value is not None and math.isfinite(value):
                rows.append(
                    {
                        "benchmark": name,
                        "method": path,
                        "axis": benchmark["param_names"][0],
                        "size": ast.literal_eval(size),
                        "value": value,
                        "unit": benchmark["unit"],
                        "calls": (counted or {}).get("repeat", 1),
                    }
                )
    frame = pd.DataFrame(rows)
    quick = " --quick" if (frame["calls"] == 1).all() else ""
    return frame.assign(
        machine=results.params["machine"],
        commit=results.commit_hash,
        commit_date=f"{datetime.fromtimestamp(results.date / 1000, UTC):%Y-%m-%d}",
        command=RUN.format(commit=results.commit_hash[:8]) + quick,
    )


def draw(frame: pd.DataFrame, unit: str) -> Figure:
    """Seconds or bytes over each axis, a panel an axis, both scales logarithmic, over the slope that is expected."""
    shown = frame[frame["unit"] == unit]
    names = [name for name in AXES if name in set(shown["axis"])]
    with figure_style():
        figure, cells = grid(-(-len(names) // COLUMNS), min(COLUMNS, len(names)), 2.0, sharey=True)
        panels = list(cells.flat)[: len(names)]
        for panel in cells.flat[len(names) :]:
            panel.set_axis_off()
        for panel, name in zip(panels, names, strict=True):
            part = shown[shown["axis"] == name].sort_values("size")
            sizes = sorted(part["size"].unique())
            scale_x(panel, "log", sizes)
            ticks_at(panel, sizes, [EngFormatter(places=0, sep="")(size) for size in sizes])
            for method in [method for method in paths() if method in set(part["method"])]:
                curve, of = part[part["method"] == method], _style(method)
                style = {"color": of.colour, "linestyle": of.line, "linewidth": 1, **of.mark(3.2)}
                panel.plot(curve["size"], curve["value"], label=of.label, **style)
            panel.set_xlabel(AXES[name])
        panels[0].set_yscale("log")
        panels[0].yaxis.set_major_formatter(EngFormatter(places=0, unit="s" if unit == SECONDS else "B"))
        panels[0].yaxis.set_minor_formatter(NullFormatter())
        if unit == BYTES:  # a factor of two at least, or the axis would stretch a few percent over the panel
            low = max(size for size in ROUND if size <= shown["value"].min())
            high = min(size for size in ROUND if size >= shown["value"].max())
            panels[0].set(ylim=(low, high), yticks=[low, (low + high) / 2, high])
            panels[0].yaxis.set_minor_locator(NullLocator())
        for panel, name in zip(panels, names, strict=True):
            methods = shown.loc[shown["axis"] == name, "method"]
            for power in sorted({_expected(method, name, unit) for method in methods}):
                _guide(panel, power)
        label_y(panels, QUANTITIES[unit])
        legend(figure, panels)
    return figure


def _style(row: str) -> Style:
    """The look of one of `paths`."""
    path = paths()[row]
    return style_of(path.method.name if path.method else row, path.how)


def _expected(method: str, axis: str, unit: str) -> int:
    """Time goes as the formula says, memory nowhere: points, steps and queries are taken in parts."""
    return paths()[method].growth.exponent(axis) if unit == SECONDS else 0


def _guide(panel: Axes, power: int) -> None:
    """Light parallel lines of the expected slope, a decade apart, behind the curves; the limits stay."""
    x, (low, high) = np.array(panel.get_xlim()), panel.get_ylim()
    first, final = math.floor(math.log10(low / (x[1] / x[0]) ** power)), math.ceil(math.log10(high))
    for decade in range(first, final + 1):
        panel.plot(x, 10.0**decade * (x / x[0]) ** power, color="0.88", linewidth=0.7, zorder=0, scalex=False)
    panel.set(xlim=tuple(x), ylim=(low, high))


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """The fitted slope of time and of memory by method and axis, beside what the formula says of time."""
    rows = []
    for axis in AXES:
        for method, path in paths().items():
            part = frame[(frame["axis"] == axis) & (frame["method"] == method)].sort_values("size")
            times, memory = part[part["unit"] == SECONDS], part[part["unit"] == BYTES]
            if len(times) < 2:
                continue
            fit = np.corrcoef(np.log(times["size"]), np.log(times["value"]))[0, 1]
            peaks = memory["value"] / 2**20
            rows.append(
                {
                    "Method": _style(method).label,
                    "In": axis,
                    "Sizes": f"{times['size'].min()} to {times['size'].max()} ({len(times)})",
                    "Expected": str(path.growth.exponent(axis)),
                    "Slope of time": f"{log_slope(times['size'], times['value']):.2f}",
                    "R": f"{fit:.3f}",
                    "Seconds": f"{times['value'].iloc[0]:.3g} to {times['value'].iloc[-1]:.3g}",
                    "Slope of memory": f"{log_slope(memory['size'], memory['value']):.2f}" if len(memory) > 1 else "–",
                    "Peak MiB": f"{peaks.iloc[0]:.0f} to {peaks.iloc[-1]:.0f}" if len(memory) else "–",
                }
            )
    return pd.DataFrame(rows)


def side_by_side(machines: list[Machine]) -> pd.DataFrame:
    """Seconds on every machine at the largest size that all have measured, by method and axis."""
    frame = pd.concat([machine.frame for machine in machines])
    wide = frame[frame["unit"] == SECONDS].pivot(index=["axis", "method", "size"], columns="machine", values="value")
    wide = wide.dropna().reset_index().sort_values("size").groupby(["axis", "method"], sort=False).tail(1)
    ranks = {"axis": list(AXES), "method": list(paths())}
    wide = wide.sort_values(["axis", "method"], key=lambda column: column.map(ranks[column.name].index))
    shown = {
        "Method": [_style(method).label for method in wide["method"]],
        "In": wide["axis"],
        "Size": wide["size"],
    }
    names = [machine.described["machine"] for machine in machines]
    shown |= {f"Seconds, {name}": wide[name].map("{:.3g}".format) for name in names}
    shown |= {f"{names[0]} / {name}": (wide[names[0]] / wide[name]).map("{:.2f}".format) for name in names[1:]}
    return pd.DataFrame(shown)


def precision_table(frame: pd.DataFrame) -> pd.DataFrame:
    """How far float32 is from float64 by method and number of points."""
    part = frame[frame["unit"] == ERROR]
    wide = part.pivot(index="method", columns="size", values="value").reindex(paths()).dropna(how="all")
    shown = wide.map("{:.1e}".format).rename(index=lambda name: _style(name).label, columns="n = {}".format)
    return shown.rename_axis(index="Method", columns=None).reset_index()


def caption(frame: pd.DataFrame, machine: dict[str, str]) -> str:
    """What is shown, and where and with what it was measured."""
    first, here = frame.iloc[0], environment()
    calls = frame.loc[frame["unit"] == SECONDS, "calls"]
    return (
        f"Seconds (the median of {calls.min()} to {calls.max()} calls, on one thread, each process warmed up by one "
        "and keeping the memory that it frees) and the peak memory of the whole process, Python, torch and data "
        "included, of scores for the mean query, of Q queries scored apart, or of parameters after removals, on made-"
        "up images and a network of one hidden layer. n grows at a fixed number of epochs, and with it what is kept "
        "of the run. Paths that walk the run, solve a system or pass once over the points have problems of their own:"
        " slopes compare, heights do not always. Grey lines have the expected slope, which for memory is flat. Slopes"
        " are least-squares fits of logarithms, R their "
        f"correlation. Machine: {machine.get('cpu') or first['machine']}, {machine.get('num_cpu')} cores, "
        f"{machine.get('os')}; where this was drawn, Python {here['python']}, torch {here['torch']}, NumPy "
        f"{here['numpy']}, samattr {here['samattr']}; commit {first['commit'][:8]} of {first['commit_date']}. Made by "
        f"`{first['command']}`, drawn by `python -m benchmarks.figures`."
    )


def page(machines: list[Machine]) -> str:
    """The tables as Markdown, with the figures and what they show: of the first machine, and all side by side."""
    frame = machines[0].frame
    units = set(frame["unit"])
    text = render(
        "scaling",
        "benchmarks",
        memory=BYTES in units,
        captions=[caption(*machine) for machine in machines],
        growth=_markdown(table(frame)),
        side_by_side=_markdown(side_by_side(machines)) if len(machines) > 1 else None,
        peers=TABLE.read_text().strip() if TABLE.exists() else None,
        precision=_markdown(precision_table(frame)) if ERROR in units else None,
    )
    return text + "\n"


def _markdown(shown: pd.DataFrame) -> str:
    return markdown_table(shown, ["left" if column in ("Method", "In") else "right" for column in shown])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SamattrError as error:
        print(f"benchmarks.figures: {error}", file=sys.stderr)
        sys.exit(1)
