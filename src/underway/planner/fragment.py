"""How the statements of a fragment are compiled: as the module was, and so that each name is bound where the fragment is run."""

from __future__ import annotations

import ast
import dis
from collections.abc import Mapping
from opcode import opmap
from types import CodeType

from underway_runtime.release import code_tree

from .source import Module


def imported_names(module: Module, at: ast.stmt) -> list[ast.stmt]:
    """What makes no code, and tells the compiler which names are imported: it compiles calls of their attributes otherwise."""
    named: list[ast.stmt] = [ast.Import([ast.alias("sys", name)]) for name in module.named_by_imports]
    return [ast.copy_location(ast.If(ast.Constant(0), named, []), at)] if named else []


def binding_names(code: CodeType) -> CodeType:
    """A fragment that binds each name where it is run: one that a function declares as global it would bind in the live module."""
    name, deleted = opmap["STORE_NAME"], opmap["DELETE_NAME"]
    instead = {opmap["STORE_GLOBAL"]: name, opmap["DELETE_GLOBAL"]: deleted}
    by_offset = {instruction.offset: instruction.opcode for instruction in dis.get_instructions(code)}
    raw = bytearray(code.co_code)
    for offset, opcode in by_offset.items():
        raw[offset] = instead.get(opcode, raw[offset])
    return code.replace(co_code=bytes(raw))


def is_comprehension(path: str) -> bool:
    return path.rpartition(".")[2].partition("#")[0] in ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")


def is_part_of_annotations(path: str, codes: Mapping[str, CodeType]) -> bool:
    """Whether this computes the annotations of a class or a module, of whose names a fragment may have some."""
    owner = code_tree.annotated_by(path)
    return owner is not None and owner not in codes


def take_out_docstrings(tree: ast.Module) -> None:
    """Take docstrings out, as the option ``strip = { docstrings = true }`` has it compiled."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0] if node.body else None
        while node.body and isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant):
            if not isinstance(node.body[0].value.value, str):
                break
            del node.body[0]
        if first is not None and not node.body:
            node.body.append(ast.copy_location(ast.Pass(), first))
