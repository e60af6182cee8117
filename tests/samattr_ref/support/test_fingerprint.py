import copy
import dataclasses
import enum
import functools
import itertools
import os
import pathlib
import random
import re
import subprocess
import sys
import threading
import time
import types
import weakref
from collections import OrderedDict, defaultdict, deque

import numpy as np
import pytest
import torch
from torch import nn

from samattr_ref.network.models import MLP, ResNet9
from samattr_ref.support.fingerprint import fingerprint
from samattr_ref.support.seeds import seeded

SOURCE = """
import enum, functools, itertools, types
from dataclasses import dataclass
import torch
from torch import nn

RATE = 2.0
TABLE = {"a": [1.0]}

def deepest(x):
    return x * RATE

def helper(x, by=1.0, *, power=2):
    return deepest(x) + by ** power

def factory(width):
    def inner(x):
        return x + width
    return inner

def doubling(f):
    @functools.wraps(f)
    def wrapper(*args):
        return 2 * f(*args)
    return wrapper

class Kind(enum.Enum):
    SOFT = 1

@dataclass
class Settings:
    depth: int = 3
    names: tuple = ("a", "b")

class Base(nn.Module):
    LIMIT = 5

    def shift(self, x):
        try:
            return x + self.LIMIT
        except ValueError:
            return None

class Net(Base):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("mask", torch.ones(2))
        self.scale = 1.0
        self.settings, self.kind = Settings(), Kind.SOFT
        self.inner = types.SimpleNamespace(factors=[1.0, 2.0])
        self.act = lambda x: x + 1
        self.made = factory(4)
        self.part = functools.partial(helper, by=3.0)
        self.counter = itertools.count(7)

    @property
    def half(self):
        return self.scale / 2

    @staticmethod
    def still(x):
        return x - 1

    @doubling
    def forward(self, x):
        class Local:
            size = 6

        return helper(self.act(self.shift(self.layer(x)))) + len(TABLE["a"]) + sum(y * Local.size for y in [8.0])

net = Net()
"""


def made(source=SOURCE, file="<made>", **names):
    """The `net` that a source makes; nothing of it is in a module."""
    space = {"__name__": "made", **names}
    with seeded(0, "fingerprint"):
        exec(compile(source, file, "exec"), space)
    return space["net"]


def changed(old, new):
    assert SOURCE.count(old) == 1, f"{old!r} must stand in the source once"
    return made(SOURCE.replace(old, new))


def same(first, second):
    one, two = fingerprint(first), fingerprint(second)
    assert one.unkeyed == two.unkeyed == ()
    return one.digest == two.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RATE = 2.0", "RATE = 3.0"),
        ('"a": [1.0]', '"a": [1.0, 2.0]'),
        ("x * RATE", "x + RATE"),
        ("deepest(x) + by", "deepest(x) - by"),
        ("by=1.0, *", "by=1.5, *"),
        ("power=2", "power=3"),
        ("return x + width", "return x - width"),
        ("factory(4)", "factory(5)"),
        ("2 * f(*args)", "3 * f(*args)"),
        ("SOFT = 1", "SOFT = 2"),
        ("depth: int = 3", "depth: int = 4"),
        ('("a", "b")', '("b", "a")'),
        ("LIMIT = 5", "LIMIT = 6"),
        ("x + self.LIMIT", "x * self.LIMIT"),
        ("except ValueError", "except TypeError"),
        ("nn.Linear(2, 2)", "nn.Linear(2, 2, bias=False)"),
        ("nn.Linear(2, 2)", "nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))"),
        ('"mask", torch.ones(2)', '"mask", torch.zeros(2)'),
        ("self.scale = 1.0", "self.scale = 0.125"),
        ("self.scale = 1.0", "self.scale = 1"),
        ("[1.0, 2.0]", "[1.0, -2.0]"),
        ("lambda x: x + 1", "lambda x: x + 2"),
        ("by=3.0", "by=4.0"),
        ("itertools.count(7)", "itertools.count(8)"),
        ("self.scale / 2", "self.scale / 4"),
        ("x - 1", "x - 2"),
        ("    @doubling\n", ""),
        ("size = 6", "size = 7"),
        ("y * Local", "y + Local"),
        ("[8.0]", "[9.0]"),
        ("class Net(Base):", "class Net(Base):\n    def extra_repr(self): return ''\n"),
    ],
)
def test_a_change_of_what_a_network_holds_or_runs_changes_its_digest(old, new):
    assert not same(made(), changed(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RATE = 2.0", "\n\n# a rate\nRATE = 2.0\nUNUSED = 3"),
        ("return deepest(x)", '"""Help."""\n    return deepest(x)'),
        ("        try:", '        """Shift."""\n        # carefully\n        try:'),
        ("class Net(Base):", 'class Net(Base):\n    """A network."""\n'),
        ("            size = 6", '            """Local."""\n            size = 6'),
        ("    def inner(x):", '    def inner(x):\n        """Inner."""'),
        ("    LIMIT = 5\n", "    LIMIT: int = 5\n"),
        ("x + self.LIMIT", "(\n                x\n                + self.LIMIT\n            )"),
        ("import enum, functools", "import functools, enum"),
    ],
)
def test_layout_comments_docstrings_and_annotations_change_nothing(old, new):
    assert same(made(), changed(old, new))


