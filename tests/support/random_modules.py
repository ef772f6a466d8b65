"""Edits by chance of what a module binds and imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from random_edits import Draw, Source, another, constants_in, is_text, kind, simple


def _displays(source: Source) -> Iterator[ast.List | ast.Tuple | ast.Set | ast.Dict]:
    for statement in source.tree.body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            for node in ast.walk(statement.value):
                if (isinstance(node, (ast.List, ast.Tuple, ast.Set)) and node.elts) or (
                    isinstance(node, ast.Dict) and node.keys
                ):
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
            c
            for a in s.tree.body
            if isinstance(a, (ast.Assign, ast.AnnAssign)) and a.value is not None
            for c in constants_in(a.value)
        )
    )
    draw.put(source, source.with_node(node, another(node.value)))


@kind
def regex(draw: Draw) -> None:
    def texts(source: Source) -> Iterator[ast.Constant]:
        for node in ast.walk(source.tree):
            match node:
                case ast.Call(ast.Attribute(ast.Name("re"), "compile"), [ast.Constant(str()) as text, *_]):
                    yield text

    source, node = draw.among(texts)
    draw.put(source, source.with_node(node, repr(f"{node.value!s}|zz")))


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
    draw.put(
        source,
        source.with_before(function.body[0 if not is_text(function.body[0]) else -1], source.of(statement) + "\n"),
    )


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
