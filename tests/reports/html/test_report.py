"""The report in a real browser: numbers are those of the files, choices work, nothing is fetched, all can use it."""

import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from baselines.leaderboard.entry import ROWS
from baselines.leaderboard.ranking import ranking
from baselines.leaderboard.row import read_rows
from baselines.metrics import mean_interval
from reports.html import boards, explore, sections
from reports.html.document import as_json, write_html
from tests.browser import browser, from_the_network, watched

REFERENCE = Path(__file__).parents[3] / "reports" / "reference"
HOSTILE = "<script>window.harmed = true</script>\"'&\u202eright to left\u2028" + "x" * 10_000

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The committed pages as reports, by profile, made when they are asked for."""
    made = {}

    def report(profile):
        if profile not in made:
            folder = tmp_path_factory.mktemp("reports") / profile
            shutil.copytree(REFERENCE / profile, folder)
            made[profile] = write_html(folder)
        return made[profile]

    return report


@pytest.fixture(scope="module")
def opened():
    with browser() as found:
        yield found


@pytest.fixture
def page(opened):
    found = watched(opened, viewport={"width": 1280, "height": 900})
    yield found
    assert found.wrong == []
    assert from_the_network(found) == []
    found.close()


def rows_of(page, selector):
    """The cells of a table's body."""
    return page.locator(f"{selector} tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )


def numbers(text):
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text)]


def test_leaderboards_are_those_of_the_parquet_file(reports, page):
    path = reports("quick")
    values = pd.read_parquet(path.parent / "results.parquet")
    page.goto(path.as_uri())
    for workload in values["workload"].unique():
        page.select_option("#board-workload", workload)
        page.select_option("#board-metric", "Spearman")
        shown = {row[0]: numbers(row[1]) for row in rows_of(page, "#board-table")}
        own = values[(values["workload"] == workload) & (values["metric"] == "spearman_per_query")]
        assert len(shown) == own["method"].nunique()
        for method, part in own.groupby("method"):
            found = shown[boards.label_of(method)]
            assert found == pytest.approx(mean_interval(part["value"].to_numpy(), (-1, 1)), abs=6e-4)
    assert page.locator("#board-chart svg").count() == 1


def test_tables_are_sorted_and_filtered(reports, page):
    page.goto(reports("quick").as_uri())
    page.select_option("#board-metric", "Spearman")
    heading = page.locator("#board-table th", has_text="Spearman")
    for direction, order in (("ascending", 1), ("descending", -1)):
        heading.locator("button").press("Enter")
        assert heading.get_attribute("aria-sort") == direction
        means = [numbers(row[1])[0] for row in rows_of(page, "#board-table")]
        assert means == sorted(means, key=lambda mean: order * mean)
    page.fill("#board-filter", "tracin")
    assert {row[0] for row in rows_of(page, "#board-table")} == {"TracIn", "TracIn-CP"}


def test_the_shipped_leaderboard_is_that_of_the_rows(reports, page):
    page.goto(reports("quick").as_uri())
    rows = read_rows(ROWS)
    for workload in dict.fromkeys(row.workload for row in rows):
        page.select_option("#shipped-workload", workload)
        frame = ranking([row for row in rows if row.workload == workload])
        shown = rows_of(page, "#shipped-table")
        assert [int(row[0]) for row in shown] == frame["rank"].tolist()
        assert [numbers(row[2])[0] for row in shown] == pytest.approx(frame["spearman"].tolist(), abs=6e-4)
    page.fill("#shipped-filter", "captum")
    assert all("captum" in row[1] for row in rows_of(page, "#shipped-table"))
    assert page.locator("#pareto-chart svg").count() == 1


def test_claims_have_a_word_a_colour_and_their_numbers(reports, page):
    path = reports("desk")
    page.goto(path.as_uri())
    kept = pd.read_csv(path.parent / "claims.csv", keep_default_na=False)
    assert page.locator("#claims article").count() == len(kept)
    for claim in kept.to_dict("records"):
        article = page.locator("#claims article", has=page.get_by_role("heading", name=claim["Claim"], exact=True))
        assert claim["Verdict"] in article.inner_text()
        known = numbers(re.sub(r"[a-z]+\d+[a-z-]+", "", claim["Ours"]))
        for cell in article.locator("tbody td").all_inner_texts():
            if re.match(r"-?\d+\.\d+ \[", cell):
                assert set(numbers(cell)) <= set(known)
    words = page.locator("#claims tbody .verdict")
    assert set(words.all_inner_texts()) <= set(sections.MARKS)
    for mark in words.all()[:5]:
        assert mark.evaluate("mark => getComputedStyle(mark).backgroundColor") != "rgba(0, 0, 0, 0)"
    link = page.locator("#claims a").first.get_attribute("href")
    assert page.locator(link).count() == 1


