"""Every experiment on a small case: measured, found again, drawn, tabulated, described; and how cells are kept."""

import functools
import inspect
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import samattr_ref as sr
from baselines.studies.cases import Case
from baselines.studies.cells import make
from baselines.studies.profiles import PROFILES, Profile
from reports.experiment import experiments, gather, get_experiment
from reports.intervals import TIMES
from reports.job import Job, run, seeds_of
from reports.page import write
from tests.code_seen import executed, held
from tests.conftest import needs_data

TINY = {"n_train": 40, "n_query": 5, "n_tuning": 4, "n_validation": 30, "steps": 20, "batch_size": 20}
WORKLOADS = """
import samattr_ref as sr

tiny = sr.Workload(
    "tiny",
    sr.Digits(n_train=40, n_query=5, n_tuning=4, n_validation=30),
    sr.LogisticRegression(),
    sr.SamRecipe(steps=20, batch_size=20),
    dtype="float64",
)
tinymlp = sr.Workload(
    "tinymlp",
    sr.Digits(n_train=40, n_query=5, n_tuning=4, n_validation=30),
    sr.MLP((4,)),
    sr.SamRecipe(steps=20, batch_size=20),
    dtype="float64",
)
"""
ARGUMENTS = {
    "attributable": [{"axis": "steps", "value": v, "activation": a} for v in (10, 20) for a in ("tanh", "relu")],
    "batch-perturbation": [{"rho": r} for r in (0.05, 0.2)],
    "checkpoints": [{"checkpoints": c} for c in (2, 3, 5, 10, None)],
    "complexity": [{"axis": "C", "size": c, "methods": ["tracin-cp"]} for c in (2, 4, 8)],
    "cost": [{"options": {}}],
    "damping": [{"damping": d} for d in (0.0, 0.1)],
    "editing": [{"fractions": (0.1, 0.3), "parts": 2}],
    "expected-effect": [{"runs": 3, "methods": ("sam-unrolled", "loss"), "truths": True}],
    "fidelity": [{"method": name, "fractions": (0.1,), "subsets": 4} for name in ("sam-unrolled", "sam-gif", "random")],
    "fixed-point": [{"steps": s} for s in (10, 20)],
    "full-size": [{"methods": {"sam-gif": {"checkpoints": 5}, "sam-hif": {}, "random": {}}}],
    "harmful": [{"methods": ("loo", "sam-if")}],
    "larger-removals": [{"fraction": f} for f in (0.1, 0.5)],
    "networks": [{"runs": 2}],
    "neumann": [{"order": j} for j in (1, 30)],
    "noise-floor": [{"runs": 3}],
    "noise-rates": [{"rate": r} for r in (0.1, 0.3)],
    "omitted-term": [{"checkpoints": 4, "lengths": (1, 2, 5)}],
    "one-epoch": [{"network": n} for n in ("SAM, ReLU", "SGD, GELU")],
    "gallery": [{"methods": ("loo", "sam-unrolled", "random")}],
    "open-benchmark": [{"methods": ("sam-unrolled", "random"), "fractions": (0.1, 0.5), "subsets": 4}],
    "p-norm": [{"p": p} for p in (2.0, float("inf"))],
    "real-noise": [{"labels": name} for name in ("aggregate", "worse")],
    "recipes": [{"recipe": r, "settings": s} for r, s in (("as registered", {}), ("plain SGD", {"rho": 0.0}))],
    "retraining": [{"count": 4}],
    "rho": [{"rho": r} for r in (0.0, 0.5)],
    "sam-against-sgd": [{"optimiser": o} for o in ("SAM", "SGD")],
    "segments": [{"checkpoints": c} for c in (2, 5)],
    "sensitivity": [{"rho": r} for r in (0.0, 0.5)],
    "shift": [{"shifts": ("noise", "negative")}],
    "signs": [{"p": p, "rho": r, "length": 1.0} for p in (2.0, float("inf")) for r in (0.5, 1.0)],
    "variants": [{"variant": v} for v in ("sam", "friendly-sam")],
    "truncation": [{"share": s} for s in (0.2, 1.0)],
}
CURVES = (
    "batch-perturbation",
    "checkpoints",
    "damping",
    "fixed-point",
    "neumann",
    "noise-rates",
    "p-norm",
    "rho",
    "segments",
    "truncation",
)

