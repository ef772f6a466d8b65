"""The rules of the house that no linter knows; who may import whom is [tool.importlinter] in pyproject.toml."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TOOL = REPOSITORY / "src/underway"
RUNTIME = REPOSITORY / "runtime/src/underway_runtime"

SERVERS = {"uvicorn", "waitress"}
"""What `apps` may import of a release's own applications, lazily: the servers that it runs them with."""


ENGINE = RUNTIME / "cluster/engine"
"""The one room that may import the engine of a cluster, which is in the extra `cluster`; who imports it needs that."""


def of_the_extra(file: Path) -> set[str]:
    """What a module may import of the extra."""
    if file.parent == ENGINE:
        return {"dask", "distributed"}
    return {"cryptography"} if file == RUNTIME / "cluster/certificates.py" else set()


def modules(package: Path) -> list[Path]:
    """All modules of a package."""
    return sorted(package.rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Each absolute import in a module, also those within functions: top-level name and line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0], node.lineno


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def where(file: Path, line: int) -> str:
    return f"{file.relative_to(REPOSITORY)}:{line}"


def test_the_runtime_boots_with_nothing_but_the_standard_library() -> None:
    """All of the runtime imports in an interpreter that has no site-packages, and takes nothing from elsewhere."""
    names = [
        ".".join(file.relative_to(RUNTIME.parent).with_suffix("").parts).removesuffix(".__init__")
        for file in modules(RUNTIME)
        if file.stem != "__main__" and file.parent != ENGINE
    ]
    program = f"""
import sys
sys.path.append({str(RUNTIME.parent)!r})
for name in {names!r}:
    __import__(name)
allowed = sys.stdlib_module_names | {{"underway_runtime", "__main__", "_missing_stdlib_info"}}  # Debian's part of it
print(sorted({{name.partition(".")[0] for name in sys.modules}} - allowed))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("file", modules(RUNTIME), ids=lambda file: str(file.relative_to(RUNTIME)))
def test_the_runtime_imports_only_the_standard_library(file: Path) -> None:
    """No module of the runtime imports a dependency, not even lazily, save the servers that `apps` runs and the cluster's."""
    allowed = sys.stdlib_module_names | {"underway_runtime"} | of_the_extra(file)
    if "apps" in file.relative_to(RUNTIME).parts:
        allowed |= SERVERS

    assert [f"{where(file, line)} imports {name}" for name, line in imports(parsed(file)) if name not in allowed] == []


SLOW = "ast asyncio dataclasses inspect logging pathlib selectors signal socket struct subprocess tempfile threading typing"
"""What costs the commands that ask a node more than it is worth to them."""


