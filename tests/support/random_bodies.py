"""Edits by chance of what functions do, and of how they are called."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from random_edits import (
    WORDS,
    Draw,
    Source,
    another,
    blocks,
    constants_in,
    is_text,
    kind,
    simple,
)

COMPARED = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
COUNTED = {ast.Add: "-", ast.Sub: "+", ast.Mult: "//", ast.Mod: "+", ast.BitOr: "&", ast.BitAnd: "|"}


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
        lambda s: (n for _, f in s.functions for n in ast.walk(f) if isinstance(n, ast.BinOp) and type(n.op) in COUNTED)
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
                for one, other in pairwise(body):
                    if (
                        simple(one)
                        and simple(other)
                        and one.col_offset == other.col_offset
                        and one.end_lineno != other.lineno
                    ):
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
    new = draw.one(
        ["extra = len(repr(1))", "if not __debug__:\n    raise RuntimeError('odd')", "import json\njson.dumps([])"]
    )
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
        lambda s: (
            (c, f) for c, f in s.functions if isinstance(f, ast.FunctionDef) and isinstance(f.body[-1], ast.Return)
        )
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


@kind
def default(draw: Draw) -> None:
    source, node = draw.among(
        lambda s: (
            d
            for _, f in s.functions
            for d in (*f.args.defaults, *filter(None, f.args.kw_defaults))
            if isinstance(d, ast.Constant)
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