def test_every_figure_has_its_data_and_command(reports, page):
    path = reports("desk")
    page.goto(path.as_uri())
    experiments = json.loads((path.parent / "provenance.json").read_text())["experiments"]
    for name, part in experiments.items():
        figure = page.locator(f"#figure-{name}")
        assert part["command"] in figure.inner_text()
        assert figure.locator("img").evaluate("image => (image.loading = 'eager', image.decode()).then(() => true)")
        data = figure.locator("a[download]").get_attribute("href")
        assert data.startswith("data:text/csv;base64,")


def test_the_gallery_shows_what_was_chosen(reports, page):
    path = reports("quick")
    frame = pd.read_csv(path.parent / "gallery.csv")
    page.goto(path.as_uri())
    for workload, method, q, sign in (("digits-mlp", "sam-gif", 5, 1), ("digits-logreg", "sam-unrolled", 2, -1)):
        page.select_option("#gallery-workload", workload)
        page.select_option("#gallery-method", method)
        page.select_option("#gallery-query", str(q))
        page.select_option("#gallery-sign", str(sign))
        own = frame[(frame["workload"] == workload) & (frame["part"] == "pair") & (frame["query"] == q)]
        own = own[(own["method"] == method) & (own["rank"] * sign > 0)].sort_values("rank", key=abs)
        box = page.locator("#gallery-shown .cards").nth(1)  # after the query's own
        shown = box.locator(".card")
        assert shown.count() == len(own) > 3
        for card, row in zip(shown.all(), own.to_dict("records"), strict=True):
            text = card.inner_text()
            assert text.startswith(f"point {row['point']:.0f}:")
            predicted, exact = re.search(r"predicted (\S+)\nexact (\S+)", re.sub(r"\n+", "\n", text)).groups()
            assert float(predicted) == pytest.approx(row["score"], rel=6e-3)
            assert float(exact) == pytest.approx(row["exact"], rel=6e-3)
            assert card.locator("img").evaluate("image => image.naturalWidth") == 8
        points = frame[(frame["workload"] == workload) & (frame["part"] == "point")].set_index("index")
        wrong = points.loc[own["point"], "wrong"].astype(bool).sum()
        assert box.locator(".mark").count() == wrong


def test_effects_are_linked_to_pictures(reports, page):
    page.goto(reports("quick").as_uri())
    mark = page.locator("#effects-chart path[role='graphics-symbol'], #effects-chart .mark-symbol path").first
    mark.scroll_into_view_if_needed()
    mark.hover(force=True)
    card = page.locator("#effects-point .card")
    card.wait_for(timeout=5000)
    assert "predicted" in card.inner_text()


def test_runs_and_suspects_are_shown(reports, page):
    path = reports("quick")
    page.goto(path.as_uri())
    page.select_option("#run-workload", "digits-mlp")
    for name in ("loss", "accuracy", "grad_norm", "rho_over_grad_norm", "adjoint", "influence"):
        page.locator(f"#run-{name} svg").wait_for()
    frame = pd.read_csv(path.parent / "gallery.csv")
    page.select_option("#gallery-method", "sam-unrolled")
    own = frame[(frame["workload"] == page.input_value("#gallery-workload")) & (frame["part"] == "suspect")]
    own = own[own["method"] == "sam-unrolled"].sort_values("rank")
    shown = page.locator("#suspects-shown .card")
    assert shown.count() == len(own) > 10
    assert shown.first.inner_text().startswith(f"point {own['point'].iloc[0]:.0f}:")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("profile", ["quick", "desk"])
