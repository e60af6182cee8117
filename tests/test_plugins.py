"""A package elsewhere brings a method, a metric, a variant, a workload and an experiment: all of the house has them.

It is installed as pip does it, by metadata beside its files. Of the project, no file knows of it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PACKAGE = {
    "__init__": "",
    "signs": """
import samattr_ref as sr

@sr.method(
    "grad-signs",
    summary="products of the gradients' signs",
    source="elsewhere",
    label="Grad-Signs",
    family="gradient",
    rank=95,
    linear=False,
    growth=sr.Growth("(n + Q) F", n=1, P=1, Q=1),
    full_size={},
)
def signs(run, queries, *, power: float = 1.0):
    train = run.objective.sample_gradients(run.parameters, run.train.x, run.train.y)
    return train.sign() @ run.query_gradients(queries).sign().T / len(run.parameters)

def flat(run, queries):
    return run.parameters.new_zeros(run.n_train, len(queries))
""",
    "errors": """
import numpy as np
from baselines.comparison import metric

@metric("largest_error", best="lowest", caption="Largest error: over points and queries, in nats.")
def largest_error(c):
    return float(np.abs(c.predicted - c.true).max())
""",
    "half": """
from dataclasses import dataclass
from typing import ClassVar
import samattr_ref as sr

@sr.variant
@dataclass(frozen=True)
class Half(sr.Sam):
    name: ClassVar[str] = "half-sam"
    radius: ClassVar[float] = 2.0

    def perturb(self, omega, g, memory, rho, p, draw):
        return super().perturb(omega, g, memory, rho / 2, p, draw)
""",
    "few": """
import samattr_ref as sr

sr.register_workload(
    sr.Workload(
        "few-digits",
        sr.Digits(n_train=30, n_query=4, n_tuning=3, n_validation=6),
        sr.LogisticRegression(),
        sr.SamRecipe(steps=10, batch_size=10),
        dtype="float64",
    ),
    profiles=["quick"],
)
""",
    "worth": """
import matplotlib.pyplot as plt
import pandas as pd
from baselines.studies.agreement import sweep
from baselines.studies.cases import Case
from baselines.studies.chosen import compared
from reports.curves import describe
from reports.experiment import Experiment, register_experiment
from reports.intervals import brackets, summarise
from reports.labels import labels

def measure(workload):
    return pd.DataFrame(sweep(workload, compared()))

def draw(frame):
    figure, axis = plt.subplots()
    axis.plot(frame["slope"])
    axis.set_xlabel("row")
    return figure

def tabulate(frame):
    means = summarise(frame, ["method"], ["largest_error"])
    return pd.DataFrame({"Method": labels(means), **brackets(means, {"largest_error": "Largest error"})})

EXPERIMENT = register_experiment(
    Experiment(
        name="worth",
        title="What is a method worth?",
        measure=measure,
        cases={"elsewhere": [Case("few-digits")]},
        draw=draw,
        caption=describe,
        tabulate=tabulate,
    )
)
""",
    "broken": "1 / 0",
    "leaving": """
import sys

print("on my way")
sys.exit(3)
""",
}
ENTRY_POINTS = """
[samattr.methods]
mine = elsewhere.signs
random = elsewhere.signs:flat
broken = elsewhere.broken
leaving = elsewhere.leaving
[samattr.metrics]
mine = elsewhere.errors
broken = elsewhere.broken
leaving = elsewhere.leaving
[samattr.variants]
mine = elsewhere.half
broken = elsewhere.broken
leaving = elsewhere.leaving
[samattr.workloads]
mine = elsewhere.few
broken = elsewhere.broken
leaving = elsewhere.leaving
[samattr.experiments]
mine = elsewhere.worth
broken = elsewhere.broken
leaving = elsewhere.leaving
"""
KINDS = ("method", "metric", "variant", "workload", "experiment")

WHERE = """
import json
import samattr_ref as sr
from baselines.studies import every_point, loo_and_lds, over_variants, profiles
from benchmarks import bench_methods, bench_precision, bench_scaling
from reports.experiment import experiments
from reports.labels import label_of
from reports.style import style_of

print(json.dumps({
    "methods": list(sr.methods()),
    "label": label_of("grad-signs"),
    "colour": style_of("grad-signs").colour,
    "asv of methods": bench_methods.Scoring.params,
    "asv of precision": bench_precision.Precision.params,
    "asv of growth": {grid.__name__: grid.params[1] for grid in bench_scaling.GRIDS},
    "asv tracks": [name for name in vars(bench_methods.Fidelity) if name.startswith("track_")],
    "full size": every_point.METHODS,
    "fidelity": [case.arguments["method"] for case in loo_and_lds.CASES["beyond"]],
    "variants": [case.arguments["variant"] for case in over_variants.CASES["beyond"]],
    "quick": profiles.PROFILES["quick"].workloads,
    "experiments": list(experiments()),
}))
"""

PAGE = """
from pathlib import Path
from baselines.studies.profiles import Profile
from reports.job import Job, run
from reports.page import write

