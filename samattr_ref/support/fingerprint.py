"""The digest of a value together with the code that it runs: two networks of one digest compute the same.

A value is walked as a graph. Every object in it is described once, in the order in which it is met, and is named by its
place in that order from then on: cycles end, and what is shared differs from equal copies. Only a code object's own
digest is remembered between calls; the values that code reaches are read anew, since they may have changed.

Libraries (torch, NumPy, the standard library) are keyed by name and version, and so is what an installed package has
beside networks, this project by its source in place of a version (`samattr_ref.support.source`); all other code by its
instructions: file names, line numbers, comments and docstrings change nothing. Known limits: attributes that are looked
up by a computed name in a module, modules that a function imports before they are loaded, and torch's own global state
are not seen.
"""

import bisect
import collections
import copyreg
import dis
import functools
import hashlib
import itertools
import os
import pickle
import random
import re
import struct
import sys
import types
import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from samattr_ref.support.registered import is_own
from samattr_ref.support.source import reach


@dataclass(frozen=True)
class Fingerprint:
    """What a value is known by.

    Attributes:
        digest: SHA-256 in hexadecimal, the same in every process unless something could not be keyed.
        unkeyed: The parts that no value stands for, as `path: a type`. They are themselves alone: the digest is the
            same only in this process, and only as long as they live.
    """

    digest: str
    unkeyed: tuple[str, ...]


def fingerprint(value: Any) -> Fingerprint:
    """The digest of a value and of all that it holds and runs; it changes nothing and never raises.

    >>> fingerprint([1, 2.0]) == fingerprint([1, 2.0]), fingerprint([1]) == fingerprint([True])
    (True, False)
    """
    walk = _Walk([])
    digest = walk.digest(value, None, 0)
    return Fingerprint(digest.hex(), tuple(sorted(set(walk.unkeyed))))


_Path = tuple["_Path | None", str]
"""Where a part was met: its holder's path and what to append. Joined only if it must be shown."""

NESTED_REDUCTIONS = 50
"""What `__reduce_ex__` returns may be new and reducible without end: deeper than this it is not followed."""

METADATA = {
    *("__doc__", "__name__", "__qualname__", "__module__", "__annotations__", "__annotate__", "__annotate_func__"),
    *("__annotations_cache__", "__orig_bases__", "__parameters__", "__firstlineno__", "__static_attributes__"),
    *("__vectorcalloffset__", "__dictoffset__", "__weaklistoffset__"),
    *("__dict__", "__weakref__", "__slotnames__", "_abc_impl", "_value2member_map_", "_backward_cls"),
}
"""What a class or an instance holds that is no behaviour of it, or a cache that fills as it is used."""

OWN = {name for name in vars(nn.Module()) if name not in ("_parameters", "_buffers", "_modules")}
"""What every module holds beside its tensors and submodules."""


