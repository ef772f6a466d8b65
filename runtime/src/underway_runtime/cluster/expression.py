"""What a deployment is: a function, or an expression, that the master evaluates when the cluster is complete."""

from __future__ import annotations

import ast
import importlib
import inspect
from typing import Any

from ..release.references import find, is_reference


async def evaluate(expression: str) -> object:
    """Return what ``module:function`` returns, or an expression, in which modules are known by their names and ``await`` works."""
    if is_reference(expression):
        value = find(expression)()
    else:
        code = compile(expression.strip(), "<deploy>", "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        value = eval(code, {}, _Modules())
    return await value if inspect.isawaitable(value) else value


class _Modules(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            raise KeyError(name) from None
