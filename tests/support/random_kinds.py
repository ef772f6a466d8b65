"""The kinds of edits that are made by chance, by name: see `random_edits`."""

from __future__ import annotations

import ast
import builtins
import re
import symtable
from collections.abc import Iterator

from random_edits import Draw, Function, Kind, NothingSuits, Source, another, blocks, constants_in, is_text

KINDS: dict[str, Kind] = {}

DECORATOR = """\
def _noted(function):
    import functools
    @functools.wraps(function)
    def noted(*args, **keywords):
        return function(*args, **keywords)
    return noted

"""
COMPARED = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not", ast.IsNot: "is",
            ast.In: "not in", ast.NotIn: "in"}
COUNTED = {ast.Add: "-", ast.Sub: "+", ast.Mult: "//", ast.Mod: "+", ast.BitOr: "&", ast.BitAnd: "|"}
WORDS = {"ValueError": "LookupError", "TypeError": "ValueError", "RuntimeError": "OSError", "KeyError": "IndexError",
         "AttributeError": "TypeError", "Exception": "RuntimeError"}


def kind(function: Kind) -> Kind:
    KINDS[function.__name__.strip("_").replace("_", " ")] = function
    return function


def simple(statement: ast.stmt) -> bool:
    return isinstance(statement, (ast.Assign, ast.AugAssign, ast.Expr, ast.AnnAssign)) and not is_text(statement)


def own_methods(source: Source) -> list[tuple[ast.ClassDef, Function]]:
    return [(cls, each) for cls, each in source.functions if cls is not None]


# -- within functions


@kind
def constant_of_a_function(draw: Draw) -> None:
    source, node = draw.among(lambda s: (c for _, f in s.functions for b in f.body for c in constants_in(b)))
    draw.put(source, source.with_node(node, another(node.value)))


@kind
def comparison(draw: Draw) -> None:
    source, node = draw.among(
        lambda s: (n for _, f in s.functions for n in ast.walk(f) if isinstance(n, ast.Compare) and len(n.ops) == 1)
    )
    new = f"{source.of(node.left)} {COMPARED[type(node.ops[0])]} {source.of(node.comparators[0])}"
    draw.put(source, source.with_node(node, new))


@kind
def operator(draw: Draw) -> None:
    source, node = draw.among(
        lambda s: (
            n for _, f in s.functions for n in ast.walk(f) if isinstance(n, ast.BinOp) and type(n.op) in COUNTED
        )
    )
    draw.put(source, source.with_node(node, f"{source.of(node.left)} {COUNTED[type(node.op)]} {source.of(node.right)}"))


@kind
def condition_negated(draw: Draw) -> None:
    source, node = draw.among(lambda s: (n for _, f in s.functions for n in ast.walk(f) if isinstance(n, ast.If)))
    draw.put(source, source.with_node(node.test, f"not ({source.of(node.test)})"))


@kind
def statements_swapped(draw: Draw) -> None:
    def pairs(source: Source) -> Iterator[tuple[ast.stmt, ast.stmt]]:
        for _, function in source.functions:
            for body in blocks(function):
                for one, other in zip(body, body[1:], strict=False):
                    if simple(one) and simple(other) and one.col_offset == other.col_offset and one.end_lineno != other.lineno:
                        yield one, other

    source, (one, other) = draw.among(pairs)
    first, second = source.of(one), source.of(other)
    text = source.with_node(other, first)
    draw.put(source, Source(source.path, text).with_node(one, second))


@kind
def statement_removed(draw: Draw) -> None:
    source, node = draw.among(
        lambda s: (n for _, f in s.functions for body in blocks(f) if len(body) > 1 for n in body if simple(n))
    )
    draw.put(source, source.without(node))


@kind
def statement_added(draw: Draw) -> None:
    source, (_, function) = draw.among(lambda s: s.functions)
    new = draw.one(["extra = len(repr(1))", "if not __debug__:\n    raise RuntimeError('odd')", "import json\njson.dumps([])"])
    draw.put(source, source.with_before(function.body[-1], new))