def test_everyone_can_use_it(reports, opened, profile, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = watched(opened, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(reports(profile).as_uri())
    page.locator("#pareto-chart svg").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    found = axe.Axe().run(page).response["violations"]
    page.close()
    serious = [
        (each["id"], [node["target"] for node in each["nodes"]][:3])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.fixture
def copied(tmp_path):
    folder = tmp_path / "quick"
    shutil.copytree(REFERENCE / "quick", folder)
    return folder


def test_hostile_text_is_shown_as_text(copied, page):
    origin = json.loads((copied / "provenance.json").read_text())
    origin["command"] = HOSTILE
    origin["failures"] = [HOSTILE]
    (copied / "provenance.json").write_text(json.dumps(origin))
    values = pd.read_parquet(copied / "results.parquet")
    values["workload"] = values["workload"].replace("digits-mlp", HOSTILE)
    values["method"] = values["method"].replace("tracin", HOSTILE)
    values.to_parquet(copied / "results.parquet")
    for name, column in (("gallery.csv", "workload"), ("along-the-run.csv", "workload"), ("table.csv", "workload")):
        frame = pd.read_csv(copied / name)
        frame[column] = frame[column].replace("digits-mlp", HOSTILE)
        if name == "gallery.csv":
            frame["text"] = HOSTILE
            frame["image"] = None
        frame.to_csv(copied / name, index=False)
    page.goto(write_html(copied).as_uri())
    assert page.evaluate("window.harmed") is None
    assert HOSTILE[:30] in page.locator("#overview code").inner_text()
    page.select_option("#board-workload", HOSTILE)
    assert any(row[0] == HOSTILE for row in rows_of(page, "#board-table"))
    page.select_option("#gallery-workload", HOSTILE)
    assert page.locator("#gallery-shown .words").first.text_content() == HOSTILE
    page.select_option("#run-workload", HOSTILE)
    page.locator("#run-influence svg").wait_for()
    assert page.evaluate("window.harmed") is None
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_what_is_marked_has_its_footnote(copied, page):
    values = pd.read_parquet(copied / "results.parquet")
    values["marks"] = ["it stopped early" if name == "tracin" else "" for name in values["method"]]
    values.to_parquet(copied / "results.parquet")
    page.goto(write_html(copied).as_uri())
    labels = [row[0] for row in rows_of(page, "#board-table")]
    assert [label for label in labels if "†" in label] == ["TracIn †"]
    assert page.locator("#board-table .note").all_text_contents() == [
        "TracIn †: it stopped early (3 of 3 seeds are marked)."
    ]
    page.fill("#board-filter", "random")
    assert page.locator("#board-table .note").count() == 0


def test_json_cannot_end_its_element():
    text = as_json({"a": HOSTILE})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"a": HOSTILE}


def test_ten_thousand_points_stay_quick(copied, page):
    frame = pd.read_csv(copied / "gallery.csv")
    points = frame[(frame["part"] == "point") & (frame["workload"] == "digits-mlp")]
    many = pd.concat([points] * (10_000 // len(points) + 1))[:10_000].assign(index=np.arange(10_000) + 1000)
    pd.concat([frame, many]).to_csv(copied / "gallery.csv", index=False)
    path = write_html(copied)
    assert path.stat().st_size < 25 * 2**20
    page.goto(path.as_uri())
    page.select_option("#gallery-workload", "digits-mlp")
    assert page.locator("#points-count").inner_text().endswith(str(10_000 + len(points)))
    began = time.perf_counter()
    for _ in range(5):
        page.locator("#points-next").click()
    page.fill("#points-filter", "3")
    assert (time.perf_counter() - began) / 6 < 1  # a fifth of that on an idle machine
    assert page.locator("#points-shown .card").count() == 24
    assert all(": 3" in text for text in page.locator("#points-shown .card").all_inner_texts())


def test_a_large_report_is_cut_into_files(copied, page):
    path = write_html(copied, largest=2**20)
    beside = copied / "report_files"
    assert path.stat().st_size < 2 * 2**20
    assert {"galleries.js", "boards.js", "noise.png", "noise.csv"} <= {found.name for found in beside.iterdir()}
    page.goto(path.as_uri())
    assert len(rows_of(page, "#board-table")) > 5
    assert page.locator("#gallery-shown .card").count() > 5
    assert page.locator("#figure-noise img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 100


def test_a_gradient_of_zero_is_no_number():
    state = {"part": "state", "step": 0, "loss": 1.0, "accuracy": 0.5, "grad_norm": 0.0, "kept": True}
    term = {"part": "term", "step": 0, "point": 1, "value": 0.1, "score": 0.1, "given": 2, "wrong": False}
    frame = pd.DataFrame([{**state, "rho_over_grad_norm": None}, {"part": "adjoint", "step": 0, "adjoint": 1.0}, term])
    (found,) = explore.runs(frame.assign(workload="digits")).values()
    assert found["states"][0]["rho_over_grad_norm"] is None
    assert json.loads(as_json(found)) == found


def test_words_stand_where_there_are_no_pictures():
    rows = [
        {"part": "query", "index": 0, "given": 0, "predicted": 1, "loss": 0.5, "text": "a text"},
        {"part": "point", "index": 7, "given": 1, "clean": 1, "wrong": False, "text": "another"},
        {"part": "pair", "method": "loo", "query": 0, "point": 7, "rank": 1, "score": 0.25, "exact": 0.25},
        {"part": "suspect", "method": "loo", "point": 7, "rank": 1, "score": -0.5},
    ]
    (found,) = explore.galleries(pd.DataFrame(rows).assign(workload="texts")).values()
    assert found["queries"][0]["text"] == "a text"
    assert found["points"][7]["text"] == "another"
    assert found["pairs"]["loo"][0] == [[7.0, 1.0, 0.25, 0.25]]
