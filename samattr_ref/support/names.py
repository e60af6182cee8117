"""Names that become names of files and folders."""

from samattr_ref.support.errors import SamattrError

LONGEST = 100
"""Characters of the longest name."""


def check_name(kind: str, name: str) -> None:
    """Refuse a name that would lead out of a folder, hide a file or not fit.

    Args:
        kind: What it is the name of.
        name: The name.

    Raises:
        SamattrError: for one that is empty or long, begins with a dot, or has a slash or what cannot be printed.

    >>> check_name("a workload", "mnist-mlp (10 % noise)")
    """
    if not 1 <= len(name) <= LONGEST:
        raise SamattrError(f"the name of {kind} must have 1 to {LONGEST} characters, not {len(name)}")
    if name.startswith(".") or not name.isprintable() or set(name) & set("/\\"):
        raise SamattrError(f"the name of {kind}, {name!r}, becomes that of files: use letters, digits and hyphens")
