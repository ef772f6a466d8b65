"""Pictures of modules, and what differs between two of them: each kind of object that Python has."""

from __future__ import annotations

import enum
import textwrap

import pytest

from pictures import find_differences, picture_of
from underway_runtime.release import code_tree

ANNOTATION = "code .f<annotate>" if code_tree.IS_LAZY else "name .f<annotation a>"

SAME = """
import abc, collections, dataclasses, enum, functools, re, threading, types, weakref
class Kind(enum.Enum):
    A = 1
    B = "b"
class Base(abc.ABC):
    @abc.abstractmethod
    def run(self): ...
Base.register(dict)
@dataclasses.dataclass
class Item:
    name: str = "x"
    tags: list = dataclasses.field(default_factory=list)
class Slotted:
    __slots__ = ("a", "__b")
    def __init__(self): self.a, self.__b = 1, 2
class Row(collections.namedtuple("Row", "x y")): pass
class Meta(type):
    def __eq__(self, other): raise RuntimeError
    def __hash__(self): return 1
class Made(metaclass=Meta): pass
@functools.singledispatch
def show(value): return 1
@show.register
def _(value: int): return 2
@functools.lru_cache(maxsize=10)
def cached(a): return a
def outer(n):
    def inner(m=n): return n + m
    return inner
LOCK, LOCAL, PATTERN = threading.RLock(), threading.local(), re.compile("a+")
ITEMS, ROW, SLOTTED, INNER = [Item(), Item("y")], Row(1, 2), Slotted(), outer(3)
BOUND, PART, WEAK = SLOTTED.__init__, functools.partial(outer, n=2), weakref.ref(ITEMS[0])
VIEW, SPACE, QUEUE = types.MappingProxyType({"a": 1}), types.SimpleNamespace(a=1), collections.deque([1, 2], 5)
TABLE = {Kind.A: outer, Item: 1, (1, "a"): 2, ITEMS[0].__class__: 3}
SETS = {"a", 1, Kind.B, Item, outer, frozenset({1, 2})}
SELF = []
SELF.append(SELF)
"""


def test_a_module_is_as_itself() -> None:
    """Two imports of one text are the same, whatever objects it makes, and none of them is opaque."""
    assert find_differences(SAME, SAME) == []