class _Walk:
    """One pass over a value. A set's elements have walks of their own, which may refer to what was met outside."""

    def __init__(self, unkeyed: list[str], outer: "_Walk | None" = None) -> None:
        self.unkeyed, self.outer = unkeyed, outer
        self.parts: list[bytes] = []
        self.places: dict[int, int] = {}
        self.nodes: list[tuple[Any, _Path | None, int]] = []  # holds what was met: no id is used a second time
        self.used: dict[tuple[int, frozenset[str]], _Used] = {}
        self.depth = 0

    def digest(self, value: Any, path: _Path | None, depth: int) -> bytes:
        self.depth = depth
        try:
            self.ref(value, path)
        except Exception:  # nested too deeply: it is unkeyed as a whole
            self.parts.append(self.new(value, path))
        for node, where, met in self.nodes:  # which grows meanwhile
            start, self.depth = len(self.parts), met
            try:
                self.describe(node, where)
            except Exception:  # whatever an odd object raises
                del self.parts[start:]
                self.parts.append(b"U" + _token(node))
                self.unkeyed.append(f"{_shown(where)}: a {_kind(node)}")
        return hashlib.sha256(b"".join(self.parts)).digest()

    def ref(self, value: Any, path: _Path | None) -> None:
        """Write a value if it is plain, else its place."""
        atom = _atom(value)
        if atom is not None:
            self.parts.append(atom)
        elif type(value) is tuple:  # has no identity that counts: the compiler shares equal ones
            self.parts.append(b"t%d:" % len(value))
            for i, item in enumerate(value):
                self.ref(item, (path, f"[{i}]"))
        else:
            self.parts.append(self.place(value) or self.new(value, path))

    def refs(self, path: _Path | None, *values: Any) -> None:
        for value in values:
            self.ref(value, path)

    def place(self, value: Any) -> bytes | None:
        """The place of an object that was met before."""
        walk: _Walk | None = self
        level = 0
        while walk is not None:
            if (place := walk.places.get(id(value))) is not None:
                return b"&%d,%d;" % (level, place)
            walk, level = walk.outer, level + 1
        return None

    def new(self, value: Any, path: _Path | None) -> bytes:
        """The place of an object that is described later."""
        place = self.places[id(value)] = len(self.nodes)
        self.nodes.append((value, path, self.depth))
        return b"&0,%d;" % place

    def describe(self, value: Any, path: _Path | None) -> None:
        if id(value) in _SHARED:
            self.parts.append(_text(_SHARED[id(value)][0]))
            return
        for base in type(value).__mro__:
            if base in _HANDLERS:
                self.parts.append(_KINDS[base])
                _HANDLERS[base](self, value, path)
                return
        self.parts.append(b"O")
        self.instance(value, path)

    def pairs(self, items: Iterable[tuple[str, Any]], path: _Path | None) -> None:
        """Named parts, ended: none of them begins with a brace."""
        for name, item in items:
            self.parts.append(_text(name))
            self.ref(item, (path, "." + name))
        self.parts.append(b"}")

    def module(self, value: nn.Module, path: _Path | None) -> None:
        cls: Any = type(value)
        held = _layout(cls).held(value)
        blank = {name for name in OWN if isinstance(held.get(name), dict | set) and not held[name]}
        hooks = {name: held[name] for name in OWN if name not in blank and isinstance(held.get(name), dict)}
        # Torch numbers the hooks of a process: which of a module's own came first is all that the numbers say.
        order = {number: i for i, number in enumerate(sorted({number for own in hooks.values() for number in own}))}
        for name, own in sorted(hooks.items()):
            self.pairs(((f"{name}[{order[number]}]", hook) for number, hook in own.items()), path)
        for name in ("_parameters", "_buffers", "_modules"):
            self.pairs(held[name].items(), path)
        self.state(value, path, blank | hooks.keys() | {"_parameters", "_buffers", "_modules"})

    def state(self, value: Any, path: _Path | None, without: Iterable[str] = ()) -> None:
        """An instance's class and attributes, by name; cached properties are left out: they follow from the rest."""
        cls: Any = type(value)
        layout = _layout(cls)
        self.ref(cls, path)
        skipped = METADATA.union(layout.lazy, without)
        held = layout.held(value)
        self.pairs(((name, held[name]) for name in sorted(held) if name not in skipped), path)
        self.pairs(layout.slotted(value), path)

    def instance(self, value: Any, path: _Path | None) -> None:
        """Any other object: its attributes, and what it would be pickled as, which tells whether there is more."""
        cls: Any = type(value)
        reducer = copyreg.dispatch_table.get(cls)
        own = cls.__reduce_ex__ is not object.__reduce_ex__ or cls.__reduce__ is not object.__reduce__
        reduced: Any = reducer(value) if reducer else cls.__reduce_ex__(value, 4)
        if (own or reducer) and _library_name(cls):
            self.ref(cls, path)  # whose attributes may be caches of it
        else:
            self.state(value, path)
        if isinstance(reduced, str):
            name = pickle.whichmodule(value, reduced)  # type: ignore[attr-defined]  # documented, but not in the stubs
            if not _found(name, reduced, value):
                raise TypeError
            self.parts.append(_text(f"{name}.{reduced} {_release(name)}"))
        elif own or reducer:
            if self.depth == NESTED_REDUCTIONS:
                raise RecursionError
            self.depth += 1
            parts = itertools.islice(itertools.chain(reduced, itertools.repeat(None)), 5)
            function, arguments, state, items, pairs = parts
            self.refs(path, function, arguments, state, tuple(items or ()), tuple(pairs or ()))
        else:
            self.ref(reduced[1][1:], path)
            if cls.__getstate__ is not object.__getstate__:
                self.ref(reduced[2], path)

    def tensor(self, value: Tensor, path: _Path | None) -> None:
        if type(value).__torch_dispatch__ is not Tensor.__torch_dispatch__:
            raise TypeError  # its values are what its own code says
        with torch._C.DisableTorchFunctionSubclass():
            lazy = is_lazy(value)
            shape = () if lazy else tuple(value.shape)
            self.parts.append(_text(f"{lazy}{value.dtype}{value.layout}{shape}{value.requires_grad}"))
            self.parts.extend(hashlib.sha256(part).digest() for part in ([] if lazy else _values(value.detach())))
            hooks = [value._backward_hooks, value._post_accumulate_grad_hooks]
        self.ref(tuple(tuple(held.values()) if held else () for held in hooks), path)
        self.state(value, path)

    def array(self, value: np.ndarray, path: _Path | None) -> None:
        self.refs(path, value.dtype, value.shape)
        if value.dtype.hasobject or value.dtype.char == "T":
            self.ref(tuple(np.ndarray.flatten(value).tolist()), path)
        else:
            self.parts.append(hashlib.sha256(np.ndarray.tobytes(value)).digest())
        if not _is(value, np.memmap):  # which holds its file
            self.state(value, path)

    def mapping(self, value: Mapping[Any, Any], path: _Path | None) -> None:
        kinds: list[Any] = [collections.OrderedDict, dict, types.MappingProxyType]
        items = next(kind for kind in kinds if _is(value, kind)).items(value)
        self.parts.append(b"%d:" % len(items))
        for key, item in items:
            self.ref(key, (path, "'s key"))
            self.ref(item, (path, f"[{key!r}]" if type(key) in (int, str) else "[…]"))
        self.subclass(value, path)

    def sequence(self, value: Any, path: _Path | None) -> None:
        kind: Any = list if _is(value, list) else tuple
        self.ref(tuple(kind.__iter__(value)), path)
        self.subclass(value, path)

    def unordered(self, value: Any, path: _Path | None) -> None:
        kind: Any = set if _is(value, set) else frozenset
        digests = (_Walk(self.unkeyed, self).digest(item, (path, "{…}"), self.depth) for item in kind.__iter__(value))
        self.parts.extend([b"%d:" % len(value), *sorted(digests)])
        self.subclass(value, path)

    def subclass(self, value: Any, path: _Path | None) -> None:
        if type(value) not in (dict, list, set, frozenset, types.MappingProxyType):
            self.state(value, path)

    def cls(self, value: type, path: _Path | None) -> None:
        if name := _library_name(value):
            self.parts.append(_text(name))
            return
        self.parts.append(b"K" + _text(value.__name__))
        self.refs(path, type(value), *value.__bases__, None)
        held = type.__getattribute__(value, "__dict__")
        self.pairs(((name, held[name]) for name in sorted(held) if name not in METADATA), path)

    def function(self, value: types.FunctionType, path: _Path | None) -> None:
        if name := _library_name(value):
            self.parts.append(_text(name))
            return
        code, reached = _code(value.__code__), value.__globals__
        self.parts.append(b"F" + code.digest)
        self.refs(path, value.__defaults__, value.__kwdefaults__)
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            self.reached(name, cell, code, path)
        for name in code.names:
            if name in reached:
                self.reached(name, reached[name], code, path)
        for name in code.imports:
            packages = itertools.accumulate(str(reached.get("__package__")).split("."), "{}.{}".format)
            for full in (name, *(f"{package}.{name}".rstrip(".") for package in packages)):  # it may be relative
                if full in sys.modules:
                    self.reached(name, sys.modules[full], code, path)
        self.pairs(value.__dict__.items(), path)

    def reached(self, name: str, value: Any, code: "_Code", path: _Path | None) -> None:
        """What a function finds under a name: of a module only what the function takes from it."""
        if type(value) is types.CellType:
            try:
                value = value.cell_contents
            except ValueError:  # it is empty
                value = ...
        if _is(value, types.ModuleType):
            value = self.used.setdefault((id(value), code.attributes), _Used(value, code))
        self.pairs([(name, value)], path)

    def taken(self, value: "_Used", path: _Path | None) -> None:
        held = object.__getattribute__(value.module, "__dict__")
        names = [] if _library(held["__name__"]) is not None else sorted(value.code.attributes & held.keys())
        names = [name for name in names if not name.startswith("__")]
        if not names:  # or only by names that it computes
            self.ref(value.module, path)
        for name in names:
            self.reached(name, held[name], value.code, path)

    def namespace(self, value: types.ModuleType, path: _Path | None) -> None:
        held = object.__getattribute__(value, "__dict__")
        release = _release(held["__name__"])
        if release is not None:
            self.parts.append(_text(f"{held['__name__']} {release}"))
            return
        self.pairs(((name, held[name]) for name in sorted(held) if not name.startswith("__")), path)

    def builtin(self, value: types.BuiltinFunctionType, path: _Path | None) -> None:
        owner = value.__self__
        module = owner.__name__ if isinstance(owner, types.ModuleType) else value.__module__ or ""
        release = _library(module)
        if release is None:
            release = getattr(sys.modules.get(module.partition(".")[0]), "__version__", None)
        bound = owner is not None and not isinstance(owner, types.ModuleType) and "Capsule" not in type(owner).__name__
        if not (bound or isinstance(release, str)):
            raise TypeError  # compiled code that nothing tells the version of
        self.parts.append(_text(f"{module}.{value.__qualname__} {release}"))
        self.ref(owner if bound else None, path)


