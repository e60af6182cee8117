"""`python -m benchmarks.peers`: measure this project beside other libraries, or print what was measured.

Rows are stored beside this file, one a peer and work: `peer`, `version`, `work`, `train_batch` (the peer's fastest),
`max_relative_difference`, `seconds` of both, `speedup` (`median`, `min`, `max` over alternating calls in one process,
those that other programs disturbed left out where there are others), `load` and `disturbed` of these calls,
`environment`, `command`.
"""

import json
import sys
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import pandas as pd
import typer

from benchmarks.peers.libraries import PEERS
from benchmarks.peers.work import WORKS, Calculation, Problem, relative_difference
from reports.load import remark, starred
from samattr_ref.support.environment import environment
from samattr_ref.support.errors import SamattrError, unknown_name
from samattr_ref.support.progress import track
from samattr_ref.support.timing import noted, timed, undisturbed_pairs

ROWS = Path(__file__).with_name("rows.json")
TABLE = Path(__file__).with_name("table.md")
TOLERANCE = 1e-4
BATCHES = (100, 500)
"""Training points a batch that each peer is tried with, beside all of them at once; its fastest is what is measured."""
DISTRIBUTIONS = {"torch.func": "torch"}


def main(
    run: Annotated[bool, typer.Option("--run", help="Measure, and store the rows.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the stored rows as JSON.")] = False,
    peers: Annotated[str, typer.Option(help="The peers to measure, with commas between them.")] = ",".join(PEERS),
    works: Annotated[str, typer.Option(help="The works to measure, with commas between them.")] = ",".join(WORKS),
    repeats: Annotated[int, typer.Option(help="Alternating calls.", min=1)] = 5,
) -> None:
    """This project beside other libraries: the same numbers, side by side in one process."""
    if run:
        measure(_names("peer", peers, PEERS), _names("work", works, WORKS), repeats)
    rows = stored()
    if not rows:
        raise SamattrError("nothing is stored: python -m benchmarks.peers --run")
    print(json.dumps(rows, indent=1) if as_json else TABLE.read_text())


def measure(peers: list[str], works: list[str], repeats: int) -> None:
    """Measure peers on works; the rows of each are stored as soon as they are there, in the place of older ones.

    Raises:
        SamattrError: where a peer is not installed, or its numbers are not ours.
    """
    for work in works:
        problem = WORKS[work].problem()
        problem.ours()
        for peer in peers:
            calculations, difference = _checked(peer, work, problem)
            batch = min(calculations, key=lambda size: timed(calculations[size]).seconds)
            calculate = calculations[batch]
            rounds = track(range(repeats), f"{peer}, {work}")
            calls = [(timed(problem.ours, tries=1), timed(calculate, tries=1)) for _ in rounds]
            pairs = undisturbed_pairs(*zip(*calls, strict=True))
            ours, theirs = ([one.seconds for one in side] for side in zip(*pairs, strict=True))
            ratios = [slow / fast for fast, slow in zip(ours, theirs, strict=True)]
            row = {
                "peer": peer,
                "version": version(DISTRIBUTIONS.get(peer, peer)),
                "work": work,
                "n_train": len(problem.train),
                "n_query": len(problem.queries),
                "n_parameters": len(problem.omega),
                "train_batch": batch,
                "max_relative_difference": difference,
                "seconds": {"ours": median(ours), "peer": median(theirs)},
                "speedup": {"median": median(ratios), "min": min(ratios), "max": max(ratios)},
                "repeats": repeats,
                **noted(*(one for pair in pairs for one in pair)),
                "environment": environment(),
                "command": f"python -m benchmarks.peers --run --peers {peer} --works {work} --repeats {repeats}",
            }
            rows = [*(old for old in stored() if _identity(old) != _identity(row)), row]
            order = {name: i for i, name in enumerate((*WORKS, *PEERS))}
            rows.sort(key=lambda row: (order[row["work"]], order[row["peer"]], hardware(row)))
            _write(ROWS, json.dumps(rows, indent=1) + "\n")
            _write(TABLE, table(rows))


def stored() -> list[dict[str, Any]]:
    """The rows that were measured."""
    return json.loads(ROWS.read_text()) if ROWS.exists() else []


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table, with how, where and by which command they were measured."""
    machines = sorted({hardware(row) for row in rows})
    shown = [
        {
            **({"Machine": hardware(row)} if len(machines) > 1 else {}),
            "Work": f"{row['work']}, {row['n_train']} × {row['n_query']}, P = {row['n_parameters']}",
            "Peer": f"{row['peer']} {row['version']}",
            "Batch": str(row["train_batch"]),
            "Peer (s)": starred(f"{row['seconds']['peer']:.3g}", row.get("disturbed")),
            "samattr (s)": starred(f"{row['seconds']['ours']:.3g}", row.get("disturbed")),
            "Times faster": starred(
                "{median:.1f} [{min:.1f}, {max:.1f}]".format(**row["speedup"]), row.get("disturbed")
            ),
            "Largest rel. difference": f"{row['max_relative_difference']:.0e}",
        }
        for row in rows
    ]
    repeats = sorted({row["repeats"] for row in rows})
    calls = " or ".join(map(str, repeats))
    commands = " and ".join(f"`python -m benchmarks.peers --run --repeats {count}`" for count in repeats)
    align = ["left" if column in ("Machine", "Work", "Peer") else "right" for column in shown[0]]
    body = pd.DataFrame(shown).to_markdown(index=False, disable_numparse=True, colalign=align)
    return (
        f"{body}\n\nMedian [least, greatest] of {calls} alternating calls in one process. Batch: training points a "
        f"batch, the peer's fastest of {', '.join(map(str, BATCHES))} and all. {'; '.join(machines)}; made by "
        f"{commands}.{remark(pd.DataFrame(rows))}\n"
    )


def hardware(row: dict[str, Any]) -> str:
    """What a row was measured on."""
    env = row["environment"]
    return env["gpu"] or f"{env['cpu']}, {env['cores']} cores, {env['threads']} threads"


def _identity(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["work"], row["peer"], hardware(row)


def _checked(peer: str, work: str, problem: Problem) -> tuple[dict[int, Calculation], float]:
    """A peer's calculation by batch size, and how far it is from ours at most.

    Raises:
        SamattrError: where the peer is not installed, or its numbers are not ours.
    """
    sizes = sorted({*(min(size, len(problem.train)) for size in BATCHES), len(problem.train)})
    try:
        calculations = {size: PEERS[peer](problem, size) for size in sizes}
    except ImportError as error:
        raise SamattrError(f"{error.name} is missing: pip install 'samattr[peers]'") from error
    ours = problem.ours()
    difference = max(relative_difference(calculate().detach(), ours) for calculate in calculations.values())
    if not difference <= TOLERANCE:
        raise SamattrError(f"{peer} differs by {difference:.1e} (relative) on {work}: no time is taken")
    return calculations, difference


def _names(kind: str, text: str, known: Collection[str]) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in known:
            raise unknown_name(kind, name, known)
    return names


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(text)
    unfinished.replace(path)


if __name__ == "__main__":
    try:
        typer.run(main)
    except SamattrError as error:
        print(f"benchmarks.peers: {error}", file=sys.stderr)
        sys.exit(1)
