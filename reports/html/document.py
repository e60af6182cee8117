"""The report as one file that a browser opens without a network; where that would be too large, as a few beside it."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import vl_convert

from baselines.comparison import table_metrics
from reports.committed import Page, read_page
from reports.html import boards, charts, explore, sections
from reports.load import SAID
from samattr_ref.support.errors import SamattrError, first_line

NAME = "report.html"
BESIDE = "report_files"
"""The folder of what would make the file too large."""

LARGEST = 25 * 2**20
"""Bytes of the file at most."""

TYPES = {".png": "image/png", ".csv": "text/csv"}


@dataclass
class Parts:
    """Files that the page shows or hands out: put into it, or written beside it.

    Attributes:
        folder: Where they are written beside it; None puts them in.
    """

    folder: Path | None

    def uri(self, path: Path) -> str:
        """What the page calls a file by."""
        if self.folder is None:
            return f"data:{TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
        return f"{BESIDE}/{self._write(path.name, path.read_bytes())}"

    def data(self, name: str, value: Any) -> dict[str, str]:
        """A value that the page's program reads, as the text of a script element, or as a script beside the page."""
        text = as_json(value)
        if self.folder is None:
            return {"name": name, "text": text}
        script = f"window.samattr = window.samattr || {{}}; window.samattr[{as_json(name)}] = {text};\n"
        return {"name": name, "source": f"{BESIDE}/{self._write(f'{name}.js', script.encode())}"}

    def _write(self, name: str, content: bytes) -> str:
        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(content)
        return name


def as_json(value: Any) -> str:
    """JSON that nothing in it can end the script element of, nor start another."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def write_html(folder: Path, largest: int = LARGEST) -> Path:
    """Write the report of a page beside its files.

    Args:
        folder: The folder of a page.
        largest: Bytes of the file at most: a larger one is cut into several, the others in `report_files`.

    Returns:
        The path of `report.html`.

    Raises:
        SamattrError: for a folder that holds no page, a damaged file, or one that cannot be written.
    """
    page, path = read_page(folder), folder / NAME
    text = _rendered(page, Parts(None))
    try:
        if len(text.encode()) > largest:
            text = _rendered(page, Parts(folder / BESIDE))
        path.write_text(text)
    except OSError as error:
        raise SamattrError(f"{path} could not be written ({first_line(error)}): choose another folder") from error
    return path


def _rendered(page: Page, parts: Parts) -> str:
    """The page's text."""
    frames = {part.experiment.name: part.frame for part in page.measured}
    found_claims, standings, shipped = sections.claims(page), boards.boards(page.values), boards.shipped()
    data = {
        "boards": standings,
        "metrics": [metric.heading for metric in table_metrics()],
        "shipped": shipped,
        "galleries": explore.galleries(frames["gallery"]) if "gallery" in frames else {},
        "runs": explore.runs(frames["along-the-run"]) if "along-the-run" in frames else {},
        "charts": {
            "standings": charts.standings(),
            "pareto": charts.pareto(),
            "effects": charts.effects(),
            "influence": charts.influence(),
            "loss": charts.over_steps("loss", "training loss (nats)", log=True),
            "accuracy": charts.over_steps("accuracy", "validation accuracy", log=False),
            "grad_norm": charts.over_steps("grad_norm", "‖g‖", log=True),
            "rho_over_grad_norm": charts.over_steps("rho_over_grad_norm", "ρ/‖g‖", log=True),
            "adjoint": charts.over_steps("adjoint", "growth of the adjoint", log=True, states=False),
        },
    }
    assets = Path(__file__).parent / "assets"
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            profile=page.job.title,
            command=page.origin["command"],
            networks=sections.networks(page),
            glance=sections.at_a_glance(found_claims),
            claims=found_claims,
            figures=sections.figures(page),
            machines=sections.machines(page),
            missing=sections.missing(page),
            compared=boards.COMPARED_HEADING,
            starred=SAID if any(row["starred"] for part in (standings, *shipped.values()) for row in part) else "",
            has={name: bool(data[name]) for name in ("boards", "shipped", "galleries", "runs")},
            data=[parts.data(name, value) for name, value in data.items()],
            uri=parts.uri,
            style=(assets / "style.css").read_text(),
            program=(assets / "app.js").read_text(),
            library=vl_convert.javascript_bundle(),  # type: ignore[call-arg]  # its stub lacks the default
        )
    )


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("reports.html"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