HANDLER = "try:\n            a = 1\n        except ValueError:\n            a = 2"


@pytest.mark.parametrize(
    "source",
    [
        f"def net():\n    class Local:\n        a = 0\n        {HANDLER}\n    return Local",
        "def net(x):\n    a = 0\n    "
        + "; ".join(f"x += {i}.5" for i in range(300))
        + "\n    while x:\n        x -= 1",
    ],
    ids=["a handler in a class", "more constants than a byte counts"],
)
def test_docstrings_that_move_instructions_change_nothing(source):
    assert same(made(source), made(source.replace("a = 0", "'Help.'; a = 0")))


def test_two_builds_copies_and_code_of_another_file_are_equal():
    net = made()
    assert same(net, made())
    assert same(net, copy.deepcopy(net))
    assert same(net, made(file="elsewhere.py", __package__="other"))
    recipe = ResNet9(4)
    with seeded(1, "x"):
        first = recipe.build((3, 8, 8), 3)
    with seeded(1, "x"):
        second = recipe.build((3, 8, 8), 3)
    assert same(first, second)
    table = {"a": [1]}
    assert same(table, table.copy())


def test_a_digest_is_sixty_four_digits_and_equal_ones_are_equal_objects():
    assert re.fullmatch("[0-9a-f]{64}", fingerprint(made()).digest)
    assert fingerprint(made()) == fingerprint(made())


