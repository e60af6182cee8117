"""The options that commands of the program share."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer


class ExecutorKind(StrEnum):
    """Where independent work is done, see `baselines.executors`."""

    IN_PROCESS = "in-process"
    RAY = "ray"


@contextmanager
def work_by(kind: ExecutorKind, address: str | None, gpus: float | None) -> Iterator[None]:
    """Within the block, independent work is done where the options say.

    Raises:
        SamattrError: for options of a cluster without one, or a cluster that is not there.
    """
    from baselines.executors import executing
    from baselines.on_ray import OnRay
    from samattr_ref.support.errors import SamattrError

    if kind == ExecutorKind.IN_PROCESS:
        if address is not None or gpus is not None:
            raise SamattrError("--address and --gpus-per-task go with --executor ray alone: leave them out")
        yield
        return
    with OnRay(address, gpus) as cluster, executing(cluster):
        yield


def _silenced(quiet: bool) -> bool:
    if quiet:
        from samattr_ref.support.progress import silence

        silence()
    return quiet


def _version(asked: bool) -> None:
    if asked:
        print(f"samattr {version('samattr')}")
        raise typer.Exit


Quiet = Annotated[bool, typer.Option("--quiet", callback=_silenced, help="Say nothing of progress.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the split, the noise, the initial parameters and the batches.")]
Rho = Annotated[float | None, typer.Option(help="Another perturbation radius ρ than the workload's.")]
Norm = Annotated[float | None, typer.Option("--p", help="Another order of the perturbation's norm, 1 to inf.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Another value for a field of the workload, as in n_train=200."),
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="An option of the method, as in damping=0.01."),
]
Fraction = Annotated[float | None, typer.Option(help="Remove random subsets of this share of the points.")]
Count = Annotated[int, typer.Option(help="How many subsets.")]
MemoryBytes = Annotated[
    int | None,
    typer.Option(min=1, help="Bytes that the method may hold beside the run and its scores; 512 MiB by default."),
]
Runs = Annotated[
    int, typer.Option(min=1, help="Average scores over so many runs of the same training, with other seeds.")
]
AskedOf = Annotated[str, typer.Option("--functional", help="What of the queries is attributed: loss, margin or logit.")]
Measures = Annotated[
    list[str] | None,
    typer.Option(
        "--measure",
        metavar="NAME[=SHARES]",
        help="A measure that retrains, as in qld or lds=0.05,0.5.",
    ),
]
EngineName = Annotated[
    Literal["stacked", "compiled", "batched", "loop"] | None,
    typer.Option("--engine", help="How retrainings are computed; by default what is fastest."),
]
ExecutorName = Annotated[
    ExecutorKind, typer.Option("--executor", help="Where retrainings, grids and cells are computed.")
]
Address = Annotated[
    str | None, typer.Option("--address", help="Of a Ray cluster, as auto; else ray takes this machine's cores.")
]
GpusACall = Annotated[
    float | None, typer.Option("--gpus-per-task", help="With ray: GPUs a task takes, such as 0.25; by default one.")
]
ProfileName = Annotated[str, typer.Option("--profile", help="The job: quick, desk, beyond, large, real or paper.")]
Names = Annotated[
    list[str] | None,
    typer.Argument(help="Tables, figures and experiments, as in table scatter editing; all of the profile by default."),
]
OneWorkload = Annotated[
    str | None,
    typer.Option("--workload", help="A workload in place of the profile's: a name or package.module:attribute."),
]
Seeds = Annotated[str | None, typer.Option("--seeds", help="Other seeds than the profile's, as in 0,1,2.")]
Jobs = Annotated[
    int | None, typer.Option(min=1, help="Processes that measure side by side; by default one a core that has memory.")
]
Out = Annotated[Path, typer.Option(help="Folder that reports are written under.")]
Version = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and exit.")
]
