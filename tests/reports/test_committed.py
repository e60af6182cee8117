"""A kept page is drawn again from its own rows, on a machine that has nothing else."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from reports.cli import app
from reports.committed import redraw
from samattr_ref.support.errors import SamattrError
from tests.test_readme import ROOT

PAGE = ROOT / "reports" / "reference" / "beyond"


def cells(path):
    return [[cell.strip() for cell in line.split("|")] for line in path.read_text().splitlines() if "---" not in line]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "page"), [("cost", PAGE), ("retraining", PAGE), ("harmful", PAGE.parent / "desk")])
def test_an_experiment_drawn_again_has_its_rows_and_numbers(name, page, tmp_path, fresh_store):
    assert redraw(page, tmp_path, [name]) == [name]
    assert (tmp_path / f"{name}.csv").read_text() == (page / f"{name}.csv").read_text()
    assert cells(tmp_path / f"{name}.md") == cells(page / f"{name}.md")
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    for other in ("sections.json", "provenance.json"):
        before, after = (json.loads((folder / other).read_text()) for folder in (page, tmp_path))
        assert set(after) == set(before)
    assert after["experiments"] == before["experiments"]
    assert after["command"] == before["command"]
    assert not fresh_store.exists()


@pytest.mark.slow
def test_a_page_of_validations_has_its_figures_drawn_again(tmp_path):
    kept = PAGE.parent / "quick"
    drawn = redraw(kept, tmp_path / "quick")
    figures = ["noise", "scatter-digits-logreg", "scatter-digits-mlp", "table"]
    assert drawn == [*figures, "along-the-run", "gallery"]
    assert (tmp_path / "quick" / "report.md").read_text() == (kept / "report.md").read_text()
    for name in ("noise.csv", "table.csv", "table.md", "table.tex", "sections.json"):
        assert (tmp_path / "quick" / name).read_text() == (kept / name).read_text()


def test_a_damaged_table_is_one_line(tmp_path):
    kept = shutil.copytree(PAGE.parent / "quick", tmp_path / "quick")
    (kept / "results.parquet").write_bytes(b"PAR1")
    with pytest.raises(SamattrError, match=r"results.parquet cannot be read .* fetch the page again") as raised:
        redraw(kept, tmp_path / "out")
    assert "\n" not in str(raised.value)


def test_a_page_without_kept_sections_keeps_its_text(tmp_path):
    kept = shutil.copytree(PAGE.parent / "large", tmp_path / "large")
    (kept / "sections.json").unlink()
    assert redraw(kept, tmp_path / "out") == ["full-size"]
    assert (tmp_path / "out" / "report.md").read_text() == (kept / "report.md").read_text()


def test_the_program_draws_it(tmp_path):
    asked = ["report", "retraining", "--from", str(PAGE), "--out", str(tmp_path), "--json"]
    found = json.loads(CliRunner().invoke(app, asked).stdout)
    assert found == {"path": str(tmp_path / "beyond"), "drawn": ["retraining"]}
    with pytest.raises(SamattrError, match="leave out --workload, --set and --seeds"):
        CliRunner().invoke(app, [*asked, "--seeds", "0"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("damage", "names", "said"),
    [
        (lambda kept: (kept / "provenance.json").unlink(), (), "holds no page .* give a folder with provenance.json"),
        (lambda kept: (kept / "provenance.json").write_text("{"), (), "holds no page"),
        (lambda kept: (kept / "cost.csv").unlink(), ("cost",), "cost.csv cannot be read .* fetch the page again"),
        (lambda kept: None, ("damping",), "unknown experiment of .*beyond 'damping'"),
        (lambda kept: kept.rename(kept.parent / "own"), (), "holds no page"),
    ],
)
def test_what_is_no_page_is_one_line(damage, names, said, tmp_path):
    kept = shutil.copytree(PAGE, tmp_path / "beyond")
    damage(kept)
    with pytest.raises(SamattrError, match=said) as raised:
        redraw(kept, tmp_path / "out", names)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()