@pytest.mark.parametrize("command", ["rpc", "status"])
def test_what_asks_a_node_imports_little(command: str) -> None:
    """Of the standard library they take nothing that is slow to import; else a command takes longer than Python does."""
    client = "underway_runtime.control.client"
    program = (
        f"import sys; sys.path.append({str(RUNTIME.parent)!r}); import {client}.__main__, {client}.commands, {client}.{command}\n"
        f"print(sorted({{*{SLOW.split()!r}}} & {{*sys.modules}}))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.stdout, done.stderr) == ("[]\n", "")


ROOMS_OF_OBJECTS_WITH_A_LIFE = ("node", "keeper", "control", "apps")


def set_on_self(method: ast.AST) -> Iterator[tuple[str, int]]:
    """Each attribute of ``self`` that is bound somewhere in a method, however, with its line."""
    for node in ast.walk(method):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name, node.lineno


def set_late(kind: ast.ClassDef) -> Iterator[tuple[str, int]]:
    """The attributes of a class that are first set outside of ``__init__`` and are no fields, with their lines."""
    methods = [each for each in kind.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    known = {
        target.id
        for each in kind.body
        if isinstance(each, ast.AnnAssign | ast.Assign)
        for target in ([each.target] if isinstance(each, ast.AnnAssign) else each.targets)
        if isinstance(target, ast.Name)
    }
    known |= {name for method in methods if method.name == "__init__" for name, _ in set_on_self(method)}
    yield from ((name, line) for method in methods for name, line in set_on_self(method) if name not in known)


@pytest.mark.parametrize("room", ROOMS_OF_OBJECTS_WITH_A_LIFE)
def test_what_an_object_consists_of_is_said_in_its_init(room: str) -> None:
    """No attribute is first set outside of `__init__`: who reads that has seen all that an object may know."""
    late = [
        f"{where(file, line)} sets {kind.name}.{name}"
        for file in modules(RUNTIME / room)
        for kind in ast.walk(parsed(file))
        if isinstance(kind, ast.ClassDef)
        for name, line in set_late(kind)
    ]

    assert late == []


SCRIPTS = {TOOL / "steps/bytecode.py", TOOL / "planner/worker.py"}
"""Run by the release's interpreter, as processes of their own, which answer with their output and their status."""


def test_only_the_cli_prints_and_exits() -> None:
    """The tool's other modules return and raise: what is said, and with which status it ends, is the command's."""
    forbidden = {"print", "input", "exit", "quit", "breakpoint"}
    of_modules = {("sys", "exit"), ("sys", "stdout"), ("sys", "stderr"), ("os", "_exit"), ("os", "abort")}
    found = []
    for file in modules(TOOL):
        if {"cli", "templates"} & {*file.relative_to(TOOL).parts} or file.stem == "__main__" or file in SCRIPTS:
            continue
        for node in ast.walk(parsed(file)):
            match node:
                case ast.Call(func=ast.Name(id=name)) if name in forbidden:
                    found.append(f"{where(file, node.lineno)} calls {name}")
                case ast.Attribute(value=ast.Name(id=module), attr=name) if (module, name) in of_modules:
                    found.append(f"{where(file, node.lineno)} uses {module}.{name}")
                case ast.Name(id="SystemExit"):
                    found.append(f"{where(file, node.lineno)} uses SystemExit")
                case _:
                    pass

    assert found == []


def test_only_project_lock_and_sources_read_toml() -> None:
    """TOML is read where it is validated: pyproject.toml in project.py, locks in lock.py, what builds in sources.py."""
    readers = {
        str(file.relative_to(TOOL))
        for file in modules(TOOL)
        for name, _ in imports(parsed(file))
        if name in {"tomllib", "tomli", "tomlkit"}
    }

    assert readers <= {"project/project.py", "project/lock.py", "project/sources.py"}


def test_both_distributions_have_one_version() -> None:
    """The tool ships with the runtime of its own version."""
    tool, runtime = (
        tomllib.loads((place / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for place in (REPOSITORY, REPOSITORY / "runtime")
    )

    assert tool["version"] == runtime["version"]
    assert {*runtime["dependencies"]} <= {*tool["dependencies"]}, "the tool's wheel carries the runtime"
    assert not any(each.startswith("underway-runtime") for each in tool["dependencies"])


def test_the_set_up_begins_with_the_locked_uv() -> None:
    """requirements-bootstrap.txt is the uv of the lock, with all its hashes; `make lock` keeps it so."""
    lock = tomllib.loads((REPOSITORY / "uv.lock").read_text(encoding="utf-8"))
    uv = next(package for package in lock["package"] if package["name"] == "uv")
    pin, *hashes = (REPOSITORY / "requirements-bootstrap.txt").read_text(encoding="utf-8").split(" \\\n")

    assert pin == f"uv=={uv['version']}"
    assert {line.strip().removeprefix("--hash=") for line in hashes} == {
        file["hash"] for file in [uv["sdist"], *uv["wheels"]]
    }


def test_templates_are_files() -> None:
    """What is written into releases as it is lives in real files, so that linters read it."""
    assert {"launcher.sh", "env.sh", "python.args"} <= {file.name for file in (TOOL / "templates").rglob("*")}