class Mul(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return x * self.scale


class Slotted(nn.Module):
    __slots__ = ("scale",)

    def __init__(self, scale):
        super().__init__()
        object.__setattr__(self, "scale", scale)


class Pair:
    def __init__(self, a, b):
        self.a, self.b = a, b


class Special(list):
    pass


class Many(dict):
    def items(self):
        raise AssertionError("a user's code was called")


class Flag(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Data:
    array: np.ndarray
    points: list
    nested: "Data | None" = None


def linear(weight=1.0, **settings):
    layer = nn.Linear(2, 2, **settings)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(weight)
    return layer


def attention(heads):
    module = nn.MultiheadAttention(4, heads)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0.5)
    return module


def with_(module, action):
    action(module)
    return module


def tied(shared):
    first = linear()
    return nn.Sequential(first, first if shared else linear())


def tied_weight(shared):
    module = nn.Sequential(linear(), linear())
    if shared:
        module[1].weight = module[0].weight
    return module


def doubled(module, args, output):
    return output * 2


def tripled(module, args, output):
    return output * 3


def halved(grad):
    return grad / 2


def counted(advanced):
    counter = itertools.count()
    for _ in range(advanced):
        next(counter)
    return counter


def generator(seed, draws=0):
    made = torch.Generator().manual_seed(seed)
    torch.rand(draws, generator=made)
    return made


def deep(n):
    held = []
    for _ in range(n):
        held = [held]
    return held


def from_module(body):
    helpers = types.ModuleType("helpers")
    exec(f"import math\ndef scale(x):\n    return {body}\ndef other(x):\n    return x", vars(helpers))
    return made("def net(x):\n    return helpers.scale(x)", helpers=helpers)


def from_inner_module(body):
    package = types.ModuleType("package")
    package.sub = types.ModuleType("package.sub")
    package.sub.package = package
    exec(f"def scale(x):\n    return {body}", vars(package.sub))
    return made("def net(x):\n    return package.sub.scale(x)", package=package)


def nested(expression, constant):
    """A function whose inner function does it all."""
    helpers = types.ModuleType("helpers")
    helpers.scale = helper = cell(constant)
    return made(f"def net(x):\n    return [(lambda: {expression})() for _ in x]", helpers=helpers, helper=helper)


def marked(mark):
    def function():
        return None

    function.mark = mark
    return function


def cell(value):
    def read():
        return value

    return read


NAN, OTHER_NAN = np.frombuffer(b"\0\0\0\0\0\0\xf8\x7f\1\0\0\0\0\0\xf8\x7f")

DIFFERENT = {
    "plain attribute": (lambda: Mul(1.0), lambda: Mul(0.125)),
    "slot of a module": (lambda: Slotted(1.0), lambda: Slotted(0.125)),
    "heads of attention": (lambda: attention(1), lambda: attention(4)),
    "training": (lambda: linear(), lambda: linear().eval()),
    "requires_grad": (lambda: linear(), lambda: with_(linear(), lambda m: m.weight.requires_grad_(False))),
    "frozen layer": (lambda: linear(), lambda: linear().requires_grad_(False)),
    "dtype": (lambda: linear(), lambda: linear().double()),
    "values": (lambda: linear(1.0), lambda: linear(2.0)),
    "class": (lambda: nn.Tanh(), lambda: nn.Sigmoid()),
    "buffer": (lambda: nn.BatchNorm1d(2), lambda: with_(nn.BatchNorm1d(2), lambda m: m.running_mean.add_(1))),
    "momentum": (lambda: nn.BatchNorm1d(2), lambda: nn.BatchNorm1d(2, momentum=0.5)),
    "shared layer": (lambda: tied(True), lambda: tied(False)),
    "shared weight": (lambda: tied_weight(True), lambda: tied_weight(False)),
    "order of layers": (lambda: nn.Sequential(nn.Tanh(), nn.GELU()), lambda: nn.Sequential(nn.GELU(), nn.Tanh())),
    "hook": (lambda: linear(), lambda: with_(linear(), lambda m: m.register_forward_hook(doubled))),
    "which hook": (
        lambda: with_(linear(), lambda m: m.register_forward_hook(doubled)),
        lambda: with_(linear(), lambda m: m.register_forward_hook(tripled)),
    ),
    "always called": (
        lambda: with_(linear(), lambda m: m.register_forward_hook(doubled)),
        lambda: with_(linear(), lambda m: m.register_forward_hook(doubled, always_call=True)),
    ),
    "pre-hook": (lambda: linear(), lambda: with_(linear(), lambda m: m.register_forward_pre_hook(doubled))),
    "backward hook": (lambda: linear(), lambda: with_(linear(), lambda m: m.register_full_backward_hook(doubled))),
    "tensor's hook": (lambda: linear(), lambda: with_(linear(), lambda m: m.weight.register_hook(halved))),
    "overridden forward": (lambda: linear(), lambda: with_(linear(), lambda m: setattr(m, "forward", len))),
    "bound method's object": (lambda: Mul(1.0).forward, lambda: Mul(2.0).forward),
    "item of a nested list": (lambda: Mul([[1], [2]]), lambda: Mul([[1], [3]])),
    "nested object": (lambda: Mul(Pair(1, Pair(2, 3))), lambda: Mul(Pair(1, Pair(2, 4)))),
    "module's function": (lambda: from_module("x * 2"), lambda: from_module("x * 3")),
    "module's library function": (lambda: from_module("math.sin(x)"), lambda: from_module("math.cos(x)")),
    "inner module's function": (lambda: from_inner_module("x * 2"), lambda: from_inner_module("x * 3")),
    "closure": (lambda: cell(1), lambda: cell(2)),
    "counter": (lambda: counted(0), lambda: counted(1)),
    "generator's seed": (lambda: generator(0), lambda: generator(1)),
    "generator's state": (lambda: generator(0), lambda: generator(0, draws=3)),
    "NumPy's generator": (lambda: np.random.default_rng(0), lambda: np.random.default_rng(1)),
    "Python's generator": (lambda: random.Random(0), lambda: random.Random(1)),
    "sign of zero": (lambda: 0.0, lambda: -0.0),
    "payload of NaN": (lambda: np.array(NAN), lambda: np.array(OTHER_NAN)),
    "bool and int": (lambda: True, lambda: 1),
    "int and float": (lambda: 1, lambda: 1.0),
    "text and bytes": (lambda: "a", lambda: b"a"),
    "big integers": (lambda: 10**5000, lambda: 10**5000 + 1),
    "where items end": (lambda: ["ab", "c"], lambda: ["a", "bc"]),
    "nesting": (lambda: [[1], 2], lambda: [[1, 2]]),
    "list and tuple": (lambda: [1], lambda: (1,)),
    "order of a dict": (lambda: {1: 0, 2: 0}, lambda: {2: 0, 1: 0}),
    "order moved": (
        lambda: with_(OrderedDict(a=1, b=2), lambda d: d.move_to_end("a")),
        lambda: OrderedDict(a=1, b=2),
    ),
    "default of a dict": (lambda: defaultdict(int), lambda: defaultdict(list)),
    "subclass": (lambda: [1], lambda: Special([1])),
    "attribute of a list": (lambda: Special([1]), lambda: with_(Special([1]), lambda x: setattr(x, "scale", 2))),
    "set": (lambda: {1, 2}, lambda: {1, 3}),
    "set of tuples": (lambda: {(1, "a")}, lambda: {(1, "b")}),
    "shared list": (lambda: (lambda x: [x, x])([1]), lambda: [[1], [1]]),
    "enum": (lambda: Flag.A, lambda: Flag.B),
    "slice": (lambda: slice(1, 2), lambda: slice(1, 3)),
    "range": (lambda: range(2), lambda: range(3)),
    "device": (lambda: torch.device("cpu"), lambda: torch.device("meta")),
    "dtype object": (lambda: torch.float32, lambda: torch.float64),
    "path": (lambda: pathlib.Path("a"), lambda: pathlib.Path("b")),
    "pattern": (lambda: re.compile("a"), lambda: re.compile("a", re.IGNORECASE)),
    "partial": (lambda: functools.partial(max, 1), lambda: functools.partial(max, 2)),
    "cached function": (lambda: functools.cache(cell(1)), lambda: functools.cache(cell(2))),
    "deque": (lambda: deque([1], 2), lambda: deque([1], 3)),
    "array": (lambda: np.array([1, 2]), lambda: np.array([1, 3])),
    "array's dtype": (lambda: np.zeros(1, np.int32), lambda: np.zeros(1, np.float32)),
    "array's shape": (lambda: np.zeros((2, 1)), lambda: np.zeros((1, 2))),
    "array of objects": (lambda: np.array([1, None], object), lambda: np.array([2, None], object)),
    "texts of an array": (lambda: np.array(["a", "bc"]), lambda: np.array(["a", "bd"])),
    "sparse values": (lambda: torch.eye(2).to_sparse(), lambda: (2 * torch.eye(2)).to_sparse()),
    "sparse places": (lambda: torch.eye(2).to_sparse(), lambda: torch.eye(2).flip(0).to_sparse()),
    "sparse rows": (lambda: torch.eye(2).to_sparse_csr(), lambda: torch.eye(2).flip(0).to_sparse_csr()),
    "sparse or not": (lambda: torch.eye(2), lambda: torch.eye(2).to_sparse()),
    "bfloat16": (lambda: torch.ones(1).bfloat16(), lambda: 2 * torch.ones(1).bfloat16()),
    "conjugate": (lambda: torch.tensor([1j]), lambda: torch.tensor([1j]).conj()),
    "no dimensions": (lambda: torch.tensor(1.0), lambda: torch.tensor([1.0])),
    "no storage": (lambda: torch.empty(1, device="meta"), lambda: torch.empty(2, device="meta")),
    "quantised": (
        lambda: torch.quantize_per_tensor(torch.zeros(1), 0.1, 0, torch.qint8),
        lambda: torch.quantize_per_tensor(torch.zeros(1), 0.2, 0, torch.qint8),
    ),
    "quantised by channel": (
        lambda: torch.quantize_per_channel(torch.ones(2, 2), torch.ones(2), torch.zeros(2), 0, torch.qint8),
        lambda: torch.quantize_per_channel(torch.ones(2, 2), torch.ones(2), torch.zeros(2), 1, torch.qint8),
    ),
    "same bytes": (lambda: torch.ones(1, dtype=torch.int8), lambda: torch.ones(1, dtype=torch.uint8)),
    "attribute of a function": (lambda: marked(1), lambda: marked(2)),
    "what inner code reaches": (lambda: nested("helpers.scale", 1), lambda: nested("helpers.scale", 2)),
    "what inner code names": (lambda: nested("helper", 1), lambda: nested("helper", 2)),
    "what is taken by a computed name": (
        lambda: nested("getattr(helpers, 'sca' + 'le')", 1),
        lambda: nested("getattr(helpers, 'sca' + 'le')", 2),
    ),
    "array of a data class": (lambda: Data(np.ones(2), [1]), lambda: Data(np.zeros(2), [1])),
    "list of a data class": (lambda: Data(np.ones(2), [1]), lambda: Data(np.ones(2), [2])),
    "nested data class": (lambda: Data(1, [], Data(1, [])), lambda: Data(1, [], Data(2, []))),
    "depth": (lambda: deep(3000), lambda: deep(3001)),
}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(("first", "second"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_differs_has_another_digest_and_what_is_made_anew_has_the_same(first, second):
    assert same(first(), first())
    assert same(second(), second())
    assert not same(first(), second())


def test_what_code_reaches_is_read_anew_each_time():
    state = {"rate": 1.0, "helper": lambda x: x, "limit": [1]}
    source = "class Net:\n    def f(self):\n        return helper(rate) + len(limit)\nnet = Net()"
    space = {"__name__": "made", **state}
    exec(source, space)
    seen = [fingerprint(space["net"]).digest]
    for change in (
        lambda: space.update(rate=2.0),
        lambda: space.update(helper=lambda x: -x),
        lambda: space["limit"].append(1),
        lambda: setattr(space["Net"], "constant", 1),
        lambda: setattr(space["Net"], "f", lambda self: 3),
    ):
        change()
        seen.append(fingerprint(space["net"]).digest)
    assert len(set(seen)) == len(seen)


def test_a_closure_is_read_anew():
    total = 0

    def count():
        nonlocal total
        total += 1

    before = fingerprint(count)
    count()
    assert fingerprint(count).digest != before.digest


@pytest.mark.parametrize(
    "statement",
    [
        "import package.helped",
        "from package import helped",
        "from package.helped import scale",
        "from .helped import scale",
        "from . import helped",
        "from ..helped import scale",
        "def inner():\n        import package.helped",
    ],
)
def test_what_a_function_imports_itself_counts(monkeypatch, statement):
    digests = []
    for body in ("x * 2", "x * 3"):
        package, helped = types.ModuleType("package"), types.ModuleType("package.helped")
        exec(f"def scale(x):\n    return {body}", vars(helped))
        package.helped = helped
        monkeypatch.setitem(sys.modules, "package", package)
        monkeypatch.setitem(sys.modules, "package.helped", helped)
        inside = "package.inner" if ".." in statement else "package"
        source = f"def net(x):\n    {statement}\n    return scale(x) if x else helped.scale(x)"
        digests.append(fingerprint(made(source, __package__=inside)).digest)
    assert digests[0] != digests[1]


def test_of_a_module_only_what_is_taken_from_it_counts():
    def taking(**names):
        helpers = types.ModuleType("helpers")
        vars(helpers).update(names)
        return made("def net(x):\n    return helpers.scale(x)", helpers=helpers)

    assert same(taking(scale=len, other=1), taking(scale=len, other=2))
    assert not same(taking(scale=len), taking(scale=max))


def test_a_module_that_is_held_counts_as_a_whole():
    def holding(value):
        helpers = types.ModuleType("helpers")
        helpers.value = value
        return Mul(helpers)

    assert not same(holding(1), holding(2))


def test_a_class_of_the_same_name_with_another_body_differs():
    first = made("class Net:\n    def f(self): return 1\nnet = Net()")
    second = made("class Net:\n    def f(self): return 2\nnet = Net()")
    assert not same(first, second)


def test_cached_properties_and_weak_references_and_handles_do_not_count():
    class Lazy:
        @functools.cached_property
        def size(self):
            return 3

    lazy = Lazy()
    before = fingerprint(lazy)
    assert lazy.size == 3
    assert fingerprint(lazy) == before

    held = linear()
    assert same(Mul(weakref.ref(held)), Mul(weakref.ref(Pair(1, 2))))

    def handled():
        layer = linear()
        layer.handle = layer.register_forward_hook(doubled)  # which has a number that no other one has
        return layer

    assert same(handled(), handled())


def test_flags_that_are_joined_later_do_not_count():
    before = fingerprint(Flag.A)
    assert fingerprint(Flag.A | Flag.B) != before
    assert fingerprint(Flag.A) == before


def test_cycles_end():
    def cyclic(value):
        a, b = Pair(value, None), []
        a.b = b
        b.extend([a, b])
        a.own = {"a": a}
        return a

    assert same(cyclic(1), cyclic(1))
    assert not same(cyclic(1), cyclic(2))
    layer = linear()
    layer.__dict__["itself"] = layer
    layer.hooked = lambda x: layer(x)
    assert fingerprint(layer).unkeyed == ()
    held = Pair(1, None)
    held.b = {held}
    assert fingerprint(held).unkeyed == ()


def test_copies_of_a_recurrent_network_are_equal_though_their_attributes_are_in_another_order():
    with seeded(0, "x"):
        first = nn.LSTM(2, 3, 2)
    assert same(first, copy.deepcopy(first))


def running():
    yield 1


class Refuses:
    def __reduce_ex__(self, protocol):
        raise ValueError("not to be copied")


class Endless:
    def __reduce__(self):
        return Endless, (Endless(),)


class Properties:
    @property
    def broken(self):
        raise ValueError

    def __getattr__(self, name):
        raise ZeroDivisionError(name)


class Liar:
    @property
    def __class__(self):
        raise ZeroDivisionError

    def __eq__(self, other):
        raise ZeroDivisionError

    def __hash__(self):
        raise ZeroDivisionError

    def __repr__(self):
        raise ZeroDivisionError

    def __len__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (threading.Lock, "_thread.lock"),
        (running, "generator"),
        (pathlib.Path(__file__).open, "_io.TextIOWrapper"),
        (Refuses, f"{__name__}.Refuses"),
        (lambda: memoryview(b"a"), "memoryview"),
    ],
    ids=["lock", "generator", "file", "refusing", "memoryview"],
)
def test_what_no_value_stands_for_is_listed_and_itself_alone(make, kind):
    one, two = make(), make()
    net = nn.Sequential(OrderedDict(encoder=Mul(one)))
    first = fingerprint(net)
    assert first.unkeyed == (f"encoder.scale: a {kind}",)
    assert fingerprint(net) == first
    assert fingerprint(nn.Sequential(OrderedDict(encoder=Mul(two)))).digest != first.digest
    assert fingerprint(one).unkeyed == (f"itself: a {kind}",)
    for held in (one, two):
        getattr(held, "close", lambda: None)()


def test_paths_say_how_a_part_was_reached():
    lock = threading.Lock()
    net = made(
        "def helper():\n    return lock\nclass Net:\n    def f(self):\n        return helper()\nnet = Net()", lock=lock
    )
    assert fingerprint(Pair({"x": [net]}, lock)).unkeyed == ("b: a _thread.lock",)
    assert fingerprint({"x": [net]}).unkeyed == ("['x'][0].f.helper.lock: a _thread.lock",)


def test_objects_that_raise_are_no_harm():
    endless = fingerprint(Endless())
    assert len(endless.unkeyed) == 1
    assert fingerprint(Properties()).unkeyed == ()
    assert fingerprint([Liar(), {"a": Liar()}]).unkeyed == ()
    assert fingerprint(Many(a=1)) == fingerprint(Many(a=1))
    nested = ()
    for _ in range(5000):
        nested = (nested,)
    assert fingerprint(nested).unkeyed == ("itself: a tuple",)


def test_nothing_is_changed_and_no_memory_kept():
    net = made()
    state = {name: id(value) for name, value in vars(net).items()}
    lock = threading.Lock()
    gone = weakref.ref(lock)
    fingerprint([net, lock])
    assert {name: id(value) for name, value in vars(net).items()} == state
    assert next(net.counter) == 7
    del lock
    assert gone() is None


def test_the_shared_generators_count_by_name():
    source = "def net():\n    return uniform() + rand(1) + len(environ)"
    names = {"uniform": random.random, "rand": np.random.rand, "environ": os.environ}
    before = fingerprint(made(source, **names))
    random.random()
    names["rand"](1)
    assert fingerprint(made(source, **names)) == before
    assert before.unkeyed == ()


SCRIPT = """
import sys
import torch
from tests.samattr_ref.support.test_fingerprint import DIFFERENT, linear, made, doubled, with_
from samattr_ref.support.fingerprint import fingerprint

for _ in range(int(sys.argv[1])):
    linear().register_forward_hook(doubled)
hooked = with_(linear(), lambda m: m.register_forward_hook(doubled))
texts = {"some", "texts", "in", "a", "set"}
net = made(f"class Net:\\n    texts = {texts}\\n    def f(self, x): return x in {texts}\\nnet = Net()")
values = [first() for first, _ in DIFFERENT.values()]
print(fingerprint([hooked, net, texts, frozenset(texts), {linear, doubled}, made(), *values]))
"""


@pytest.mark.slow
def test_digests_are_the_same_in_every_process():
    said = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SCRIPT, seed],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert "unkeyed=()" in said.pop()


@pytest.mark.timing
@pytest.mark.parametrize(
    ("recipe", "shape", "seconds"),
    [(MLP((32,)), (1, 8, 8), 0.001), (ResNet9(64), (3, 32, 32), 0.1)],
    ids=["mlp", "resnet9"],
)
def test_a_network_is_fingerprinted_quickly(recipe, shape, seconds):
    net = recipe.build(shape, 10)
    fingerprint(net)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        fingerprint(net)
        times.append(time.perf_counter() - start)
    assert min(times) < seconds