job = Job(Profile("elsewhere", ("few-digits",), (0, 1)))
write(job, *run(job, 1, compute=True), Path("out"))
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder with the package, and the environment in which it is installed."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "elsewhere").mkdir()
    for name, text in PACKAGE.items():
        (folder / "elsewhere" / f"{name}.py").write_text(text)
    metadata = folder / "elsewhere-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    path = os.pathsep.join([str(folder), str(ROOT)])
    return folder, {**os.environ, "PYTHONPATH": path, "SAMATTR_STORE": str(folder / "store"), "MPLBACKEND": "agg"}


def python(elsewhere, *words, cwd=None):
    folder, environment = elsewhere
    command = [sys.executable, "-W", "ignore", *words]
    done = subprocess.run(command, cwd=cwd or folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def found(elsewhere):
    done = python(elsewhere, "-c", WHERE)
    return json.loads(done.stdout), done.stderr.splitlines()


@pytest.mark.slow
def test_the_method_is_in_lists_figures_benchmarks_and_studies(found):
    where, _ = found
    order = where["methods"]
    assert order.index("tracin-cp") < order.index("grad-signs") < order.index("grad-dot")  # by its rank
    assert where["label"] == "Grad-Signs" and where["colour"] != "0.35"
    assert "grad-signs" in where["asv of methods"][1] and "grad-signs" in where["asv of precision"][1]
    growing = {grid for grid, names in where["asv of growth"].items() if "grad-signs" in names}
    assert growing == {"PointsOfPasses", "ParametersOfPasses", "Queries"}
    assert where["full size"]["grad-signs"] == {}
    assert "grad-signs" in where["fidelity"]


def test_the_others_are_where_theirs_belong(found):
    where, _ = found
    assert "track_largest_error" in where["asv tracks"]
    assert "half-sam" in where["variants"]
    assert where["quick"][-1] == "few-digits" and "few-digits" in where["asv of methods"][0]
    assert where["experiments"][-1] == "worth"


def test_what_does_not_load_or_takes_a_name_is_one_line_each(found):
    where, said = found
    assert len(where["methods"]) == len(set(where["methods"]))
    left_out = [
        f"{kind} 'broken' (elsewhere.broken) is left out: it does not load: ZeroDivisionError" for kind in KINDS
    ]
    left_out += [f"{kind} 'leaving' (elsewhere.leaving) is left out: it does not load: SystemExit: 3" for kind in KINDS]
    left_out += ["method 'random' of elsewhere.signs is left out: baselines.methods.random_scores has one of that name"]
    printed = [line for line in said if line == "on my way"]  # and not to where results are read
    assert len(said) == len(left_out) + len(printed) and len(printed) == len(KINDS)
    for start in left_out:
        assert len([line for line in said if line.startswith(start)]) == 1, start


@pytest.mark.slow
def test_all_of_them_are_in_tables_and_pages(elsewhere):
    python(elsewhere, "-c", PAGE)
    out = elsewhere[0] / "out"
    heading, *rows = [line for line in (out / "table.md").read_text().splitlines() if line.startswith("|")]
    assert "Largest error" in heading
    assert any(row.startswith("| Grad-Signs ") for row in rows)
    page = (out / "report.md").read_text()
    assert "**few-digits**" in page and "few-digits: 30 of n = 30" in page
    assert "Largest error: over points and queries, in nats." in page
    assert "## What is a method worth?" in page
    assert any(line.startswith("| Grad-Signs ") for line in (out / "worth.md").read_text().splitlines())


@pytest.mark.slow
def test_generic_tests_run_on_them(elsewhere):
    files = ["samattr_ref/test_invariance.py", "samattr_ref/sam/test_variants.py", "reports/test_experiments.py"]
    words = ["-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *(f"tests/{file}" for file in files)]
    tests = python(elsewhere, *words, cwd=ROOT).stdout
    for name in (
        "test_order_of_training_points[logreg-grad-signs]",
        "test_the_mean_query_is_the_mean_of_the_queries[cnn-grad-signs]",
        "test_every_method_scores_every_variant[half-sam]",
        "test_every_experiment_is_measured_drawn_and_described[worth]",
    ):
        assert name in tests