@kind
def exception_that_is_raised(draw: Draw) -> None:
    source, node = draw.among(
        lambda s: (
            n
            for _, f in s.functions
            for r in ast.walk(f)
            if isinstance(r, ast.Raise) and r.exc
            for n in ast.walk(r.exc)
            if isinstance(n, ast.Name) and n.id in WORDS
        )
    )
    draw.put(source, source.with_node(node, WORDS[node.id]))


@kind
def closure_added(draw: Draw) -> None:
    source, (_, function) = draw.among(
        lambda s: ((c, f) for c, f in s.functions if isinstance(f.body[-1], ast.Return) and f.body[-1].value)
    )
    last = function.body[-1]
    assert isinstance(last, ast.Return)
    assert last.value is not None
    value = source.of(last.value)
    draw.put(source, source.with_node(last, f"_result = (lambda: ({value}))\n{' ' * last.col_offset}return _result()"))


@kind
def function_becomes_a_generator(draw: Draw) -> None:
    source, (_, function) = draw.among(
        lambda s: ((c, f) for c, f in s.functions if isinstance(f, ast.FunctionDef) and isinstance(f.body[-1], ast.Return))
    )
    draw.put(source, source.with_before(function.body[-1], "yield 1"))


@kind
def docstring(draw: Draw) -> None:
    source, node = draw.among(
        lambda s: (n for n in (s.tree, *s.classes, *(f for _, f in s.functions)) if n.body and is_text(n.body[0]))
    )
    draw.put(source, source.with_node(node.body[0], '"""Says something else."""'))


@kind
def comment(draw: Draw) -> None:
    source, (_, function) = draw.among(lambda s: s.functions)
    draw.put(source, source.with_before(function, "# it was looked at again\n"))


# -- signatures


@kind
def default(draw: Draw) -> None:
    source, node = draw.among(
        lambda s: (
            d for _, f in s.functions for d in (*f.args.defaults, *filter(None, f.args.kw_defaults)) if isinstance(d, ast.Constant)
        )
    )
    draw.put(source, source.with_node(node, another(node.value)))


@kind
def parameter_added(draw: Draw) -> None:
    source, (_, function) = draw.among(lambda s: s.functions)
    if draw.chance.random() < 0.5 and not function.args.vararg:
        function.args.args.append(ast.arg("extra"))
        function.args.defaults.append(ast.Constant(7))
    else:
        function.args.kwonlyargs.append(ast.arg("extra"))
        function.args.kw_defaults.append(ast.Constant(7))
    draw.put(source, source.with_header(function))


@kind
def parameter_added_that_is_needed(draw: Draw) -> None:
    source, (_, function) = draw.among(lambda s: ((c, f) for c, f in s.functions if not f.args.defaults))
    function.args.args.append(ast.arg("extra"))
    draw.put(source, source.with_header(function))


@kind
def parameter_removed(draw: Draw) -> None:
    source, (_, function) = draw.among(lambda s: ((c, f) for c, f in s.functions if f.args.args and f.args.defaults))
    function.args.args.pop()
    function.args.defaults.pop()
    draw.put(source, source.with_header(function))


@kind
def parameter_renamed(draw: Draw) -> None:
    source, (_, function) = draw.among(lambda s: ((c, f) for c, f in s.functions if len(f.args.args) > 1))
    name = function.args.args[-1].arg
    start, end = source.span(function)
    inner = re.sub(rf"(?<![.\w]){name}\b", f"{name}_", source.text[start:end])
    draw.put(source, source.text[:start] + inner + source.text[end:])


@kind
def annotation(draw: Draw) -> None:
    source, node = draw.among(lambda s: (a.annotation for _, f in s.functions for a in f.args.args if a.annotation))
    draw.put(source, source.with_node(node, "object"))


@kind
def future_annotations(draw: Draw) -> None:
    line = "from __future__ import annotations\n"
    source, _ = draw.among(lambda s: [s] if s.functions else [])
    if line in source.text:
        draw.put(source, source.text.replace(line, ""))
    else:
        at = next(each for each in source.tree.body if not is_text(each))
        draw.put(source, source.with_before(at, line))