CHANGES = {
    "a value": ("A = 1", "A = 2", ["value .A"]),
    "a value of another type that is equal": ("A = 1", "A = True", ["type .A"]),
    "zero and minus zero": ("A = 0.0", "A = -0.0", ["value .A"]),
    "a name more": ("A = 1", "A = 1; B = 2", ["added .B"]),
    "a name less": ("A = 1; B = 2", "A = 1", ["removed .B"]),
    "a value of a dict": ("A = {'a': 1, 'b': 2}", "A = {'a': 1, 'b': 3}", ["value .A['b']"]),
    "an order of a dict": ("A = {'a': 1, 'b': 2}", "A = {'b': 2, 'a': 1}", ["order .A"]),
    "an element in the middle of a list": ("A = ['x', 'y']", "A = ['x', 'z', 'y']", ["added .A[1]"]),
    "an element of a list that is made once more, and stands last": (
        "class A:\n def __init__(self, **of): self.__dict__ = of\nX = [A(a=1, b=1), A(a=2, b=2)]",
        "class A:\n def __init__(self, **of): self.__dict__ = of\nX = [A(a=2, b=2), A(a=1, b=3)]",
        ["added .X[1]", "removed .X[0]"],
    ),
    "an element of a list that has moved past others, one of which is another": (
        "class A:\n def __init__(self, **of): self.__dict__ = of\nX = [A(a=1), A(a=2), A(a=3)]",
        "class A:\n def __init__(self, **of): self.__dict__ = of\nX = [A(a=3), A(a=2)]",
        ["removed .X[0]", "removed .X[2]", "added .X[0]"],
    ),
    "an element of a tuple less": ("A = ('x', 'y', 'z')", "A = ('x', 'z')", ["removed .A[1]"]),
    "an element of a set": ("A = {'x', 'y'}", "A = {'x', 'z'}", ["removed .A{'y'}", "added .A{'z'}"]),
    "an element of a frozenset": ("A = frozenset('x')", "A = frozenset('xy')", ["added .A{'y'}"]),
    "the code of a function": ("def f(): return 1", "def f(): return 2", ["code .f"]),
    "nothing but lines": ("def f(): return 1", "\n\ndef f():\n    return 1", []),
    "a default": ("def f(a=1): return a", "def f(a=2): return a", ["value .f<default 0>"]),
    "a keyword default": ("def f(*, a=1): return a", "def f(*, a=2): return a", ["value .f<kwdefault a>"]),
    "an annotation": (
        "def f(a: int): ...",
        "def f(a: str): ...",
        [ANNOTATION],
    ),
    "an attribute of a function": ("def f(): ...\nf.a = 1", "def f(): ...\nf.a = 2", ["value .f.a"]),
    "a variable of a closure": (
        "def m(n): return lambda: n\nF = m(1)",
        "def m(n): return lambda: n\nF = m(2)",
        ["value .F<cell n><contents>"],
    ),
    "an attribute of an instance": (
        "class A: ...\nX = A(); X.a = 1",
        "class A: ...\nX = A(); X.a = 2",
        ["value .X.a"],
    ),
    "a slot's value": (
        "class A: __slots__ = ('a', 'b')\nX = A(); X.a = 1",
        "class A: __slots__ = ('a', 'b')\nX = A(); X.a = 2",
        ["value .X.a"],
    ),
    "a base": (
        "class A: ...\nclass B: ...\nclass C(A): ...",
        "class A: ...\nclass B: ...\nclass C(B): ...",
        ["bases .C<base 0>"],
    ),
    "a base more": ("class A: ...\nclass C: ...", "class A: ...\nclass C(A): ...", ["bases .C<base 0>"]),
    "a slot more": (
        "class A: __slots__ = ('a',)",
        "class A: __slots__ = ('a', 'b')",
        ["added .A.b", "slots .A.__slots__[1]"],
    ),
    "a class that only an instance leads to": (
        "def make():\n class A:\n  def f(self): return 1\n return A()\nX = make()",
        "def make():\n class A:\n  def f(self): return 2\n return A()\nX = make()",
        ["code .make", "code .X<class>.f"],
    ),
    "a method of a metaclass that a class leads to": (
        "def make():\n class M(type):\n  def f(cls): return 1\n return M('A', (), {})\nX = make()",
        "def make():\n class M(type):\n  def f(cls): return 2\n return M('A', (), {})\nX = make()",
        ["code .make", "code .X<class>.f"],
    ),
    "an instance of another class of that name": (
        "class A: ...\nB = A; X = A()",
        "class A: ...\nB = A\nclass A: ...\nX = A()",
        ["alias .B"],
    ),
    "a metaclass": (
        "class M(type): ...\nclass A: ...",
        "class M(type): ...\nclass A(metaclass=M): ...",
        ["type .A"],
    ),
    "the names of the module, in another order": ("N = locals()\nA = [1]\nB = 2", "N = locals()\nB = 2\nA = [1]", []),
    "a name among them": ("N = locals()\nA = [1]", "N = locals()\nA = [2]", ["value .A[0]"]),
    "a method": ("class A:\n def f(self): return 1", "class A:\n def f(self): return 2", ["code .A.f"]),
    "a property's getter": (
        "class A:\n @property\n def f(self): return 1",
        "class A:\n @property\n def f(self): return 2",
        ["code .A.f<fget>"],
    ),
    "a static method": (
        "class A:\n @staticmethod\n def f(): return 1",
        "class A:\n @staticmethod\n def f(): return 2",
        ["code .A.f<function>"],
    ),
    "a function under two names that are two in the other": (
        "def f(): return 1\ng = f",
        "def f(): return 1\ng = f.__class__(f.__code__, globals(), 'f')",
        ["alias .g"],
    ),
    "two lists that are one": ("A = []; B = []", "A = B = []", ["alias .B"]),
    "an element that is exactly one further on, and not the one in its place": (
        "class R:\n def __init__(s, f): s.f = f\nL = [R(lambda: 1), R(len), R(lambda: 2)]",
        "class R:\n def __init__(s, f): s.f = f\nL = [R(lambda: 2), R(len)]",
        ["added .L[0]", "removed .L[0]", "removed .L[2]"],
    ),
    "what copyreg keeps of a class": (
        "class A: x = 1",
        "import copyreg\nclass A: x = 1\ncopyreg._slotnames(A)",
        ["added .copyreg"],
    ),
    "one list that is two": ("A = B = []", "A = []; B = []", ["alias .B"]),
    "equal tuples that are one": ("A = (1, 'x'); B = tuple([1, 'x'])", "A = B = (1, 'x')", []),
    "a key that is a class": (
        "class A: ...\nclass B: ...\nT = {A: 1, B: 2}",
        "class A: ...\nclass B: ...\nT = {A: 1, B: 3}",
        ["value .T[class seen_shop.B]"],
    ),
    "a key that is a frozenset": (
        "T = {frozenset({'a', 'b'}): 1, frozenset({'c'}): 2}",
        "T = {frozenset({'b', 'a'}): 1, frozenset({'c'}): 3}",
        ["value .T[frozenset('c')]"],
    ),
    "a partial": (
        "import functools\nP = functools.partial(print, 1, end='')",
        "import functools\nP = functools.partial(print, 2, end='')",
        ["value .P<args>[0]"],
    ),
    "a pattern": ("import re\nP = re.compile('a')", "import re\nP = re.compile('b')", ["value .P<pattern>"]),
    "a generator of numbers": (
        "import random\nP = random.Random(1)",
        "import random\nP = random.Random(2)",
        ["value .P"],
    ),
    "flags of a pattern": ("import re\nP = re.compile('a')", "import re\nP = re.compile('a', 2)", ["value .P<flags>"]),
    "a bound method": (
        "class A:\n def f(self): ...\n def g(self): ...\nX = A()\nB = X.f",
        "class A:\n def f(self): ...\n def g(self): ...\nX = A()\nB = X.g",
        ["name .B<func>"],
    ),
    "what a weak reference leads to": (
        "import weakref\nclass A: ...\nX = A(); X.a = 1\nW = weakref.ref(X)",
        "import weakref\nclass A: ...\nX = A(); Y = A(); X.a = 1\nW = weakref.ref(Y)",
        ["added .Y", "alias .W<referent>", "removed .W<referent>.a"],
    ),
    "a module's __getattr__": (
        "def __getattr__(name): return 1",
        "def __getattr__(name): return 2",
        ["code .__getattr__"],
    ),
    "a registry of a single dispatch": (
        "import functools\n@functools.singledispatch\ndef f(a): ...",
        "import functools\n@functools.singledispatch\ndef f(a): ...\n@f.register(int)\ndef g(a): ...",
        ["added .g", "added .f.registry<mapping>[class builtins.int]"],
    ),
    "a virtual subclass": (
        "import abc\nclass A(abc.ABC): ...\nclass B: ...",
        "import abc\nclass A(abc.ABC): ...\nclass B: ...\nA.register(B)",
        ["added .A<registered>{class seen_shop.B}"],
    ),
    "a member of an enum": (
        "import enum\nclass E(enum.Enum):\n A = 1",
        "import enum\nclass E(enum.Enum):\n A = 1\n B = 2",
        [
            "added .E._member_names_[1]",
            *(["added .E._hashable_values_[1]"] if hasattr(enum.Flag, "_hashable_values_") else []),
            "added .E._member_map_['B']",
            "added .E._value2member_map_[2]",
            "added .E.B",
        ],
    ),
    "a length of a queue": (
        "import collections\nQ = collections.deque([1], 2)",
        "import collections\nQ = collections.deque([1], 3)",
        ["value .Q<maxlen>"],
    ),
    "a factory of a default dict": (
        "import collections\nD = collections.defaultdict(list)",
        "import collections\nD = collections.defaultdict(set)",
        ["name .D.default_factory"],
    ),
    "an order of an ordered dict": (
        "import collections\nD = collections.OrderedDict(a=1, b=2)",
        "import collections\nD = collections.OrderedDict(a=1, b=2); D.move_to_end('a')",
        ["order .D"],
    ),
    "a subclass of str": (
        "class S(str): ...\nX = S('a')",
        "class S(str): ...\nX = S('b')",
        ["value .X"],
    ),
    "a size of a cache": (
        "import functools\n@functools.lru_cache(1)\ndef f(): ...",
        "import functools\n@functools.lru_cache(2)\ndef f(): ...",
        ["value .f<size>"],
    ),
    "an argument of an exception": ("E = KeyError('a')", "E = KeyError('b')", ["value .E<args>[0]"]),
    "a time": (
        "import datetime\nT = datetime.datetime(2020, 1, 1)",
        "import datetime\nT = datetime.datetime(2020, 1, 2)",
        ["value .T"],
    ),
    "a path": (
        "import pathlib\nP = pathlib.Path('a')",
        "import pathlib\nP = pathlib.Path('b')",
        ["value .P<text>"],
    ),
    "a default of a context variable": (
        "import contextvars\nV = contextvars.ContextVar('v', default=1)",
        "import contextvars\nV = contextvars.ContextVar('v', default=2)",
        ["value .V<default>"],
    ),
    "an attribute of a thread's own": (
        "import threading\nL = threading.local()",
        "import threading\nL = threading.local()\nL.a = 1",
        ["added .L.a"],
    ),
}


