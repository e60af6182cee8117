"""What the site is made of beside this folder: committed pages of results, generated tables, typeset formulas."""

import html
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import griffe
import pandas as pd
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "reports" / "reference"
PROFILES = ("quick", "desk", "beyond", "large", "real")

PASSED_ON = ("CHANGELOG.md", "CONTRIBUTING.md")
"""Files of the project's top folder that are pages of the site."""

HOMES = {"README.md": "index.md"}
"""Where links to other files of the top folder lead."""

PUBLISHED = ROOT / ".asv" / "html"
"""Where `asv publish` writes its pages."""

HEADLINE = {"table": "table", "scatter": "scatter-*", "noise": "noise"}
"""What is drawn from a profile's validations, and its files."""

CLAIMS = """# The paper's claims

Each verdict is decided by the program from an interval over seeds, never by hand. Where a network is far from the
paper's accuracy on that data set, the verdict says so. The numbers behind them, with hardware and commands, are on the
page of each profile.
"""

RESULTS_MAP = """# Where every number comes from

Every table and figure of the committed pages: the command that makes it again, the minutes that its cells took (those
of all scores, for what is drawn from validations), and its files. Options, seeds and versions are on each page.
"""

MAP_HEAD = "| what | command | minutes | files |\n| --- | --- | ---: | --- |"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add committed results, files of the top folder, what is generated, and asv's pages where there are some."""
    found = [ROOT / name for name in PASSED_ON]
    found += [path for path in REFERENCE.rglob("*") if path.suffix in {".md", ".png", ".csv"}]
    for path in found:
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for name, text in {"claims.md": claims(), "results-map.md": results_map()}.items():
        files.append(File.generated(config, name, content=text))
    for path in (path for path in PUBLISHED.rglob("*") if path.is_file()):
        target = Path("asv", path.relative_to(PUBLISHED)).as_posix()
        files.append(File.generated(config, target, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as in the repository, to where the site has the files; and to asv's pages, where there are some."""
    if page.file.src_uri == "speed.md" and PUBLISHED.is_dir():
        markdown += "\n[What asv measured, commit by commit](asv/index.html)\n"
    prefix = "docs/" if page.file.src_uri in PASSED_ON else "../"

    def moved(link: re.Match[str]) -> str:
        target = link[1].removeprefix(prefix)
        return f"]({HOMES.get(target, target)}"

    return re.sub(r"\]\(([^)#:]+)", moved, markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Formulas as MathML, which browsers typeset without a script."""
    for tag, opening, closing, display in (("div", r"\[", r"\]", "block"), ("span", r"\(", r"\)", "inline")):
        formula = rf'<{tag} class="arithmatex">{re.escape(opening)}(.*?){re.escape(closing)}</{tag}>'

        def typeset(found: re.Match[str], display: str = display) -> str:
            return str(convert(html.unescape(found[1]).strip(), display=display))

        content = re.sub(formula, typeset, content, flags=re.DOTALL)
    return content


class Examples(griffe.Extension):
    """Doctests that stand in a docstring without a heading are its examples."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Put them under one."""
        if obj.docstring and ">>> " in obj.docstring.value and "Examples:" not in obj.docstring.value:
            text, mark, code = obj.docstring.value.partition(">>> ")
            obj.docstring.value = f"{text.rstrip()}\n\nExamples:\n{textwrap.indent(mark + code, '    ')}"


def claims() -> str:
    """The page of claims: the paper's number and the verdict of every claim, by profile."""
    parts = [CLAIMS]
    for profile in PROFILES:
        path = REFERENCE / profile / "claims.csv"
        if path.exists():
            shown = pd.read_csv(path, dtype=str, keep_default_na=False)[["Claim", "Paper", "Verdict"]]
            numbers = f"[The numbers](reports/reference/{profile}/report.md#the-papers-claims)"
            parts.append(f"## Profile {profile}\n\n{shown.to_markdown(index=False)}\n\n{numbers}\n")
    return "\n".join(parts)


def results_map() -> str:
    """The page of where every table and figure comes from: its command, what it took, where its files are."""
    parts = [RESULTS_MAP]
    for profile in PROFILES:
        origin = json.loads((REFERENCE / profile / "provenance.json").read_text())
        rows = [*_headline(profile), *((name, part["minutes"]) for name, part in origin["experiments"].items())]
        machines = "; ".join(
            dict.fromkeys(
                f"{one['cpu']}, {one['cores']} cores, {one['system']}, Python {one['python']}, torch {one['torch']}"
                for one in origin["environments"]
            )
        )
        page = (
            f"[The page](reports/reference/{profile}/report.md) is made by `{origin['command']}`, here on {machines}."
        )
        parts += [f"## Profile {profile}\n", f"{page}\n", MAP_HEAD]
        parts += [
            f"| {name} | `samattr reproduce {name} --profile {profile}` | {minutes:.3g} | {_files(profile, name)} |"
            for name, minutes in rows
        ]
        parts.append("")
    return "\n".join(parts)


def _headline(profile: str) -> list[tuple[str, float]]:
    """What is drawn from the profile's validations, with the minutes of all their scores."""
    path = REFERENCE / profile / "results.parquet"
    if not path.exists():
        return []
    values = pd.read_parquet(path)
    minutes = float(values.loc[values["metric"] == "runtime_s", "value"].sum() / 60)
    return [(name, minutes) for name in HEADLINE]


def _files(profile: str, name: str) -> str:
    there = sorted((REFERENCE / profile).glob(f"{HEADLINE.get(name, name)}.*"))
    return " ".join(
        f"[{path.name}](reports/reference/{profile}/{path.name})"
        for path in there
        if path.suffix in {".md", ".csv", ".png"}
    )
