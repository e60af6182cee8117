"""The digest of the source that a result goes through: what is stored is found again until that code changes.

Source counts by its syntax tree: layout, comments, docstrings and the order of imports change nothing; constants,
decorators and annotations (which options are held to) are code. A module brings in every module of the project that it
imports, in functions too, and each counts whole, but for two:

- Of a module that is entered by one function, what the function reaches by name: its helpers and their constants.
- Of a package's `__init__`, what it does beside importing and defining, and the names that are imported from it: so
  `from samattr_ref.data import Digits` brings in one data source, and `import samattr_ref` all that it imports.

Imports for type checkers alone count for nothing, and neither does the catalogue (`BY_VALUE`).

Nothing is imported or run for it. Known limits: what is loaded by a computed name, as methods are by the registry, is
for the caller to give; and a file counts as it is when it is first read, not as a running process imported it.
"""

import ast
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from samattr_ref.support.registered import OWN

BY_VALUE = ("samattr_ref.catalogue",)
"""What these make is in every key by its value: a workload's points, network and recipe."""

UNSEEN = ("ctx", "kind", "type_comment")
"""Fields of a syntax tree that say nothing of their own."""

Asked = tuple[str, str | None]
"""A module and a name of it: None for all of it, and an empty name for what it does whatever is asked of it."""


@dataclass(frozen=True)
class Reach:
    """What is reached from some modules and functions.

    Attributes:
        digest: SHA-256 of all of it, in hexadecimal: the same wherever the project is installed.
        modules: The modules of which anything is reached, packages among them.
        strings: The string constants in it.
        imports: What it imports, see `Asked`.
    """

    digest: str
    modules: frozenset[str]
    strings: frozenset[str]
    imports: frozenset[Asked]


@cache
def reach(*entries: str) -> Reach:
    """What is reached from modules (`package.module`) and top-level functions (`package.module:name`) of the project.

    Raises:
        KeyError: for what the project does not have.

    >>> "samattr_ref.sam.step" in reach("samattr_ref.training").modules
    True
    """
    return _project().reach(*entries)


@cache
def _project() -> "Source":
    specs = filter(None, map(importlib.util.find_spec, OWN))
    return Source({spec.name: Path(folder) for spec in specs for folder in spec.submodule_search_locations or ()})


class Source:
    """The source of some packages, each module read when it is first asked for.

    Args:
        folders: Where each package lies.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        self._modules: dict[str, _Module | None] = {}
        self._parts: dict[Asked, _Part] = {}

    def reach(self, *entries: str) -> Reach:
        """See the function of that name."""
        waiting: list[Asked] = []
        for entry in entries:
            name, _, function = entry.partition(":")
            if (module := self._module(name)) is None or (function and function not in module.bound):
                raise KeyError(entry)
            waiting.append((name, function or None))
        found: dict[Asked, _Part] = {}
        while waiting:
            if (asked := waiting.pop()) not in found:
                found[asked] = self._part(*asked)
                waiting += found[asked].leads_to
        texts = sorted(f"{asked} {part.digest}" for asked, part in found.items())
        return Reach(
            digest=hashlib.sha256("\n".join(texts).encode()).hexdigest(),
            modules=frozenset(name for name, _ in found),
            strings=frozenset().union(*(part.strings for part in found.values())),
            imports=frozenset().union(*(part.imports for part in found.values())),
        )

    def _part(self, name: str, wanted: str | None) -> "_Part":
        if (name, wanted) not in self._parts:
            module = self._module(name)
            assert module is not None
            statements = module.part(wanted)
            imports = frozenset[Asked]().union(*(statement.imports for statement in statements))
            leads_to = {target for asked in imports for target in self._targets(*asked)}
            if package := _parent(name):
                leads_to.add((package, ""))
            self._parts[name, wanted] = _Part(
                digest=hashlib.sha256("\n".join(statement.text for statement in statements).encode()).hexdigest(),
                strings=frozenset[str]().union(*(statement.strings for statement in statements)),
                imports=imports,
                leads_to=frozenset(leads_to),
            )
        return self._parts[name, wanted]

    def _targets(self, name: str, wanted: str | None) -> Iterator[Asked]:
        """What an import leads to: nothing outside of the packages."""
        submodule = f"{name}.{wanted}"
        if (module := self._module(name)) is None or name in BY_VALUE or submodule in BY_VALUE:
            return
        if module.is_package and wanted in module.bound:
            yield name, wanted
        elif module.is_package and wanted and self._module(submodule):
            yield submodule, None
        else:
            yield name, None

    def _module(self, name: str) -> "_Module | None":
        """The module of that name; None for others than the packages' own."""
        if name not in self._modules:
            self._modules[name] = self._read(name)
        return self._modules[name]

    def _read(self, name: str) -> "_Module | None":
        top, *rest = name.split(".")
        if top not in self._folders:
            return None
        path = self._folders[top].joinpath(*rest)
        package, file = path / "__init__.py", path.with_name(f"{path.name}.py")
        if package.is_file():
            return _Module(name, package.read_bytes(), is_package=True)
        return _Module(name, file.read_bytes(), is_package=False) if rest and file.is_file() else None


