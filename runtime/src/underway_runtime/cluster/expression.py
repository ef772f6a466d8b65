"""What a deployment is: a function, or an expression, that the master evaluates when the cluster is complete."""

from __future__ import annotations

import ast
import importlib
import inspect
from typing import Any


async def evaluate(expression: str) -> object:
    """What ``module:function`` returns, or an expression, in which modules are known by their names and ``await`` works."""
    module, colon, path = expression.partition(":")
    if colon and all(part.isidentifier() for part in (*module.split("."), *path.split("."))):
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
        value = found()
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