class _Code(NamedTuple):
    """What a code object does, and the names by which it reaches for more; those of nested code are among them."""

    digest: bytes
    names: tuple[str, ...]
    imports: tuple[str, ...]
    attributes: frozenset[str]


@dataclass(eq=False)
class _Used:
    """A module and the code that takes attributes from it."""

    module: types.ModuleType
    code: _Code


_codes: weakref.WeakKeyDictionary[types.CodeType, _Code] = weakref.WeakKeyDictionary()

GLOBAL_LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")

JUMPS = {*dis.hasjrel, *dis.hasjabs}

_ARGUMENT_FLAGS = 0x04 | 0x08 | 0x20 | 0x80 | 0x100 | 0x200
"""Of `co_flags`: *args, **kwargs and the kinds of generator and coroutine; others say how it was compiled."""


def _code(code: types.CodeType) -> _Code:
    """Instructions with constants, names and other instructions in place of indices, which a docstring would move."""
    if code in _codes:
        return _codes[code]
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _ARGUMENT_FLAGS)
    locals_ = (len(code.co_varnames), len(code.co_cellvars), len(code.co_freevars))
    bytecode = dis.Bytecode(code)
    steps: list[dis.Instruction] = []
    for step in bytecode:
        if step.opname == "STORE_NAME" and step.argval in METADATA:
            steps.pop()  # what loads the name or the docstring that the body of a class begins with
        elif step.opname != "EXTENDED_ARG":
            steps.append(step)
    offsets = [step.offset for step in steps]
    handlers = tuple(
        (
            *(bisect.bisect_left(offsets, offset) for offset in (entry.start, entry.end, entry.target)),
            entry.depth,
            entry.lasti,
        )
        for entry in bytecode.exception_entries  # type: ignore[attr-defined]  # missing in the stubs
    )
    parts = [_known((arguments, *counts, *locals_, handlers))]
    names: dict[str, None] = {}
    imports: dict[str, None] = {}
    attributes = set(code.co_names)
    for step in steps:
        kind = b"%d " % step.opcode
        constant = code.co_consts[step.arg] if step.opcode in dis.hasconst else None  # type: ignore[index]
        if isinstance(constant, types.CodeType):
            nested = _code(constant)
            parts.append(kind + nested.digest)
            names |= dict.fromkeys(nested.names)
            imports |= dict.fromkeys(nested.imports)
            attributes |= nested.attributes
        elif step.opcode in dis.hasconst:
            parts.append(kind + _known(constant))
        elif step.opcode in dis.hasname:
            parts.append(kind + _text(step.argval))
            if step.opname in GLOBAL_LOADS and (step.opname, step.argval) != ("LOAD_NAME", "__name__"):
                names[step.argval] = None
            elif step.opname == "IMPORT_NAME":
                imports[step.argval] = None
        elif step.opcode in JUMPS:
            parts.append(kind + _known(bisect.bisect_left(offsets, step.argval)))
        else:
            parts.append(kind + _known(step.arg))
    digest = hashlib.sha256(b"".join(parts)).digest()
    return _codes.setdefault(code, _Code(digest, tuple(names), tuple(imports), frozenset(attributes)))