# -- definitions


@kind
def private_name(draw: Draw) -> None:
    """A private function or method gets another name, wherever it is used."""
    source, (_, function) = draw.among(
        lambda s: ((c, f) for c, f in s.functions if f.name.startswith("_") and not f.name.endswith("__"))
    )
    for path, text in draw.files.items():
        draw.files[path] = re.sub(rf"\b{function.name}\b", f"{function.name}_anew", text)


@kind
def method_added(draw: Draw) -> None:
    source, cls = draw.among(lambda s: s.classes)
    new = draw.one(
        [
            "def extra(self):\n    return type(self).__name__, 41\n",
            "@property\ndef extra(self):\n    return 41\n",
            "@classmethod\ndef extra(cls, n=3):\n    return cls.__name__ * n\n",
            "@staticmethod\ndef extra(n=3):\n    return [n]\n",
            "def extra(self, *args, **keywords):\n    return super().__repr__()[:4]\n",
            "async def extra(self):\n    return 41\n",
        ]
    )
    draw.put(source, source.with_after(cls.body[-1], f"\n{new}"))


@kind
def special_method_added(draw: Draw) -> None:
    source, cls = draw.among(lambda s: s.classes)
    new = draw.one(
        [
            "def __len__(self):\n    return 3\n",
            "def __bool__(self):\n    return False\n",
            "def __repr__(self):\n    return 'extra'\n",
            "def __eq__(self, other):\n    return self is other\n",
            "def __call__(self):\n    return 41\n",
            "def __getattr__(self, name):\n    raise AttributeError(name + '!')\n",
            "def __iter__(self):\n    return iter('ab')\n",
            "def __init_subclass__(cls):\n    super().__init_subclass__()\n",
            "def __class_getitem__(cls, item):\n    return (cls, item)\n",
        ]
    )
    draw.put(source, source.with_after(cls.body[-1], f"\n{new}"))


@kind
def method_overridden(draw: Draw) -> None:
    def both(source: Source) -> Iterator[tuple[ast.ClassDef, Function]]:
        classes = {cls.name: cls for cls in source.classes}
        for cls in source.classes:
            for base in cls.bases:
                if isinstance(base, ast.Name) and base.id in classes:
                    own = {each.name for each in cls.body if isinstance(each, Function)}
                    yield from (
                        (cls, f)
                        for f in classes[base.id].body
                        if isinstance(f, ast.FunctionDef) and f.name not in own and not f.decorator_list
                    )

    source, (cls, function) = draw.among(both)
    new = f"\ndef {function.name}(self, *args, **keywords):\n    return super().{function.name}(*args, **keywords)\n"
    draw.put(source, source.with_after(cls.body[-1], new))


@kind
def method_removed(draw: Draw) -> None:
    source, (_, function) = draw.among(lambda s: ((c, f) for c, f in own_methods(s) if len(c.body) > 1))
    draw.put(source, source.without(function))


@kind
def method_moved_to_its_base(draw: Draw) -> None:
    def both(source: Source) -> Iterator[tuple[ast.ClassDef, Function]]:
        classes = {cls.name: cls for cls in source.classes}
        for cls, function in own_methods(source):
            bases = [each.id for each in cls.bases if isinstance(each, ast.Name) and each.id in classes]
            if bases and len(cls.body) > 1:
                yield classes[bases[0]], function

    source, (base, function) = draw.among(both)
    start, end = source.span(function)
    text = source.text[start:end]
    moved = Source(source.path, source.without(function))
    now = next(each for each in moved.classes if each.name == base.name)
    draw.put(source, moved.with_after(now.body[-1], "\n" + _dedented(text, function.col_offset)))


def _dedented(text: str, by: int) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first.lstrip(), *(line.removeprefix(" " * by) for line in rest)]) + "\n"