@pytest.mark.parametrize(("before", "after", "expected"), CHANGES.values(), ids=CHANGES)
@pytest.mark.in_place
def test_each_kind_of_change_has_its_path(before: str, after: str, expected: list[str]) -> None:
    """A change is told by its kind and by the path that one would write."""
    assert sorted(find_differences(before, after)) == sorted(expected)


def test_a_field_of_a_dataclass_is_seen_wherever_it_is() -> None:
    """A field that a dataclass gets is in its signature, its fields and its generated methods."""
    one = "import dataclasses\n@dataclasses.dataclass\nclass A:\n    a: int = 1\n"

    differences = find_differences(one, f"{one}    b: int = 2\n")

    assert "added .A.b" in differences
    assert "added .A.__dataclass_fields__['b']" in differences
    assert "code .A.__init__" in differences


OPAQUE = {
    "a hash": ("import hashlib\nX = hashlib.sha256(b'a')", "opaque .X"),
    "a generator": ("def f():\n yield 1\nX = f()", "opaque .X"),
    "an iterator": ("X = iter([1])", "opaque .X"),
    "an instance of a subclass": ("import zlib\nX = {'a': [zlib.compressobj()]}", "opaque .X['a'][0]"),
}


@pytest.mark.parametrize(("source", "expected"), OPAQUE.values(), ids=OPAQUE)
def test_what_can_not_be_seen_is_named(source: str, expected: str) -> None:
    """An object that has state in C and no rule is opaque, by its type: never taken for the same in silence."""
    assert find_differences(source, source) == [expected]