class _Layout(NamedTuple):
    """Where the instances of a class keep their attributes.

    Attributes:
        attributes: Reads `__dict__`, whatever the class says that it is; None if it has none.
        slots: Names with descriptors.
        lazy: Names of cached properties.
    """

    attributes: Any
    slots: tuple[tuple[str, Any], ...]
    lazy: frozenset[str]

    def held(self, value: Any) -> dict[str, Any]:
        return self.attributes.__get__(value) if self.attributes else {}

    def slotted(self, value: Any) -> Iterable[tuple[str, Any]]:
        for name, slot in self.slots:
            try:
                yield name, slot.__get__(value)
            except AttributeError:  # it is empty
                continue


@functools.lru_cache(4096)
def _layout(cls: type) -> _Layout:
    held = [type.__getattribute__(base, "__dict__") for base in cls.__mro__]
    own = (each["__dict__"] for each in held if isinstance(each.get("__dict__"), types.GetSetDescriptorType))
    members = [(name, member) for each in held for name, member in each.items() if name not in METADATA]
    slots = tuple((name, slot) for name, slot in members if isinstance(slot, types.MemberDescriptorType))
    lazy = frozenset(name for name, member in members if type(member) is functools.cached_property)
    return _Layout(next(own, None), slots, lazy)


@functools.cache
def _library(module: str) -> str | None:
    """The version of the library that a module belongs to; None if it is not one that is keyed by name."""
    top = module.partition(".")[0]
    if top in ("torch", "numpy"):
        release: str = sys.modules[top].__version__
        return release
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    standard = os.path.dirname(os.__file__)  # noqa: PTH120 — as it stands, with no link followed
    return "" if top in sys.stdlib_module_names and (not file or file.startswith(standard)) else None


