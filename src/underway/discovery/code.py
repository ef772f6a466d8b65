"""What the modules of a project make when they are imported: applications of web frameworks, factories of them, functions that serve.

Read from the syntax; nothing is imported. A name counts as a framework's class where an import of the module says so.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .files import Tree
from .findings import CODE, Place, Start
from .servers import address_of

FRAMEWORKS: Mapping[str, tuple[str, str]] = {
    "aiohttp.web.Application": ("aiohttp", "aiohttp"),
    "blacksheep.Application": ("asgi", "BlackSheep"),
    "bottle.Bottle": ("wsgi", "Bottle"),
    "bottle.default_app": ("wsgi", "Bottle"),
    "celery.Celery": ("celery", "Celery"),
    "channels.routing.ProtocolTypeRouter": ("asgi", "Channels"),
    "django.core.asgi.get_asgi_application": ("asgi", "Django"),
    "django.core.wsgi.get_wsgi_application": ("wsgi", "Django"),
    "falcon.App": ("wsgi", "Falcon"),
    "falcon.asgi.App": ("asgi", "Falcon"),
    "fastapi.FastAPI": ("asgi", "FastAPI"),
    "fastapi.applications.FastAPI": ("asgi", "FastAPI"),
    "flask.Flask": ("wsgi", "Flask"),
    "flask.app.Flask": ("wsgi", "Flask"),
    "litestar.Litestar": ("asgi", "Litestar"),
    "quart.Quart": ("asgi", "Quart"),
    "starlette.applications.Starlette": ("asgi", "Starlette"),
}
"""What makes an application: its kind, and the framework's name."""
SERVING = {
    "aiohttp.web.run_app": ("aiohttp", "", "8080"),
    "uvicorn.run": ("uvicorn", "127.0.0.1", "8000"),
    "uvicorn.main.run": ("uvicorn", "127.0.0.1", "8000"),
    "waitress.serve": ("waitress", "0.0.0.0", "8080"),
    "hypercorn.run.run": ("hypercorn", "127.0.0.1", "8000"),
}
"""What serves until it is told to stop: its name, and where it listens that is not told; without a host on more than one address."""


@dataclass
class Module:
    """What one module says."""

    name: str
    path: str
    tree: ast.Module
    imports: dict[str, str] = field(default_factory=dict)
    """Name in the module -> what it is called elsewhere."""
    applications: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    """Name of an object -> kind, framework, line."""
    mounted: set[str] = field(default_factory=set)
    """Names that another application mounts."""
    factories: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    """Name of a function -> kind, framework, line of what it makes."""
    stars: list[str] = field(default_factory=list)
    """Modules all names of which it imports."""
    serving: list[tuple[str, ast.Call, ast.FunctionDef | ast.AsyncFunctionDef | None]] = field(default_factory=list)
    """Calls that serve, and the function of the module that each is in."""

    def binds(self, name: str) -> ast.stmt | None:
        """The statement that gives the module a name when it is imported, or None."""
        for node in statements(self.tree.body):
            if name in _bound(node):
                return node
        return next((node for node in statements(self.tree.body) if "*" in _bound(node)), None)

    def full(self, node: ast.expr) -> str:
        """What an expression is called elsewhere: ``web.Application`` is ``aiohttp.web.Application``."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self.imports.get(node.id, f"{self.name}.{node.id}"), *reversed(parts)])


def modules(tree: Tree) -> dict[str, Module]:
    """All modules of a project that can be imported and parsed, by name; others are noted in `tree`."""
    parsed: dict[str, Module] = {}
    for path, text in tree.texts.items():
        if not path.endswith(".py") or not (name := tree.module_of(path)):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                syntax = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            tree.unread.append(
                f"{path}: {type(error).__name__}, with this Python {sys.version_info[0]}.{sys.version_info[1]}"
            )
            continue
        module = parsed.setdefault(name, Module(name, path, syntax))
        module.imports = _imports(module, path)
    for module in parsed.values():
        _look(module)
    for _ in range(3):  # a factory may call another
        for module in parsed.values():
            _resolve(module, parsed)
    return parsed


def starts(parsed: Mapping[str, Module]) -> Iterator[Start]:
    """What the modules have that could be started."""
    for module in parsed.values():
        for name, (kind, framework, line) in module.applications.items():
            if kind in ("asgi", "wsgi") and name not in module.mounted:
                yield Start(
                    kind,
                    f"{module.name}:{name}",
                    Place(module.path, line),
                    f"{name} is an application",
                    CODE,
                    framework,
                )
        made = {name for name in module.factories if not name.startswith("_")}
        for name in sorted(made):
            kind, framework, line = module.factories[name]
            if kind in ("asgi", "wsgi"):
                problem = f"it is a factory; a release takes the object that it makes: app = {name}() in a module, and that module:app"
                yield Start(
                    kind,
                    f"{module.name}:{name}",
                    Place(module.path, line),
                    f"{name}() makes an application",
                    CODE,
                    framework,
                    problem=problem,
                )
        yield from _served(module)


def _served(module: Module) -> Iterator[Start]:
    """What calls a server itself."""
    for full, call, function in module.serving:
        framework, host, port = SERVING[full]
        place = Place(module.path, call.lineno)
        how = f"{ast.unparse(call.func)}(...)"
        target = call.args[0] if call.args else None
        listen = _listen(call, host, port)
        if framework in ("uvicorn", "waitress", "hypercorn") and target is not None:
            kind = "wsgi" if framework == "waitress" else "asgi"
            reference = target.value if isinstance(target, ast.Constant) and isinstance(target.value, str) else ""
            if not reference and isinstance(target, ast.Name):
                full_name = module.full(target)
                reference = ":".join(full_name.rpartition(".")[::2])
                if module.binds(target.id) is None:
                    reference = ""
            if reference:
                yield Start(kind, reference, place, how, CODE, framework, listen=listen)
                continue
        if function is None:
            yield Start(
                "main",
                f"{module.name}:main",
                place,
                how,
                CODE,
                framework,
                listen=listen,
                problem="it is called in the module itself; a release calls a function: put it into `def main():`",
            )
            continue
        problem = ""
        if isinstance(function, ast.AsyncFunctionDef):
            problem = "it is async; a release calls a function: def start(): asyncio.run(...)"
        elif _required(function) and not function.decorator_list:
            problem = f"it takes arguments ({', '.join(_required(function))}); a release calls a function without any"
        yield Start(
            "main",
            f"{module.name}:{function.name}",
            place,
            f"{function.name}() calls {how}",
            CODE,
            framework,
            listen=listen,
            problem=problem,
        )


def _required(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    with_default = len(arguments.defaults)
    named = [argument.arg for argument in positional[: len(positional) - with_default]]
    return named + [a.arg for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is None]


def _listen(call: ast.Call, host: str, port: str) -> tuple[str, ...]:
    """Find where a call listens, if its arguments say so in plain values; a default of the server's is one."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if None in given or {"sock", "path", "uds", "fd", "listen", "unix_socket"} & {*given}:
        return ()
    texts = []
    for name, default in (("host", host), ("port", port)):
        value = given.get(name)
        if value is None and default:
            texts.append(default)
        elif isinstance(value, ast.Constant) and isinstance(value.value, (str, int)):
            texts.append(str(value.value))
        else:
            return ()
    address = address_of(":".join(texts))
    return (address,) if address else ()


