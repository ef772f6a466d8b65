"""aiohttp freezes the router of an application that serves; a table of routes is copied into it when it is added."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from ...edit import ModuleDiff
from ...source import Function
from .. import decorators
from . import Rule
from .registering import at, calls, count

RULES = (Rule("aiohttp.web_urldispatcher.UrlDispatcher", "_frozen", False, "meanwhile"),)

_TABLE = ("aiohttp.web.RouteTableDef", "aiohttp.web_routedef.RouteTableDef")


def propose(edits: Mapping[str, ModuleDiff]) -> None:
    """Have routes that are put into a table added to the applications that this was added to; that is compared with a fresh start."""
    for edit in edits.values():
        tables = {
            ast.unparse(decorator.func.value): edit.world.new.resolve(edit.new, decorator.func.value)
            for statement in edit.statements
            if isinstance(statement, Function | ast.ClassDef)
            for decorator in statement.decorator_list
            if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute)
        }
        for text, table in tables.items():
            if table and decorators.is_framework(edit.world.new, table, _TABLE):
                for other, call, name in calls(edits, "add_routes", table):
                    assert isinstance(call.func, ast.Attribute)
                    of = ast.unparse(call.func.value)
                    other.run(at(call, f"{of}.add_routes(list({name})[-{count(edit, text)}:])"))