HOSTILE = """
def refuse(*_, **__): raise RuntimeError("asked")
class Meta(type):
    __eq__ = __ne__ = __hash__ = __repr__ = __str__ = __call__ = __instancecheck__ = __subclasscheck__ = refuse
    __getattr__ = __bool__ = __len__ = __iter__ = __contains__ = __dir__ = refuse
    def __getattribute__(self, name): raise RuntimeError(f"asked for {name}")
class Hostile(metaclass=Meta):
    __eq__ = __ne__ = __hash__ = __repr__ = __str__ = __bool__ = __len__ = __iter__ = __getitem__ = __contains__ = refuse
    __getattr__ = __getattribute__ = __call__ = __dir__ = __reduce__ = __reduce_ex__ = __format__ = __get__ = refuse
    __class__ = property(refuse)
    a = property(refuse)
def hostile(base):
    members = {name: refuse for name in ("__eq__", "__hash__", "__repr__", "__str__", "__iter__", "__len__", "__bool__",
        "__getattribute__", "__getattr__", "items", "keys", "values", "get", "__getitem__", "__contains__")}
    return type.__new__(type, f"Hostile{base.__name__}", (base,), members)
import collections, functools, pathlib, threading
X = object.__new__(Hostile)
KINDS = [hostile(kind) for kind in (str, bytes, int, float, dict, list, tuple, set, frozenset, collections.deque,
    collections.OrderedDict, Exception, functools.partial)]
ALL = [kind.__new__(kind, *([refuse] if kind.__base__ is functools.partial else [])) for kind in KINDS]
"""


def test_none_of_the_code_of_objects_runs() -> None:
    """Objects that raise whatever they are asked, and whatever their classes are asked, are walked like others."""
    assert find_differences(HOSTILE, HOSTILE) == []


def test_a_picture_knows_its_paths() -> None:
    """A node is found by its path, and has the shortest of them."""
    picture = picture_of(textwrap.dedent("class A:\n    def f(self): return 1\nX = {'a': [A, A.f]}"))
    number = picture.at(("seen_shop", ".X", "['a']", "[1]"))

    assert number is not None
    assert picture.nodes[number].name == "seen_shop:A.f"
    assert str(picture.paths([number])[number]) == "seen_shop.A.f"


TAKEN = """
class Route:
    def __init__(self, call): self.call = call
def handler(): return 1
taken = [Route(handler)]
"""


def test_a_function_in_whose_place_stands_another_is_not_taken_for_it() -> None:
    """What was made with the one before has gone from a row, and what was made with the one that stands there has stayed or come."""
    again = f"{TAKEN}def handler(): return 1\ntaken.append(Route(handler))\n"
    assert find_differences(again, TAKEN) == ["removed .taken[0]"]