@dataclass(frozen=True)
class _Part:
    """What counts of a module where a name is asked for, and what else is then asked for."""

    digest: str
    strings: frozenset[str]
    imports: frozenset[Asked]
    leads_to: frozenset[Asked]


class _Module:
    """The statements of a module: its imports first, one name each, in the order of their text."""

    def __init__(self, name: str, source: bytes, *, is_package: bool) -> None:
        self.name, self.is_package = name, is_package
        package = name if is_package else _parent(name)
        imports, others = list[_Statement](), list[_Statement]()
        for node in ast.parse(source).body:
            if isinstance(node, ast.Import):
                imports += [_Statement(ast.Import([alias]), package) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                alone = (ast.ImportFrom(node.module, [alias], node.level) for alias in node.names)
                imports += [_Statement(each, package) for each in alone]
            else:
                others.append(_Statement(node, package))
        imports.sort(key=lambda statement: statement.text)
        self.statements = [statement for statement in imports + others if statement.text]
        self.bound = frozenset(name for statement in self.statements for name in statement.binds)

    def part(self, wanted: str | None) -> list["_Statement"]:
        """The statements that count where a name is asked for, see `Asked`."""
        if wanted is None:
            return self.statements
        part = {statement for statement in self.statements if not statement.binds}
        known, names = set[str](), {wanted}.union(*(statement.uses for statement in part))
        while names:
            new = {statement for statement in self.statements if names & statement.binds} - part
            part |= new
            known |= names
            names = set[str]().union(*(statement.uses for statement in new)) - known
        return [statement for statement in self.statements if statement in part]


class _Statement:
    """A statement at the top of a module.

    Attributes:
        text: What it is; empty for what does nothing.
        binds: The names that it gives a meaning to; none where that is not all that it does.
        uses: The names in it.
        imports: What it imports.
        strings: The string constants in it.
    """

    def __init__(self, node: ast.stmt, package: str) -> None:
        self.package = package
        self.uses, self.imports, self.strings = set[str](), set[Asked](), set[str]()
        words = list[str]()
        self._read(node, words)
        self.text, self.binds = " ".join(words), _bound(node)

    def _read(self, node: ast.AST, words: list[str]) -> None:
        """Write a node's kind and, field by field, what is in it; empty fields differ between versions of Python."""
        kind = type(node)
        if isinstance(node, ast.Name):
            self.uses.add(node.id)
            words.append(f"${node.id}")
            return
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                self.strings.add(node.value)
            words.append(repr(node.value))
            return
        if isinstance(node, ast.Expr) and _is_string(node.value):
            return  # a docstring, of whatever it stands at
        if isinstance(node, ast.If) and _for_type_checkers(node.test):
            for each in node.orelse:
                self._read(each, words)
            return
        if isinstance(node, ast.Import):
            self.imports.update((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            self.imports.update((self._source(node), alias.name) for alias in node.names)
        words.append(kind.__name__)
        for name in kind._fields:
            value = getattr(node, name, None)
            if value is None or value == [] or name in UNSEEN:
                continue
            words.append(f"{name}=")
            for item in value if isinstance(value, list) else (value,):
                if isinstance(item, ast.AST):
                    self._read(item, words)
                else:
                    words.append(repr(item))
        words.append(".")

    def _source(self, node: ast.ImportFrom) -> str:
        """The module that names are imported from."""
        if not node.level:
            return node.module or ""
        package = self.package.split(".")
        return ".".join([*package[: len(package) + 1 - node.level], *filter(None, [node.module])])


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _for_type_checkers(node: ast.AST) -> bool:
    return "TYPE_CHECKING" in (getattr(node, "id", None), getattr(node, "attr", None))


def _bound(node: ast.stmt) -> frozenset[str]:
    """The names that a statement binds, if it does nothing else."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return frozenset([node.name])
        case ast.Import() | ast.ImportFrom():
            names = [alias.asname or alias.name.partition(".")[0] for alias in node.names]
            return frozenset(names) - {"*"}
        case ast.Assign(targets=targets) if all(isinstance(target, ast.Name) for target in targets):
            return frozenset(target.id for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            return frozenset([name])
    return frozenset()


def _parent(name: str) -> str:
    """The package that a module is in; empty for one at the top."""
    return name.rpartition(".")[0]