INSTALLED = frozenset({"site-packages", "dist-packages"})
"""What folders are called that packages are installed into, of an environment, a user or the system."""


@functools.cache
def _release(module: str) -> str | None:
    """What tells the version of the project, a library or another installed package; None for what is neither."""
    if is_own(module):
        return reach(module).digest
    release = _library(module)
    package = sys.modules.get(module.partition(".")[0])
    file = getattr(package, "__file__", None) or ""
    if release is None and INSTALLED.intersection(PurePath(file).parts):
        release = str(getattr(package, "__version__", ""))
    return release


def _library_name(value: Any) -> str | None:
    """The name and version of a class or function of a library, if that is where it is found: not of a local one."""
    module = value.__module__
    release = _library(module) if type(module) is str else None
    if release is None and type(module) is str and not (_is(value, type) and nn.Module in value.__mro__):
        release = _release(module) or None  # an installed package's networks are read, what they call has its version
    if release is None:
        return None
    if _is(value, type) and not value.__flags__ & HEAP_TYPE:
        return f"{module}.{value.__qualname__} {release}"
    names = (name for name in (value.__qualname__, value.__name__) if _found(module, name, value))
    return next((f"{module}.{name} {release}" for name in names), None)


HEAP_TYPE = 1 << 9
"""The flag of a class that was made at run time; the others are compiled in."""