AT_ONE_VALUE = [("noise-rates", "mnist-mlp-full")]
"""Where a study is made at a single value on purpose."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "tinyworkloads.py"
    path.write_text(WORKLOADS)
    return f"{path}:tiny"


QUICK = ("segments", "omitted-term")
"""The experiments that are not slow: they stand for the others."""


def named(name):
    """An experiment's name as a parameter, marked where it is slow or needs data that only a download could bring."""
    marks = [] if name in QUICK else [pytest.mark.slow]
    return pytest.param(name, marks=[*marks, needs_data("cifar10n.csv")] if name == "real-noise" else marks)


def cells_of(name, tiny):
    if name == "real-noise":
        cases = [Case("cifar10n-cnn", TINY | {"channels": (8, 16)}, arguments) for arguments in ARGUMENTS[name]]
    else:
        workload = f"{tiny}mlp" if name in ("attributable", "one-epoch") else tiny
        cases = [Case(workload, {}, arguments) for arguments in ARGUMENTS.get(name, [{}])]
    return get_experiment(name).cells(cases, (0, 1))


@pytest.fixture(scope="module", params=[named(name) for name in experiments()])
def made(request, tiny):
    """An experiment's cells, measured, and the modules of the project that this went through."""
    seen = set()

    def watched(measure):
        @functools.wraps(measure)
        def call(*arguments, **options):
            with executed() as ran:
                frame = measure(*arguments, **options)
            seen.update(ran)
            return frame

        return call

    cells = [replace(cell, measure=watched(cell.measure)) for cell in cells_of(request.param, tiny)]
    reasons = make(cells, jobs=1)
    assert not reasons
    return cells, seen


@pytest.fixture(scope="module")
def measured(made):
    cells, _ = made
    return gather(cells[0].name, cells, "samattr reproduce")


def test_every_experiment_is_measured_drawn_and_described(measured):
    frame, chosen = measured.frame, measured.experiment
    assert not measured.failures
    assert list(frame.columns[:3]) == ["workload", "seed", "n_train"]
    assert set(frame["seed"]) == set((0, 1)[: chosen.seeds])
    assert {"load", "disturbed"} <= set(frame) or not set(TIMES) & set(frame)
    assert ("machine" in frame) == chosen.timed
    figure = chosen.draw(frame)
    assert figure.get_size_inches()[0] <= 7.2
    shown = [axis for axis in figure.axes if axis.axison]
    assert any(axis.lines or axis.images or axis.containers or axis.collections for axis in shown)
    assert figure.get_supxlabel() or any(axis.get_xlabel() or axis.images for axis in shown)
    plt.close(figure)
    table = chosen.tabulate(frame)
    assert len(table)
    assert not table.astype(str).isin(["nan", "None"]).any().any()
    text = chosen.caption(frame)
    assert ("2 seeds" if chosen.seeds is None else "1 seed") in text
    assert "n = 40" in text
    if chosen.answer:
        sentence = chosen.answer(frame)
        assert sentence.endswith(".")
        assert "nan" not in sentence.lower().replace("nano", "")


def test_all_code_that_an_experiment_runs_is_in_the_keys_of_its_cells(made, monkeypatch):
    cells, seen = made
    assert seen <= held(lambda: [cell.path(cell.workload()) for cell in cells], monkeypatch)


@pytest.mark.slow
def test_cells_are_found_again_and_only_the_missing_are_measured(tiny, monkeypatch):
    cells = cells_of("damping", tiny)
    make(cells, jobs=1)
    before = gather("damping", cells, "x").frame

    def never(*_arguments, **_options):
        raise AssertionError("measured again")

    monkeypatch.setattr("baselines.studies.over_damping.sweep", never)
    assert make(cells, jobs=1) == {}
    pd.testing.assert_frame_equal(gather("damping", cells, "x").frame, before)
    other = [replace(cell, case=replace(cell.case, arguments={"damping": 0.7})) for cell in cells]
    with pytest.raises(AssertionError, match="measured again"):
        make(other, jobs=1)


@pytest.mark.slow
def test_processes_give_the_same_rows(tiny, fresh_store):
    cells = cells_of("damping", tiny)
    assert make(cells, jobs=2) == {}
    several = gather("damping", cells, "x").frame
    for file in fresh_store.glob("cells/*/cell.json"):
        file.unlink()
    make(cells, jobs=1)
    pd.testing.assert_frame_equal(gather("damping", cells, "x").frame, several, rtol=1e-8)


