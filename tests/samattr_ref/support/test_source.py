"""What is reached by imports and the digest of it, on packages made for it."""

import textwrap

import pytest

from samattr_ref.support.source import Source

FILES = {
    "pack/__init__.py": '''
        """A package."""
        import pack.registered
        from pack.inner import Thing, other as another
        from pack.settings import configure, LEVEL

        configure()

        def own():
            return another

        __all__ = ["Thing"]
    ''',
    "pack/settings.py": "def configure(): pass\nLEVEL = 1",
    "pack/registered.py": "WORD = 'registered'",
    "pack/inner/__init__.py": """
        from pack.inner.thing import Thing
        from .other import other
        from torch import nan
    """,
    "pack/inner/thing.py": """
        from . import parts
        class Thing:
            size = parts.SIZE
    """,
    "pack/inner/parts.py": "SIZE = 2",
    "pack/inner/other.py": """
        def other():
            from ..late import late
            return late()
    """,
    "pack/late.py": """
        @staticmethod
        def late(x: int = 3):
            return x + 0.5
    """,
    "pack/typed.py": """
        import typing
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from pack.late import late
        if typing.TYPE_CHECKING:
            import pack.registered
        else:
            from pack.inner import parts
    """,
    "pack/entry.py": """
        import pack.registered
        from pack.inner import Thing
        from pack.late import late as later

        LIMIT: int = 4
        NAMES = ["one", "two"]
        UNUSED = pack.registered

        def helper(x):
            return x if x in NAMES else LIMIT

        def measure(x):
            return helper(x) + later()

        def draw():
            return Thing
    """,
    "other/__init__.py": "",
    "other/whole.py": "import pack as p\nx = p.own",
    "other/names.py": "from pack import own\nfrom numpy import zeros",
    "other/star.py": "from pack.inner import *",
    "other/computed.py": "from pack.inner import computed",
}


@pytest.fixture
def source(tmp_path):
    def written(changes=None):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, text in (FILES | (changes or {})).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return Source({"pack": folder / "pack", "other": folder / "other"})

    return written


ALWAYS = {"pack", "pack.settings"}
"""What runs whenever anything of the package is imported."""


@pytest.mark.parametrize(
    ("entry", "modules"),
    [
        ("pack.settings", set()),
        ("pack.inner.thing", {"pack.inner", "pack.inner.thing", "pack.inner.parts"}),
        ("pack.inner.other", {"pack.inner", "pack.inner.other", "pack.late"}),
        ("pack.typed", {"pack.typed", "pack.inner", "pack.inner.parts"}),
        ("pack.entry:measure", {"pack.entry", "pack.late"}),
        ("pack.entry:draw", {"pack.entry", "pack.inner", "pack.inner.thing", "pack.inner.parts"}),
        ("other.names", {"other", "other.names", "pack.inner", "pack.inner.other", "pack.late"}),
    ],
)
def test_a_name_brings_in_the_module_that_defines_it(source, entry, modules):
    assert source().reach(entry).modules == modules | ALWAYS


@pytest.mark.parametrize("entry", ["pack", "pack.entry", "other.whole"])
def test_a_package_that_is_imported_itself_brings_in_all_that_it_imports(source, entry):
    inner = {"pack.inner", "pack.inner.thing", "pack.inner.parts", "pack.registered", "pack.late"}
    assert source().reach(entry).modules >= ALWAYS | inner


@pytest.mark.parametrize("entry", ["other.star", "other.computed"])
def test_names_that_no_statement_binds_bring_in_the_whole_package(source, entry):
    assert source().reach(entry).modules >= {"pack.inner.thing", "pack.inner.other"}


@pytest.mark.parametrize("entry", ["numpy", "pack.absent", "pack.entry:absent", "pack.inner.thing.Thing", ""])
def test_what_the_packages_do_not_have_is_refused(source, entry):
    with pytest.raises(KeyError):
        source().reach(entry)


def test_strings_and_imports_are_those_of_what_counts(source):
    found = source().reach("pack.entry:measure")
    assert {"one", "two"} <= found.strings
    assert "registered" not in found.strings
    assert ("pack.late", "late") in found.imports
    assert ("pack.inner", "Thing") not in found.imports


LATE = textwrap.dedent(FILES["pack/late.py"]).strip()


@pytest.mark.parametrize(
    "text",
    [
        LATE.replace("    return", '    """Return it."""\n    return'),
        f'"""Late."""\n{LATE}\n"""What it is."""',
        f"# late\n{LATE}  # late",
        "@staticmethod\ndef late(\n    x: int = 3,\n):\n\n    return (\n        x +\n        0.5\n    )\n",
    ],
    ids=["docstring", "docstrings of a module and a constant", "comment", "layout"],
)
def test_docstrings_comments_and_layout_change_nothing(source, text):
    assert source({"pack/late.py": text}).reach("pack.entry") == source().reach("pack.entry")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5", "0.25"),
        ("0.5", "'0.5'"),
        ("x + 0.5", "x - 0.5"),
        ("@staticmethod\n", ""),
        ("x: int", "x: float"),
        ("int = 3", "int = 4"),
        ("return x", "return 1"),
        ("return x + 0.5", "x + 0.5"),
    ],
)
def test_code_changes_what_imports_it_and_nothing_else(source, old, new):
    assert LATE.count(old) == 1
    before, after = source(), source({"pack/late.py": LATE.replace(old, new)})
    for entry in ("pack.entry", "pack.entry:measure", "pack.inner.other", "other.names", "other.whole"):
        assert after.reach(entry).digest != before.reach(entry).digest
    for entry in ("pack.typed", "pack.entry:draw", "pack.inner.thing"):
        assert after.reach(entry) == before.reach(entry)


CHANGES = {
    "constant of a helper": ("pack/entry.py", "LIMIT: int = 4", "LIMIT: int = 5", "pack.entry:measure", True),
    "another name is imported": ("pack/entry.py", "import late as", "import late2 as", "pack.entry:measure", True),
    "a statement that does something": ("pack/entry.py", "def draw", "print()\ndef draw", "pack.entry:measure", True),
    "what others reach": ("pack/entry.py", "return Thing", "return 1", "pack.entry:measure", False),
    "an import that others need": ("pack/entry.py", "import Thing", "import Thing, other", "pack.entry:measure", False),
    "what a package does": ("pack/__init__.py", "configure()\n", "configure(2)\n", "pack.late", True),
    "what a package passes on": ("pack/__init__.py", "other as another", "Thing as another", "other.names", True),
    "a new name of a package": ("pack/__init__.py", "LEVEL\n", "LEVEL\nfrom pack import typed\n", "other.names", False),
}


@pytest.mark.parametrize("name", CHANGES)
def test_modules_count_in_parts_where_a_function_or_a_name_of_a_package_is_asked_for(source, name):
    file, old, new, entry, counts = CHANGES[name]
    text = textwrap.dedent(FILES[file])
    assert text.count(old) == 1
    changed = source({file: text.replace(old, new)}).reach(entry)
    assert (changed.digest != source().reach(entry).digest) is counts


def test_the_order_of_imports_does_not_count(source):
    text = textwrap.dedent(FILES["pack/entry.py"])
    imports, rest = text.split("\n\n", 1)
    changed = "\n".join([*reversed(imports.split("\n")), rest])
    assert changed != text
    assert source({"pack/entry.py": changed}).reach("pack.entry") == source().reach("pack.entry")