def _found(module: str, name: str, value: Any) -> bool:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is value


def _is(value: Any, kind: type) -> bool:
    """`isinstance`, without asking the object, whose `__class__` may be code of its own."""
    return kind in type(value).__mro__


_LAYOUTS = {
    torch.sparse_coo: ("_indices", "_values"),
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
    torch.sparse_bsr: ("crow_indices", "col_indices", "values"),
    torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
    torch.sparse_bsc: ("ccol_indices", "row_indices", "values"),
}


def _values(tensor: Tensor) -> list[Any]:
    """The bytes of a tensor's values, and of what tells where they stand."""
    if tensor.is_meta:
        return []
    if tensor.is_quantized:
        held = [tensor.int_repr()]
        if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
            held.append(torch.tensor([tensor.q_scale(), tensor.q_zero_point()], dtype=torch.float64))
        else:
            held += [tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()]
            held.append(torch.tensor(tensor.q_per_channel_axis()))
        return [part for each in held for part in _values(each)]
    if tensor.layout in _LAYOUTS:
        return [part for name in _LAYOUTS[tensor.layout] for part in _values(getattr(tensor, name)())]
    plain = tensor.cpu().resolve_conj().resolve_neg().contiguous()
    return [plain.reshape(-1).view(torch.uint8).numpy()]


