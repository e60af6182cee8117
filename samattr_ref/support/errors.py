"""What a user did wrong, said in one line."""

import difflib
from collections.abc import Iterable


class SamattrError(Exception):
    """A mistake in the input or its surroundings: the message says what is wrong and what to do."""


class SolverError(SamattrError):
    """A linear solve that diverged, stalled or met a singular matrix."""


class UnstableError(SamattrError):
    """Training that diverges or does not repeat itself: nothing can be the ground truth of it."""


class TrajectoryError(SamattrError):
    """Batches and states that a run would have to have, asked of one that was not recorded.

    Args:
        who: What needs them, as the message begins.
    """

    def __init__(self, who: str = "what trains again or follows the run") -> None:
        super().__init__(
            f"{who} needs the batches and states of the run, which are not known: record it with sr.Recorder, or hand "
            "in checkpoints for methods that work from some"
        )


class MemoryLimitError(SamattrError):
    """Memory that ran out, or a bound on it that has no room for the smallest part of a computation."""


class StoreError(SamattrError):
    """An artefact on disk that is damaged or that could not be written."""


def first_line(error: BaseException) -> str:
    """What an exception of a user's code says, in one line.

    >>> first_line(ValueError("wrong"))
    'ValueError: wrong'
    """
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def unknown_name(kind: str, name: str, known: Iterable[str]) -> SamattrError:
    """The error for a name that is not registered, with the nearest one that is.

    >>> str(unknown_name("method", "sam-hf", ["sam-hif", "tracin"]))
    "unknown method 'sam-hf': did you mean 'sam-hif'? known: sam-hif, tracin"
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return SamattrError(f"unknown {kind} '{name}': {hint}known: {', '.join(known)}")
