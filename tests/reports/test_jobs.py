"""A job that differs from its profile has a folder and a page of its own; the profile's files stay as they are."""

import hashlib
import json
from dataclasses import replace

import pytest

import samattr_ref as sr
from baselines.studies import profiles
from baselines.studies.profiles import PROFILES, Profile
from reports.committed import read_page, redraw
from reports.experiment import get_experiment
from reports.html.document import write_html
from reports.job import DIGITS, LONGEST, Job, folder
from tests.test_readme import ROOT

QUICK = PROFILES["quick"]


def name_of(tmp_path, workload=None, settings=None, seeds=QUICK.seeds):
    return folder(Job(replace(QUICK, seeds=seeds), (), workload, settings or {}), tmp_path).name


def test_folders_say_how_a_job_differs(tmp_path):
    assert name_of(tmp_path) == "quick"
    assert name_of(tmp_path, "digits-mlp") == "quick+digits-mlp"
    settings = {"rho": 0.2, "n_train": 100, "activation": "relu"}
    assert name_of(tmp_path, settings=settings) == "quick+activation=relu+n_train=100+rho=0.2"
    assert name_of(tmp_path, settings=dict(reversed(settings.items()))) == name_of(tmp_path, settings=settings)
    settings = {"rho": 0.2, "hidden": (8, 16)}
    assert name_of(tmp_path, "digits-mlp", settings, (1, 2)) == "quick+digits-mlp+hidden=[8,16]+rho=0.2+seeds=1,2"
    assert folder(Job(QUICK, ("table",), "digits-mlp"), tmp_path) == folder(Job(QUICK, (), "digits-mlp"), tmp_path)


def test_a_case_may_have_seeds_of_its_own_unless_others_or_another_workload_are_asked_for():
    real, experiment = PROFILES["real"], get_experiment("top-removal")

    def cells(**asked):
        return [(cell.case.workload, cell.seed) for cell in Job(real, ("top-removal",), **asked).cells(experiment)]

    assert real.seeds == (0,)
    assert cells() == [("mnist-mlp-full", seed) for seed in (0, 1, 2)]
    assert cells(workload="digits-mlp") == [("digits-mlp", 0)]
    other = Job(replace(real, seeds=(4, 5)), ("top-removal",)).cells(experiment)
    assert [cell.seed for cell in other] == [4, 5]
    assert other[0] == Job(replace(real, seeds=(4,)), ("top-removal",)).cells(experiment)[0]


HOSTILE = [
    "../../etc/passwd",
    "/absolute/own.py:mine",
    "/elsewhere/own.py:mine",
    "package.module:mine",
    "package.module-mine",
    "..",
    "a\nb\tc\0d",
    "con:*?<>|\"'`$(rm -rf)",
    "x" * 1000,
    "x" * 999,
    "ö" * 100,
    "🙂" * 100,
    "a+b",
    "a",
]


def test_hostile_values_make_safe_names_that_do_not_collide(tmp_path):
    jobs = [{"workload": value} for value in HOSTILE] + [{"settings": {"data": value}} for value in HOSTILE]
    jobs += [{"settings": {"rho": value}} for value in (0.2, "0.2", 1e30, None, "null", True, (8, 16), (8, 1, 6))]
    jobs += [{"settings": {"a": "b+c=d"}}, {"settings": {"a": "b", "c": "d"}}]
    names = [name_of(tmp_path, **job) for job in jobs]
    assert len(set(names)) == len(names)
    for name in names:
        path = tmp_path / name
        path.mkdir()
        assert path.resolve().parent == tmp_path.resolve()
        assert len(name.encode()) <= LONGEST
    plain = names[HOSTILE.index("a")]
    assert plain == "quick+a"
    assert name_of(tmp_path, "/absolute/own.py:mine")[: -DIGITS - 1] == "quick+own.py-mine"


WORKLOADS = """
import samattr_ref as sr

def made(name, model):
    data = sr.Digits(n_train=30, n_query=4, n_tuning=3, n_validation=5)
    return sr.Workload(name, data, model, sr.SamRecipe(steps=10), dtype="float64")

tiny, other = made("tiny", sr.LogisticRegression()), made("other", sr.MLP((4,)))
"""


def digests(path):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in path.rglob("*") if file.is_file()}


@pytest.mark.slow
def test_varied_jobs_leave_the_profile_and_each_other_alone(tmp_path, monkeypatch, samattr, fresh_store):
    path = tmp_path / "own.py"
    path.write_text(WORKLOADS)
    monkeypatch.setitem(profiles.PROFILES, "quick", Profile("quick", (f"{path}:tiny",), (0, 1)))
    few = {name: method for name, method in sr.methods().items() if name in ("grad-dot", "loss")}
    monkeypatch.setattr(profiles, "methods", lambda: few)
    monkeypatch.setattr(
        "reports.html.document.write_html", lambda folder: folder / "report.html"
    )  # made once, at the end
    out = tmp_path / "out"

    def run(command, *words):
        status, printed, said = samattr(command, "table", "--out", str(out), "--json", *words)
        assert status == 0, said
        return json.loads(printed)["path"]

    assert run("reproduce", "--quiet") == str(out / "quick" / "report.html")
    before = digests(out / "quick")
    varied = [["--set", "rho=0.1"], ["--seeds", "1"], ["--workload", f"{path}:other", "--set", "steps=5"]]
    pages = {}
    for words in varied:
        report = run("reproduce", "--quiet", *words)
        assert report.endswith("report.html")
        pages[report] = digests(out / report.split("/")[-2])
    assert digests(out / "quick") == before
    folders = [each.split("/")[-2] for each in pages]
    assert folders[:2] == ["quick+rho=0.1", "quick+seeds=1"]
    assert folders[2].startswith("quick+own.py-other+steps=5+")
    heading = (out / folders[2] / "report.md").read_text().splitlines()[0]
    assert heading == f"# samattr, profile quick, but with {path}:other, steps=5"

    # the same flags draw the same folder again, and its own files are enough to
    for words, (report, files) in zip(varied, pages.items(), strict=True):
        assert run("report", "--html", *words) == report
        assert digests(out / report.split("/")[-2]) == files
    kept = out / folders[0]
    redraw(kept, tmp_path / "again" / kept.name)
    assert digests(tmp_path / "again" / kept.name) == pages[str(kept / "report.html")]
    assert "<title>samattr: quick, but with rho=0.1</title>" in write_html(kept).read_text()
    assert read_page(kept).job.command() == "samattr reproduce --profile quick --set rho=0.1"


def test_pages_of_before_are_those_of_their_profiles():
    assert read_page(ROOT / "reports" / "reference" / "quick").job == Job(QUICK)
    with pytest.raises(sr.SamattrError, match="unknown profile 'nothing'"):
        Job(profiles.get_profile("nothing"))