@kind
def function_added(draw: Draw) -> None:
    source, statement = draw.among(lambda s: s.tree.body[1:])
    new = draw.one(
        [
            "def extra(n=3, *, word='x'):\n    return word * n\n",
            "_COUNT = 0\ndef extra():\n    global _COUNT\n    _COUNT += 1\n    return _COUNT\n",
            "import functools as _functools\n@_functools.lru_cache\ndef extra(n=3):\n    return n\n",
            "def extra():\n    return sorted(name for name in globals() if name == 'extra')\n",
        ]
    )
    draw.put(source, source.with_after(statement, f"\n\n{new}\n"))


@kind
def function_removed(draw: Draw) -> None:
    source, function = draw.among(
        lambda s: (f for c, f in s.functions if c is None and draw.uses(f.name) == 1 and len(s.tree.body) > 1)
    )
    draw.put(source, source.without(function))


@kind
def function_moved_to_another_module(draw: Draw) -> None:
    source, function = draw.among(
        lambda s: (f for c, f in s.functions if c is None and not f.decorator_list and "/" in s.path and _is_alone(s, f))
    )
    package = source.path.rpartition("/")[0]
    start, end = source.span(function)
    future = "from __future__ import annotations\n"
    draw.files[f"{package}/_extra.py"] = f"{future}\n{source.text[start:end]}\n"
    moved = Source(source.path, source.without(function))
    draw.put(source, moved.with_before(moved.after_imports, f"from ._extra import {function.name}\n"))


def _is_alone(source: Source, function: Function) -> bool:
    """Whether it uses nothing of its module."""
    table = symtable.symtable(source.text, source.path, "exec")
    own = next((each for each in table.get_children() if each.get_name() == function.name), None)
    defaults = [*function.args.defaults, *filter(None, function.args.kw_defaults)]
    if own is None or not all(isinstance(each, ast.Constant) for each in defaults):
        return False
    return all(hasattr(builtins, name) for name in _globals_of(own))


def _globals_of(table: symtable.SymbolTable) -> Iterator[str]:
    yield from (each.get_name() for each in table.get_symbols() if each.is_global())
    for inner in table.get_children():
        yield from _globals_of(inner)


@kind
def decorator_added(draw: Draw) -> None:
    source, (_, function) = draw.among(lambda s: ((c, f) for c, f in s.functions if not f.decorator_list))
    decorated = Source(source.path, source.with_before(function, "@_noted\n"))
    draw.put(source, decorated.with_before(decorated.after_imports, DECORATOR))


@kind
def cache_added(draw: Draw) -> None:
    source, (_, function) = draw.among(lambda s: ((c, f) for c, f in s.functions if c is None and not f.decorator_list))
    draw.put(source, source.with_before(function, "@__import__('functools').lru_cache(maxsize=8)\n"))


@kind
def decorator_removed(draw: Draw) -> None:
    source, (_, function) = draw.among(lambda s: ((c, f) for c, f in s.functions if f.decorator_list))
    node = draw.one(function.decorator_list)
    lines = source.text.split("\n")
    del lines[node.lineno - 1 : node.end_lineno]
    draw.put(source, "\n".join(lines))


# -- classes


@kind
def class_attribute_added(draw: Draw) -> None:
    source, cls = draw.among(lambda s: s.classes)
    at = next((each for each in cls.body if not is_text(each)), None)
    if at is None:
        raise NothingSuits
    draw.put(source, source.with_before(at, draw.one(["extra = (1, 2)\n", "extra: int = 3\n", "_extra = {'a': [1]}\n"])))


@kind
def class_attribute_changed(draw: Draw) -> None:
    source, node = draw.among(
        lambda s: (
            c for cls in s.classes for a in cls.body if isinstance(a, (ast.Assign, ast.AnnAssign)) and a.value for c in constants_in(a.value)
        )
    )
    draw.put(source, source.with_node(node, another(node.value)))


@kind
def class_attribute_removed(draw: Draw) -> None:
    source, node = draw.among(
        lambda s: (a for cls in s.classes if len(cls.body) > 1 for a in cls.body if isinstance(a, (ast.Assign, ast.AnnAssign)))
    )
    draw.put(source, source.without(node))