def _imports(module: Module, path: str) -> dict[str, str]:
    names: dict[str, str] = {}
    package = module.name if path.endswith("/__init__.py") else module.name.rpartition(".")[0]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                above = ".".join(parts[: len(parts) - node.level + 1])
                base = f"{above}.{base}".strip(".")
            if node.names[0].name == "*":
                module.stars.append(base)
                continue
            for alias in node.names:
                names[alias.asname or alias.name] = f"{base}.{alias.name}"
    return names


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that an import executes, those in branches too, but for what is in ``if __name__ == "__main__"``."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            if "__main__" not in ast.dump(node.test):
                yield from statements([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from statements([*node.body, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.With):
            yield from statements(node.body)


def _bound(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return {inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)}
    return set()


def _look(module: Module) -> None:
    for node in module.tree.body:
        is_class = isinstance(node, ast.ClassDef)
        function = node if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else None
        for inner in ast.walk(node):
            if not isinstance(inner, ast.Call):
                continue
            if module.full(inner.func) in SERVING and not is_class:
                module.serving.append((module.full(inner.func), inner, function))
            is_method = isinstance(inner.func, ast.Attribute) and inner.func.attr in ("mount", "Mount", "add_subapp")
            if is_method or module.full(inner.func) == "starlette.routing.Mount":
                module.mounted |= {
                    argument.id
                    for argument in [*inner.args, *(k.value for k in inner.keywords)]
                    if isinstance(argument, ast.Name)
                }


def _resolve(module: Module, parsed: Mapping[str, Module]) -> None:
    for node in statements(module.tree.body):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if made := _made(module, node.value, parsed):
                for target in targets:
                    if isinstance(target, ast.Name):
                        module.applications.setdefault(target.id, (*made, node.lineno))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (made := _factory(module, node, parsed)):
            module.factories.setdefault(node.name, (*made, node.lineno))


def _made(module: Module, value: ast.expr, parsed: Mapping[str, Module]) -> tuple[str, str] | None:
    """The kind and framework of what an expression makes."""
    if not isinstance(value, ast.Call):
        return None
    full = module.full(value.func)
    if known := FRAMEWORKS.get(full):
        return known
    if isinstance(value.func, ast.Attribute) and value.func.attr == "make_wsgi_app":
        return "wsgi", "Pyramid"
    owner, _, name = full.rpartition(".")
    for candidate in (owner, *([module.name] if owner == module.name else [])):
        other = parsed.get(candidate)
        if other is None:
            continue
        if name in other.factories:
            return other.factories[name][:2]
        if (
            name in other.imports
            and (again := parsed.get(other.imports[name].rpartition(".")[0]))
            and again is not other
        ):
            inner = other.imports[name].rpartition(".")[2]
            if inner in again.factories:
                return again.factories[inner][:2]
        for node in other.tree.body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return next((FRAMEWORKS[base] for base in map(other.full, node.bases) if base in FRAMEWORKS), None)
    return None


def _factory(
    module: Module, function: ast.FunctionDef | ast.AsyncFunctionDef, parsed: Mapping[str, Module]
) -> tuple[str, str] | None:
    """What a function returns, where that is an application that it has made."""
    local: dict[str, tuple[str, str]] = {}
    for node in ast.walk(function):
        if (
            isinstance(node, (ast.Assign, ast.AnnAssign))
            and node.value is not None
            and (made := _made(module, node.value, parsed))
        ):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    local[target.id] = made
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            if isinstance(node.value, ast.Name) and node.value.id in local:
                return local[node.value.id]
            if made := _made(module, node.value, parsed):
                return made
    return None