def test_a_failing_cell_is_one_line_and_stops_nothing(tiny):
    good, bad = get_experiment("checkpoints").cells([Case(tiny, {}, {"checkpoints": c}) for c in (2, 500)], (0,))
    reasons = make([bad, good], jobs=1)
    found = gather("checkpoints", [bad, good], "x", reasons)
    assert len(found.failures) == 1
    assert "checkpoints must be a whole number from 1 to the number of steps, 20, not 500" in found.failures[0]
    assert set(found.frame["checkpoints"]) == {2}


def test_what_nobody_has_measured_is_one_line_a_workload_and_seed(tiny, fresh_store):
    cells = cells_of("checkpoints", tiny)
    each = len(cells) // 2
    alone = [cell for cell in cells if cell.seed == 1][:1]
    found = gather("checkpoints", [*(cell for cell in cells if cell.seed == 0), *alone], "x", {cells[0]: "it broke"})
    assert found.failures == [
        f"{cells[0]}: it broke",
        f"checkpoints on {tiny}, seed 0, {each - 1} cells: not measured yet",
        f"{alone[0]}: not measured yet",
    ]


def test_every_case_of_every_profile_is_a_workload():
    for chosen in experiments().values():
        assert set(chosen.cases) <= set(PROFILES)
        for cell in (c for cases in chosen.cases.values() for c in chosen.cells(cases, [0])):
            assert cell.workload().name == cell.case.workload
            inspect.signature(chosen.measure).bind(None, **cell.case.arguments)


@pytest.mark.parametrize("name", CURVES)
def test_every_ablation_has_five_points_and_the_reference(name):
    for cases in get_experiment(name).cases.values():
        for workload in {case.workload for case in cases}:
            varied = {str(case.arguments) for case in cases if case.workload == workload}
            assert len(varied) >= 5 or (name, workload) in AT_ONE_VALUE


def test_profiles_name_workloads_that_there_are():
    for profile in PROFILES.values():
        assert set(profile.workloads) <= set(sr.workloads())
    for chosen in experiments().values():
        assert set(chosen.cases) <= set(PROFILES)
        for cases in chosen.cases.values():
            for case in cases:
                sr.load_workload(case.workload).override(**case.settings)


def test_a_job_takes_another_workload_settings_and_seeds(tiny):
    job = Job(Profile("desk", (), (4,)), ("damping",), tiny, {"n_train": 30})
    cells = job.cells(get_experiment("damping"))
    assert len(cells) == 8  # the two workloads of the profile become one
    assert {cell.seed for cell in cells} == {4}
    assert cells[0].workload().data.n_train == 30
    command = job.command("damping")
    assert command.startswith("samattr reproduce damping --profile desk --workload")
    assert command.endswith("--set n_train=30 --seeds 4")
    with pytest.raises(sr.SamattrError, match="does not have 'damping': use --profile desk"):
        Job(Profile("quick", (), (0,)), ("damping",)).cells(get_experiment("damping"))
    with pytest.raises(sr.SamattrError, match="did you mean 'damping'"):
        Job(PROFILES["desk"], ("dampin",))
    with pytest.raises(sr.SamattrError, match="whole numbers"):
        seeds_of("0,x", (0,))


@pytest.mark.slow
def test_a_job_is_made_drawn_and_written(tiny, tmp_path):
    job = Job(Profile("desk", (), (0, 1)), ("sam-against-sgd",), tiny)
    results, measured = run(job, 1, compute=True)
    assert results is None
    text = write(job, results, measured, tmp_path)
    assert "SAM-GIF" in text
    files = {f"sam-against-sgd.{ending}" for ending in ("png", "pdf", "csv", "md")}
    files |= {"claims.csv", "claims.md", "report.md", "sections.json", "provenance.json"}
    assert {path.name for path in tmp_path.iterdir()} == files
    _, found = run(job, None, compute=False)
    pd.testing.assert_frame_equal(found[0].frame, measured[0].frame)
    nothing = replace(job, profile=Profile("desk", (), (7,)))
    with pytest.raises(sr.SamattrError, match=r"nothing was measured.*not measured yet"):
        write(nothing, *run(nothing, None, compute=False), tmp_path)
