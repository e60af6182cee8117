"""Figures and tables of stored asv results: from made-up rows, from asv's own files, and from none."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from asv.benchmarks import Benchmarks
from asv.config import Config
from asv.results import Results
from matplotlib import pyplot as plt

from baselines.studies.growth import log_slope, paths
from benchmarks import bench_scaling, figures
from reports.style import style_of
from samattr_ref import SamattrError, methods
from samattr_ref.support.registered import is_own

MACHINE = {"machine": "bench", "cpu": "A processor", "num_cpu": "2", "os": "Linux", "python": "3.11"}
SIZES = [1000, 2000, 4000, 8000, 16000]


def row(method, axis, size, value, unit):
    from_where = {"machine": "bench", "commit": "0123456789", "commit_date": "2026-01-02", "command": "asv run"}
    return {"method": method, "axis": axis, "size": size, "value": value, "unit": unit, "calls": 3, **from_where}


@pytest.fixture
def frame():
    rows = []
    for method, power in (("grad-dot", 1), ("sam-unrolled forward", 2)):
        for size in SIZES:
            rows.append(row(method, "n", size, 1e-5 * size**power, figures.SECONDS))
            rows.append(row(method, "n", size, 5e8, figures.BYTES))
        rows += [row(method, "Q", size, 1e-3 * size, figures.SECONDS) for size in (8, 64)]
        rows.append(row(method, "n", 1000, 3e-7, figures.ERROR))
    return pd.DataFrame(rows)


def test_every_method_of_the_project_has_an_expected_cost_and_a_look_of_its_own():
    assert {name for name, method in methods().items() if is_own(method.function.__module__)} < set(paths())
    assert len({figures._style(name).label for name in paths()}) == len(paths())
    assert all(figures._style(name).colour != style_of("unknown").colour for name in paths())


def test_slopes_of_exact_powers():
    sizes = np.array(SIZES)
    for power in (0.0, 0.5, 1.0, 3.0):
        assert log_slope(sizes, 7e-6 * sizes**power) == pytest.approx(power, abs=1e-9)


def test_every_path_is_there_in_every_axis_that_its_cost_grows_in():
    grids = [grid for grid in vars(bench_scaling).values() if hasattr(grid, "time_path") and hasattr(grid, "params")]
    assert set(grids) == set(bench_scaling.GRIDS)
    for axis in figures.AXES:
        there = sorted(path for grid in grids if grid.param_names[0] == axis for path in grid.params[1])
        assert there == sorted(name for name, path in paths().items() if path.growth.exponent(axis) > 0)
    for grid in grids:
        factor = max(grid.params[0]) / min(grid.params[0])
        assert factor >= (16 if grid.param_names[0] == "n" else 7.9)  # P has a part that does not grow with the width


def test_a_panel_an_axis_and_a_line_a_method_over_its_expected_slope(frame):
    figure = figures.draw(frame, figures.SECONDS)
    panels = [axis for axis in figure.axes if axis.axison]
    assert [panel.get_xlabel() for panel in panels] == [figures.AXES["n"], figures.AXES["Q"]]
    drawn = {line.get_label(): line for line in panels[0].lines if not line.get_label().startswith("_")}
    assert set(drawn) == {"Grad-Dot", "SAM unrolled, forward mode"}
    assert list(drawn["Grad-Dot"].get_xdata()) == SIZES
    assert drawn["Grad-Dot"].get_color() == style_of("grad-dot").colour
    guides = [line for line in panels[0].lines if line.get_label().startswith("_")]
    assert guides and all(log_slope(*guide.get_data()) == pytest.approx(1) for guide in guides)
    low, high = panels[0].get_ylim()
    assert low > 1e-3 and high < 1e5
    assert {text.get_text() for text in figure.legends[0].get_texts()} == set(drawn)
    plt.close(figure)


def test_memory_is_drawn_over_flat_lines(frame):
    figure = figures.draw(frame, figures.BYTES)
    guides = [line for line in figure.axes[0].lines if line.get_label().startswith("_")]
    assert guides and all(np.ptp(guide.get_ydata()) == 0 for guide in guides)
    plt.close(figure)


def test_the_table_puts_fitted_beside_expected(frame):
    table = figures.table(frame).set_index(["Method", "In"])
    assert table.loc[("Grad-Dot", "n"), ["Expected", "Slope of time", "R", "Slope of memory"]].tolist() == [
        "1",
        "1.00",
        "1.000",
        "0.00",
    ]
    assert table.loc[("SAM unrolled, forward mode", "n"), "Slope of time"] == "2.00"
    assert table.loc[("Grad-Dot", "Q"), "Peak MiB"] == "–"
    text = figures.page([figures.Machine(frame, MACHINE)])
    assert "A processor, 2 cores" in text and "`asv run`" in text and "3.0e-07" in text
    assert "side by side" not in text


def test_machines_stand_side_by_side_at_the_largest_size_of_both(frame):
    fewer = frame[(frame["size"] < SIZES[-1]) & (frame["axis"] == "n")]
    fast = fewer.assign(value=fewer["value"] / 4, machine="gpu")
    machines = [figures.Machine(frame, MACHINE), figures.Machine(fast, {**MACHINE, "machine": "gpu", "cpu": "Another"})]
    table = figures.side_by_side(machines)
    assert table.to_dict("records") == [
        {"Method": "SAM unrolled, forward mode", "In": "n", "Size": 8000}
        | {"Seconds, bench": "640", "Seconds, gpu": "160", "bench / gpu": "4.00"},
        {"Method": "Grad-Dot", "In": "n", "Size": 8000}
        | {"Seconds, bench": "0.08", "Seconds, gpu": "0.02", "bench / gpu": "4.00"},
    ]
    text = figures.page(machines)
    assert "Another, 2 cores" in text and "side by side" in text and " Seconds, gpu |" in text


def store(folder, commit, date, values, machine="bench"):
    """Results as asv writes them: two sizes, two paths, one of them skipped at the larger size."""
    conf = Config.load(str(folder / "asv.conf.json"))
    conf.results_dir = str(folder / conf.results_dir)
    benchmark = {
        "name": "bench_scaling.Some.time_path",
        "params": [["1000", "2000"], ["'if'", "'grad-dot'"]],
        "param_names": ["n", "path"],
        "unit": "seconds",
        "type": "time",
        "version": "1",
    }
    Benchmarks(conf, [benchmark]).save()
    results = Results(MACHINE | {"machine": machine}, {}, commit, date, "3.11", "existing-py", {})
    outcome = SimpleNamespace(
        result=values,
        samples=[[v] * 3 if v else None for v in values],
        number=[1] * 4,
        stderr="",
        errcode=0,
        profile=None,
    )
    results.add_result(benchmark, outcome, record_samples=False)
    results.save(conf.results_dir)
    described = Path(conf.results_dir) / machine / "machine.json"
    described.write_text(json.dumps({"machine": machine, "version": 1}))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "asv.conf.json").write_text(Path("asv.conf.json").read_text())
    return tmp_path


def test_the_newest_commit_that_has_results_is_read(folder):
    store(folder, "b" * 40, 1_800_000_000_000, [1.0, 2.0, 3.0, None])
    store(folder, "a" * 40, 1_700_000_000_000, [9.0, 9.0, 9.0, 9.0])
    [(frame, machine)] = figures.stored(folder)
    assert machine["cpu"] == "A processor"
    assert list(zip(frame["size"], frame["method"], frame["value"], strict=True)) == [
        (1000, "if", 1.0),
        (1000, "grad-dot", 2.0),
        (2000, "if", 3.0),
    ]
    assert set(frame["calls"]) == {3} and set(frame["commit"]) == {"b" * 40}
    assert set(frame["command"]) == {
        f"OMP_NUM_THREADS=1 {figures.KEPT} asv run -E existing --set-commit-hash bbbbbbbb --bench scaling"
    }


def test_every_machine_keeps_its_newest_results_the_newest_first(folder):
    store(folder, "a" * 40, 1_700_000_000_000, [9.0, 9.0, 9.0, 9.0], "gpu")
    store(folder, "b" * 40, 1_800_000_000_000, [1.0, 2.0, 3.0, None], "gpu")
    store(folder, "c" * 40, 1_900_000_000_000, [4.0, 5.0, 6.0, 7.0])
    machines = figures.stored(folder)
    assert [described["machine"] for _, described in machines] == ["bench", "gpu"]
    assert [set(frame["commit"]) for frame, _ in machines] == [{"c" * 40}, {"b" * 40}]


def test_results_of_other_benchmarks_alone_are_none(folder):
    store(folder, "b" * 40, 1_800_000_000_000, [1.0, 2.0, 3.0, None])
    kept = folder / ".asv/results/benchmarks.json"
    kept.write_text(kept.read_text().replace("bench_scaling", "bench_other"))
    with pytest.raises(SamattrError, match=r"no results of the scaling benchmarks are stored: .*asv run"):
        figures.stored(folder)


@pytest.mark.slow
def test_nothing_stored_is_one_line_and_status_one(folder):
    call = [sys.executable, "-W", "ignore", "-m", "benchmarks.figures"]
    found_here = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(call, cwd=folder, env=found_here, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("benchmarks.figures: no results") and done.stderr.count("\n") == 1
    assert not (folder / figures.OUT).exists()
