"""Edits by chance of which functions, methods and classes there are, and of what these are made of."""

from __future__ import annotations

import ast
import builtins
import re
import symtable
from collections.abc import Iterator

from random_edits import WORDS, Draw, Function, NothingSuits, Source, another, constants_in, is_text, kind, own_methods

DECORATOR = """\
def _noted(function):
    import functools
    @functools.wraps(function)
    def noted(*args, **keywords):
        return function(*args, **keywords)
    return noted

"""


@kind
def private_name(draw: Draw) -> None:
    """A private function or method gets another name, wherever it is used."""
    _, (_, function) = draw.among(
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
        lambda s: (
            f for c, f in s.functions if c is None and not f.decorator_list and "/" in s.path and _is_alone(s, f)
        )
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


@kind
def class_attribute_added(draw: Draw) -> None:
    source, cls = draw.among(lambda s: s.classes)
    at = next((each for each in cls.body if not is_text(each)), None)
    if at is None:
        raise NothingSuits
    draw.put(
        source, source.with_before(at, draw.one(["extra = (1, 2)\n", "extra: int = 3\n", "_extra = {'a': [1]}\n"]))
    )


@kind
def class_attribute_changed(draw: Draw) -> None:
    source, node = draw.among(
        lambda s: (
            c
            for cls in s.classes
            for a in cls.body
            if isinstance(a, (ast.Assign, ast.AnnAssign)) and a.value
            for c in constants_in(a.value)
        )
    )
    draw.put(source, source.with_node(node, another(node.value)))


@kind
def class_attribute_removed(draw: Draw) -> None:
    source, node = draw.among(
        lambda s: (
            a for cls in s.classes if len(cls.body) > 1 for a in cls.body if isinstance(a, (ast.Assign, ast.AnnAssign))
        )
    )
    draw.put(source, source.without(node))


@kind
def base_added(draw: Draw) -> None:
    source, cls = draw.among(lambda s: (c for c in s.classes if c.bases))
    mixed = Source(source.path, source.with_node(cls.bases[0], f"{source.of(cls.bases[0])}, _Mixin"))
    draw.put(
        source, mixed.with_before(mixed.after_imports, "class _Mixin:\n    def mixed(self):\n        return 41\n\n")
    )


@kind
def base_changed(draw: Draw) -> None:
    source, node = draw.among(
        lambda s: (b for c in s.classes for b in c.bases if isinstance(b, ast.Name) and b.id in WORDS)
    )
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
            if isinstance(a, ast.Assign)
            and s.of(a).startswith("__slots__")
            and isinstance(a.value, (ast.Tuple, ast.List))
            and a.value.elts
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