def _text(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    return b"s%d:%b" % (len(encoded), encoded)


def _named(value: Any) -> bytes:
    return b"n" + _text(repr(value))


_ATOMS: dict[type, Callable[[Any], bytes | None]] = {
    type(None): lambda value: b"N",
    type(...): lambda value: b"E",
    type(NotImplemented): lambda value: b"M",
    bool: lambda value: b"+" if value else b"-",
    int: lambda value: b"i%x;" % value,
    float: lambda value: b"f" + struct.pack("<d", value),
    complex: lambda value: b"c" + struct.pack("<dd", value.real, value.imag),
    str: _text,
    bytes: lambda value: b"b%d:%b" % (len(value), value),
    tuple: lambda value: _joined(b"t", [_atom(item) for item in value]),
    torch.Size: lambda value: _joined(b"z", [_atom(item) for item in value]),
    frozenset: lambda value: _joined(b"u", [_atom(item) for item in value], sort=True),
    range: lambda value: _joined(b"r", [_atom(item) for item in (value.start, value.stop, value.step)]),
    slice: lambda value: _joined(b"l", [_atom(item) for item in (value.start, value.stop, value.step)]),
    re.Pattern: lambda value: _joined(b"p", [_atom(value.pattern), _atom(value.flags)]),
    torch.dtype: _named,
    torch.device: _named,
    torch.layout: _named,
    torch.memory_format: _named,
}
"""How values are written that have no identity and hold nothing else; each says where it ends."""


def _joined(kind: bytes, atoms: list[bytes | None], sort: bool = False) -> bytes | None:
    known = [atom for atom in atoms if atom is not None]
    if len(known) < len(atoms):
        return None
    return b"%b%d:%b" % (kind, len(known), b"".join(sorted(known) if sort else known))


def _atom(value: Any) -> bytes | None:
    write = _ATOMS.get(type(value))
    return write(value) if write else None


def _known(value: Any) -> bytes:
    """A constant of a code object: they all are plain."""
    atom = _atom(value)
    if atom is None:
        raise TypeError(type(value))
    return atom


_tokens: dict[int, tuple[Any, bytes]] = {}


def _token(value: Any) -> bytes:
    """What stands for an object that nothing else does, as long as it lives."""
    key = id(value)
    if key not in _tokens:
        held: Any
        try:
            held = weakref.ref(value, lambda _: _tokens.pop(key, None))
        except TypeError:
            held = value  # for good, so that no other object gets its id
        _tokens[key] = held, uuid.uuid4().bytes
    return _tokens[key][1]


def _kind(value: Any) -> str:
    return type.__repr__(type(value))[len("<class '") : -len("'>")]


def _shown(path: _Path | None) -> str:
    parts: list[str] = []
    while path is not None:
        path, part = path
        parts.append(part)
    return "".join(reversed(parts)).removeprefix(".") or "itself"


def _descriptor(walk: _Walk, value: Any, path: _Path | None) -> None:
    walk.refs(path, value.__objclass__, value.__name__)


def _generator(walk: _Walk, value: torch.Generator, path: _Path | None) -> None:
    walk.refs(path, value.device, torch.Generator.get_state(value))


def _operator(walk: _Walk, value: Any, path: _Path | None) -> None:
    if not str(value).startswith(("aten.", "prim.", "prims.")):
        raise TypeError  # what others do is registered in torch's dispatcher, where no code is found
    walk.parts.append(_text(str(value)))


def _nothing(walk: _Walk, value: Any, path: _Path | None) -> None:
    pass


_SHARED = {
    id(value): (name, value)
    for name, value in (
        ("random", random.random.__self__),  # type: ignore[attr-defined]
        ("numpy.random", np.random.rand.__self__),  # type: ignore[attr-defined]
        ("torch.default_generator", torch.default_generator),
        ("os.environ", os.environ),
    )
}
"""What all code of a process shares, and what is another from moment to moment: known by its name."""

_HANDLERS: dict[type, Callable[[_Walk, Any, _Path | None], None]] = {
    nn.Module: _Walk.module,
    Tensor: _Walk.tensor,
    torch.Generator: _generator,
    np.ndarray: _Walk.array,
    np.generic: lambda walk, value, path: walk.refs(path, type(value), np.asarray(value)),
    dict: _Walk.mapping,
    types.MappingProxyType: _Walk.mapping,
    list: _Walk.sequence,
    tuple: _Walk.sequence,
    set: _Walk.unordered,
    frozenset: _Walk.unordered,
    type: _Walk.cls,
    types.FunctionType: _Walk.function,
    types.BuiltinFunctionType: _Walk.builtin,
    types.ModuleType: _Walk.namespace,
    _Used: _Walk.taken,
    types.CodeType: lambda walk, value, path: walk.parts.append(_code(value).digest),
    types.CellType: lambda walk, value, path: walk.reached("", value, _code(_nothing.__code__), path),
    types.MethodType: _Walk.state,
    types.MethodWrapperType: lambda walk, value, path: walk.refs(path, value.__self__, value.__name__),
    property: _Walk.state,
    staticmethod: _Walk.state,
    classmethod: _Walk.state,
    functools.cached_property: lambda walk, value, path: walk.state(value, path, {"lock"}),
    functools._lru_cache_wrapper: _Walk.state,
    torch._ops.OpOverload: _operator,
    torch._ops.OpOverloadPacket: _operator,
    types.MethodDescriptorType: _descriptor,
    types.WrapperDescriptorType: _descriptor,
    types.GetSetDescriptorType: _descriptor,
    types.MemberDescriptorType: _descriptor,
    types.ClassMethodDescriptorType: _descriptor,
    PurePath: lambda walk, value, path: walk.refs(path, type(value), PurePath.__str__(value)),
    weakref.ref: _nothing,
    weakref.ProxyType: _nothing,
    weakref.WeakSet: _nothing,
    weakref.WeakKeyDictionary: _nothing,
    weakref.WeakValueDictionary: _nothing,
    RemovableHandle: _nothing,
}
"""How objects of a class and of those derived from it are described, weak references and caches as nothing at all."""

_KINDS = {kind: b"%d=" % i for i, kind in enumerate(_HANDLERS)}
