"""`samattr store`: what is in the store, whether it is whole, what may go, and taking it to another machine."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from reports.cli.options import JsonFlag
from reports.cli.output import App, show

app = App(no_args_is_help=True, rich_markup_mode=None)

Kind = Annotated[
    list[str] | None,
    typer.Argument(help="runs, truth, validations, agreements, growth or cells; by default all.", metavar="KIND"),
]
MEBIBYTE = 2**20


@app.command("ls")
def list_store(kinds: Kind = None, as_json: JsonFlag = False) -> None:
    """List what is in the store, by kind or each artefact of some kinds, and what could not be made."""
    import pandas as pd

    from reports.markdown import table
    from samattr_ref.support import store, upkeep

    found = list(upkeep.artefacts(_kinds(kinds)))
    rows = [
        {
            "kind": one.kind,
            "artefact": f"{one.path.name}/{one.name}",
            "MiB": one.size / MEBIBYTE,
            "written": datetime.fromtimestamp(one.changed).astimezone().isoformat(timespec="seconds"),
        }
        for one in found
    ]
    failed = list(upkeep.failures())
    if as_json:
        show(json.dumps({"store": str(store.root()), "artefacts": rows, "failures": failed}))
        return
    frame = pd.DataFrame(rows, columns=["kind", "artefact", "MiB", "written"])
    if not kinds:
        frame = frame.groupby("kind", as_index=False).agg(
            artefacts=("artefact", "count"), MiB=("MiB", "sum"), latest=("written", "max")
        )
    show(table(frame.assign(MiB=[f"{size:.1f}" for size in frame["MiB"]])))
    for one in failed:
        show(f"{one['at']}  {one['what']}: {one['reason']}")
    print(f"in {store.root()}", file=sys.stderr)


@app.command()
def verify(kinds: Kind = None, as_json: JsonFlag = False) -> None:
    """Read all of the store and check it: checksums, formats, and that everything stands where it belongs."""
    from samattr_ref.support import upkeep
    from samattr_ref.support.errors import SamattrError

    found = list(upkeep.artefacts(_kinds(kinds)))
    damaged = list(upkeep.damages(found))
    if as_json:
        show(json.dumps({"artefacts": len(found), "damaged": [damage.reason for damage in damaged]}))
    else:
        show("\n".join([*(damage.reason for damage in damaged), f"{len(found)} artefacts, {len(damaged)} damaged"]))
    if damaged:
        raise SamattrError(f"{len(damaged)} artefacts are damaged: samattr store gc --damaged removes them")


@app.command()
def gc(
    damaged: Annotated[bool, typer.Option("--damaged", help="Remove what cannot be read, too.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Remove what interruptions left behind: half-written files, states of finished runs, locks that nobody holds."""
    from samattr_ref.support import upkeep

    gone = upkeep.sweep(damaged)
    show(json.dumps({"removed": [str(path) for path in gone]}) if as_json else f"{len(gone)} files removed")


@app.command("export")
def export_store(
    target: Annotated[Path, typer.Argument(help="The archive to write, as in truths.tar.")],
    kinds: Annotated[list[str] | None, typer.Option("--kind", help="Only these kinds, as in --kind truth.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the store into an archive, to take it to another machine."""
    from samattr_ref.support import upkeep

    count = upkeep.export_store(target, _kinds(kinds))
    show(json.dumps({"path": str(target), "artefacts": count}) if as_json else f"{count} artefacts in {target}")


@app.command("import")
def import_store(
    source: Annotated[Path, typer.Argument(help="An archive that samattr store export wrote.")],
    as_json: JsonFlag = False,
) -> None:
    """Take an archive's artefacts into the store, all of them checked before."""
    from samattr_ref.support import upkeep

    new, there = upkeep.import_store(source)
    show(json.dumps({"new": new, "there": there}) if as_json else f"{new} artefacts are new, {there} were there")


def _kinds(names: list[str] | None) -> tuple[str, ...]:
    from samattr_ref.support import upkeep
    from samattr_ref.support.errors import unknown_name

    for name in names or ():
        if name not in upkeep.KINDS:
            raise unknown_name("kind of artefact", name, upkeep.KINDS)
    return tuple(names or upkeep.KINDS)