@kind
def base_added(draw: Draw) -> None:
    source, cls = draw.among(lambda s: (c for c in s.classes if c.bases))
    mixed = Source(source.path, source.with_node(cls.bases[0], f"{source.of(cls.bases[0])}, _Mixin"))
    draw.put(source, mixed.with_before(mixed.after_imports, "class _Mixin:\n    def mixed(self):\n        return 41\n\n"))


@kind
def base_changed(draw: Draw) -> None:
    source, node = draw.among(lambda s: (b for c in s.classes for b in c.bases if isinstance(b, ast.Name) and b.id in WORDS))
    draw.put(source, source.with_node(node, WORDS[node.id]))


@kind
def attribute_given(draw: Draw) -> None:
    source, (_, function) = draw.among(lambda s: ((c, f) for c, f in own_methods(s) if f.name == "__init__"))
    value = draw.one(["0", "None", "'x'", "[]", "(1, 2)", "len(self.__dict__)", "{}"])
    draw.put(source, source.with_after(function.body[-1], f"self.extra = {value}\n"))


@kind
def attribute_that_is_given(draw: Draw) -> None:
    source, node = draw.among(
        lambda s: (c for cls, f in own_methods(s) if f.name == "__init__" for b in f.body for c in constants_in(b))
    )
    draw.put(source, source.with_node(node, another(node.value)))


@kind
def field_added(draw: Draw) -> None:
    """Of a dataclass, a named tuple, an enumeration, or whatever else is made of annotations."""
    source, node = draw.among(
        lambda s: (cls.body[-1] for cls in s.classes if isinstance(cls.body[-1], (ast.Assign, ast.AnnAssign)))
    )
    new = "extra: int = 5" if isinstance(node, ast.AnnAssign) else "EXTRA = 55"
    draw.put(source, source.with_after(node, f"{new}\n"))


@kind
def slot_added(draw: Draw) -> None:
    source, node = draw.among(
        lambda s: (
            a.value.elts[-1]
            for cls in s.classes
            for a in cls.body
            if isinstance(a, ast.Assign) and s.of(a).startswith("__slots__") and isinstance(a.value, (ast.Tuple, ast.List)) and a.value.elts
        )
    )
    draw.put(source, source.with_node(node, f"{source.of(node)}, 'extra'"))


@kind
def class_added(draw: Draw) -> None:
    source, cls = draw.among(lambda s: s.classes)
    new = draw.one(
        [
            f"class Extra({cls.name}):\n    extra = 1\n",
            "class Extra(Exception):\n    def __str__(self):\n        return 'extra'\n",
            "import enum as _enum\nclass Extra(_enum.Enum):\n    A = 1\n    B = 'b'\n",
            "import dataclasses as _dataclasses\n@_dataclasses.dataclass\nclass Extra:\n    a: int = 1\n    b: str = 'b'\n",
        ]
    )
    draw.put(source, source.with_after(cls, f"\n\n{new}\n"))


@kind
def class_removed(draw: Draw) -> None:
    source, cls = draw.among(lambda s: (c for c in s.classes if draw.uses(c.name) == 1))
    draw.put(source, source.without(cls))


# -- modules


def _displays(source: Source) -> Iterator[ast.List | ast.Tuple | ast.Set | ast.Dict]:
    for statement in source.tree.body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            for node in ast.walk(statement.value):
                if (isinstance(node, (ast.List, ast.Tuple, ast.Set)) and node.elts) or (isinstance(node, ast.Dict) and node.keys):
                    yield node


@kind
def element_added(draw: Draw) -> None:
    source, node = draw.among(_displays)
    if isinstance(node, ast.Dict):
        value = node.values[-1]
        key = another(node.keys[-1].value) if isinstance(node.keys[-1], ast.Constant) else "'extra'"
        draw.put(source, source.with_node(value, f"{source.of(value)}, {key}: {source.of(value)}"))
    else:
        last = node.elts[-1]
        new = another(last.value) if isinstance(last, ast.Constant) else source.of(last)
        draw.put(source, source.with_node(last, f"{source.of(last)}, {new}"))


