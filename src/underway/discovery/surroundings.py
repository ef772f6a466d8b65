"""What a project needs besides what starts: variables of the environment, files that set them, migrations of a database."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from .code import Module
from .files import Tree
from .findings import Migration, Place, Setting

_READERS = {"os.environ.get", "os.getenv", "os.environ.setdefault", "os.environ.pop"}
_HELPERS = {"decouple.config", "environ.Env", "environs.Env", "environs.env", "starlette.config.Config"}
_OF_THE_SYSTEM = frozenset(
    [
        "HOME",
        "LANG",
        "PATH",
        "PWD",
        "SHELL",
        "TERM",
        "TMPDIR",
        "USER",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "DJANGO_SETTINGS_MODULE",
    ]
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OF_DIRECTORIES = {"Jinja2Templates", "StaticFiles"}
_BASES = {"pydantic_settings.BaseSettings", "pydantic.BaseSettings", "pydantic_settings.main.BaseSettings"}


def settings(parsed: Mapping[str, Module]) -> list[Setting]:
    """The variables that the code reads, each with the line that needs it most."""
    first: dict[str, Setting] = {}
    for module in parsed.values():
        for setting in (*_read(module), *_fields(module, parsed)):
            known = first.get(setting.name)
            if setting.name not in _OF_THE_SYSTEM and (
                known is None or (setting.is_required and not known.is_required)
            ):
                first[setting.name] = setting
    return sorted(first.values(), key=lambda setting: (not setting.is_required, setting.name))


def _read(module: Module) -> Iterator[Setting]:
    helpers = {
        name
        for name, full in module.imports.items()
        if full in _HELPERS and full not in ("environ.Env", "environs.Env")
    }
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and module.full(node.value.func) in _HELPERS
        ):
            helpers |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.Subscript)
            and module.full(node.value) == "os.environ"
            and isinstance(node.ctx, ast.Load)
        ):
            name, is_required = node.slice, True
        elif isinstance(node, ast.Call) and node.args and module.full(node.func) in _READERS:
            name, is_required = node.args[0], False
        elif isinstance(node, ast.Call) and node.args and _is_helper(node.func, helpers):
            name = node.args[0]
            is_required = len(node.args) < 2 and not any(keyword.arg == "default" for keyword in node.keywords)
        else:
            continue
        if isinstance(name, ast.Constant) and isinstance(name.value, str) and _NAME.fullmatch(name.value):
            yield Setting(name.value, Place(module.path, node.lineno), is_required)


def _is_helper(function: ast.expr, helpers: set[str]) -> bool:
    if isinstance(function, ast.Attribute):
        function = function.value
    return isinstance(function, ast.Name) and function.id in helpers


def _fields(module: Module, parsed: Mapping[str, Module]) -> Iterator[Setting]:
    """The fields of pydantic's settings: each is a variable, but where an alias says another, which is left out."""
    for node in module.tree.body:
        if not isinstance(node, ast.ClassDef) or not _is_settings(module, node, parsed):
            continue
        prefix = _prefix(node)
        for statement in node.body:
            if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                continue
            name, value = statement.target.id, statement.value
            if name.startswith("_") or name == "model_config" or "ClassVar" in ast.dump(statement.annotation):
                continue
            call = value if isinstance(value, ast.Call) and module.full(value.func).endswith(".Field") else None
            alias = {k.arg: k.value for k in call.keywords} if call else {}
            stated = alias.get("validation_alias") or alias.get("alias") or alias.get("env")
            if stated is not None:
                if not isinstance(stated, ast.Constant):
                    continue
                variable = str(stated.value)
            else:
                variable = f"{prefix}{name}".upper()
            has_default = value is not None and call is None
            if call is not None:
                has_default = bool({"default", "default_factory"} & {*alias}) or (
                    bool(call.args) and not (isinstance(call.args[0], ast.Constant) and call.args[0].value is ...)
                )
            if isinstance(value, ast.Constant) and value.value is ...:
                has_default = False
            yield Setting(variable, Place(module.path, statement.lineno), not has_default)


def _is_settings(module: Module, node: ast.ClassDef, parsed: Mapping[str, Module], depth: int = 4) -> bool:
    for base in node.bases:
        full = module.full(base)
        if full in _BASES:
            return True
        owner, _, name = full.rpartition(".")
        other = parsed.get(owner)
        if depth and other is not None:
            classes = (n for n in other.tree.body if isinstance(n, ast.ClassDef) and n.name == name and n is not node)
            if any(_is_settings(other, inner, parsed, depth - 1) for inner in classes):
                return True
    return False


def _prefix(node: ast.ClassDef) -> str:
    for inner in ast.walk(node):
        if isinstance(inner, ast.keyword) and inner.arg == "env_prefix" and isinstance(inner.value, ast.Constant):
            return str(inner.value.value)
        if isinstance(inner, ast.Assign) and isinstance(inner.value, ast.Constant):
            names = [target.id for target in inner.targets if isinstance(target, ast.Name)]
            if "env_prefix" in names:
                return str(inner.value.value)
    return ""


def env_files(tree: Tree) -> dict[str, list[str]]:
    """The files that set variables, with the names that each sets. Values are neither kept nor shown."""
    files = {}
    for path, text in tree.texts.items():
        if path.rpartition("/")[2].startswith((".env", ".flaskenv")):
            names = re.findall(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=", text, re.MULTILINE)
            files[path] = list(dict.fromkeys(names))
    return files


def relative_paths(parsed: Mapping[str, Module]) -> Iterator[tuple[Place, str]]:
    """The directories that Starlette's classes are told relative to the working directory."""
    for module in parsed.values():
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call) or module.full(node.func).rpartition(".")[2] not in _OF_DIRECTORIES:
                continue
            if not module.full(node.func).startswith(("starlette.", "fastapi.")):
                continue
            given = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "directory")]
            for value in given:
                if isinstance(value, ast.Constant) and isinstance(value.value, str) and not value.value.startswith("/"):
                    yield Place(module.path, node.lineno), value.value


def migrations(tree: Tree) -> list[Migration]:
    """The tools that change a database, each once, with what runs it in a release."""
    by_tool: dict[str, Migration] = {}
    for path, text in tree.texts.items():
        name = path.rpartition("/")[2]
        flask = "flask" in tree.texts.get(f"{path.rpartition('/')[0]}/env.py", "")
        if name == "alembic.ini" and (flask or re.search(r"^script_location", text, re.MULTILINE)):
            command = "bin/NAME run flask db upgrade" if flask else f"bin/NAME run alembic -c {path} upgrade head"
            by_tool.setdefault("alembic", Migration("Flask-Migrate" if flask else "alembic", Place(path, 1), command))
        if re.search(r"(^|/)migrations/0001_\w+\.py$", path) and re.search(
            r"^from django\.db import", text, re.MULTILINE
        ):
            module = re.search(r"DJANGO_SETTINGS_MODULE[\"'],\s*[\"']([\w.]+)", tree.texts.get("manage.py", ""))
            command = "bin/NAME run django-admin migrate" + (f" --settings {module[1]}" if module else "")
            by_tool.setdefault("Django", Migration("Django", Place(path, 1), command))
    return list(by_tool.values())
