"""Binaries made on the spot with gcc, and releases of them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from underway.packages import wheel_record
from underway.project.options import Options
from underway.release import Application, Release

VERSION = "3.11.2"

LOADER = r"""
#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **names) {
    for (int i = 1; i < count; i++)
        if (!dlopen(names[i], RTLD_NOW)) { puts(dlerror()); return 1; }
    char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) fputs(line, stdout);
    return 0;
}
"""
"""A program that loads libraries, as an interpreter does, and prints what it has mapped then."""


def library(path: Path, *needs: Path, rpath: str | None = None, runpath: str | None = None) -> Path:
    """A shared library that is known by its file's name and calls into the libraries that it needs."""
    calls = "".join(f"int {_symbol(need)}(void); " for need in needs)
    total = " + ".join(["1", *(f"{_symbol(need)}()" for need in needs)])
    return _compile(
        path, f"{calls} int {_symbol(path)}(void) {{ return {total}; }}", needs, rpath, runpath, shared=True
    )


def program(path: Path, *needs: Path, rpath: str | None = None, runpath: str | None = None) -> Path:
    """A program that calls into the libraries that it needs, and loads those that it is given."""
    calls = "".join(
        f"int {_symbol(need)}(void); int (*use_{_symbol(need)})(void) = {_symbol(need)};\n" for need in needs
    )
    return _compile(path, LOADER + calls, needs, rpath, runpath, shared=False)


def make_release(root: Path, *applications: str, **options: Any) -> Release:
    """A release whose interpreter is a program that loads what it is given; of applications as ``name-version``."""
    release = Release(
        name="bare",
        version="1.0",
        path=root,
        version_path=root / "releases/1.0",
        applications={name: Application(name, "1.0", dist_info=f"{name}-1.0.dist-info") for name in applications},
        interpreter_source=Path("/usr/bin/python3"),
        interpreter_version=VERSION,
        boot_scripts={},
        options=Options.of({"strip": False, **options}),
    )
    release.version_path.mkdir(parents=True)
    (root / f"python-{VERSION}/lib").mkdir(parents=True)
    program(interpreter(release), rpath="$ORIGIN/../lib")
    for name in applications:
        (root / f"lib/{name}-1.0").mkdir(parents=True)
    return release


def interpreter(release: Release) -> Path:
    """The program that stands for the interpreter."""
    return release.path / f"python-{VERSION}/bin/python3.11"


def record(home: Path) -> None:
    """Write the RECORD of the application in a directory, for the files that are there now."""
    info = f"{home.name}.dist-info"
    (home / info).mkdir(exist_ok=True)
    files = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
    wheel_record.write(home, info, files)


def is_true(home: Path) -> bool:
    """Whether the RECORD of the application in a directory lists all of its files as they are."""
    rows = dict(row.split(",")[:2] for row in (home / f"{home.name}.dist-info/RECORD").read_text().splitlines())
    files = {path.relative_to(home).as_posix(): path for path in home.rglob("*") if path.is_file()}
    return rows.keys() == files.keys() and all(
        digest in ("", wheel_record.digest(files[name].read_bytes())) for name, digest in rows.items()
    )


def load(release: Release, *libraries: Path) -> str:
    """What the interpreter has mapped when it has loaded libraries, in an empty environment."""
    return run([interpreter(release), *libraries])


def run(command: Sequence[Path], **environment: str) -> str:
    """What a program prints in an otherwise empty environment."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _compile(
    path: Path, source: str, needs: Sequence[Path], rpath: str | None, runpath: str | None, *, shared: bool
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    how = ["-shared", "-fPIC", f"-Wl,-soname,{path.name}"] if shared else []
    if runpath is not None:
        how += ["-Wl,--enable-new-dtags", f"-Wl,-rpath,{runpath}"]
    if rpath is not None:
        how += ["-Wl,--disable-new-dtags", f"-Wl,-rpath,{rpath}"]
    subprocess.run(
        ["gcc", "-xc", "-", "-o", path, *how, "-Wl,--no-as-needed,--allow-shlib-undefined", "-xnone", *needs],
        input=source,
        text=True,
        check=True,
        timeout=60,
    )
    return path


def _symbol(path: Path) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in path.name)