@kind
def element_removed(draw: Draw) -> None:
    source, node = draw.among(lambda s: (n for n in _displays(s) if not isinstance(n, ast.Dict) and len(n.elts) > 2))
    assert not isinstance(node, ast.Dict)
    kept = [source.of(each) for each in node.elts[:-1]]
    pairs = {ast.List: "[]", ast.Tuple: "()", ast.Set: "{}"}[type(node)]
    draw.put(source, source.with_node(node, f"{pairs[0]}{', '.join(kept)},{pairs[1]}"))


@kind
def constant_of_a_module(draw: Draw) -> None:
    source, node = draw.among(
        lambda s: (
            c for a in s.tree.body if isinstance(a, (ast.Assign, ast.AnnAssign)) and a.value is not None for c in constants_in(a.value)
        )
    )
    draw.put(source, source.with_node(node, another(node.value)))


@kind
def regex(draw: Draw) -> None:
    def texts(source: Source) -> Iterator[ast.Constant]:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and source.of(node.func) == "re.compile" and node.args:
                if isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                    yield node.args[0]

    source, node = draw.among(texts)
    draw.put(source, source.with_node(node, repr(f"{node.value}|zz")))


@kind
def statement_of_a_module_added(draw: Draw) -> None:
    source, statement = draw.among(lambda s: s.tree.body[1:])
    new = draw.one(
        [
            "_EXTRA = {}\nfor _each in range(3):\n    _EXTRA[_each] = str(_each)\n",
            "try:\n    import nothing_of_the_kind\nexcept ImportError:\n    nothing_of_the_kind = None\n",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from decimal import Decimal\n",
            "_EXTRA = [name for name in dir() if name.startswith('__')]\n",
            "_EXTRA = object()\n",
            "import re as _re\n_EXTRA = _re.compile('x+')\n",
            "_EXTRA = __name__ + '!'\n",
            "_EXTRA = lambda n=3: n\n",
        ]
    )
    draw.put(source, source.with_after(statement, f"{new}\n"))


@kind
def statement_of_a_module_removed(draw: Draw) -> None:
    source, node = draw.among(lambda s: (n for n in s.tree.body if simple(n)))
    draw.put(source, source.without(node))


@kind
def import_added(draw: Draw) -> None:
    source, (_, function) = draw.among(lambda s: s.functions)
    with_import = Source(source.path, source.with_before(function.body[-1], "_extra_json.dumps([1])"))
    draw.put(source, with_import.with_before(with_import.after_imports, "import json as _extra_json\n"))


@kind
def import_moved_into_a_function(draw: Draw) -> None:
    source, (statement, function) = draw.among(
        lambda s: (
            (i, f)
            for i in s.tree.body
            if isinstance(i, ast.Import) and len(i.names) == 1
            for _, f in s.functions
            if (i.names[0].asname or i.names[0].name) in {n.id for n in ast.walk(f) if isinstance(n, ast.Name)}
        )
    )
    draw.put(source, source.with_before(function.body[0 if not is_text(function.body[0]) else -1], source.of(statement) + "\n"))


@kind
def import_removed(draw: Draw) -> None:
    source, node = draw.among(lambda s: (n for n in s.tree.body if isinstance(n, (ast.Import, ast.ImportFrom))))
    draw.put(source, source.without(node))


@kind
def name_exported(draw: Draw) -> None:
    source, (_, function) = draw.among(lambda s: ((c, f) for c, f in s.functions if c is None))
    draw.put(source, f"{source.text.rstrip()}\n\nextra_{function.name} = {function.name}\n")


@kind
def module_added(draw: Draw) -> None:
    source, (_, function) = draw.among(lambda s: s.functions if "/" in s.path else [])
    package = source.path.rpartition("/")[0]
    draw.files[f"{package}/_new.py"] = "import re\nLIMIT = 3\n\ndef limit(n=LIMIT):\n    return min(n, LIMIT)\n"
    draw.put(source, source.with_before(function.body[-1], "from ._new import limit\nlimit()\n"))
