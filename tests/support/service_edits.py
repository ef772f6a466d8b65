"""Services of well-known frameworks, edits of the kind that is made daily, and what comes of each in a process that runs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from code_server_helpers import compile_all
from handover_helpers import start, status
from hot_helpers import run, state, write_rel
from node_helpers import App, MakeNode, Node, Process, eventually, terminate
from services import Request, ask
from sources import PROJECTS
from underway.planner.plan import plan
from underway.planner.releases import open_release
from underway.steps.picture import take
from underway_runtime.release import relup
from underway_runtime.release.relup import Relup, Verdict
from versions import add, seal

LONG = 90.0
"""Seconds for an install."""

Files: TypeAlias = Mapping[str, str]
"""The files of a version, by path."""

Changes: TypeAlias = tuple[tuple[str, str, str], ...]
"""Each the path of a file, a text in it, and what stands there afterwards; a file that was empty, or not there, is new."""


@dataclass(frozen=True)
class Service:
    """A project below tests/projects, and how it is served and asked."""

    project: str
    start: Mapping[str, Any]
    libraries: tuple[str, ...]
    before: tuple[Request, ...]
    """What gives it a state: these change what it holds."""
    requests: tuple[Request, ...]
    """What each version is asked; these change nothing."""
    kept: str
    """A program that prints what it holds, which no edit changes."""

    @property
    def name(self) -> str:
        """The package."""
        return next((PROJECTS / self.project / "v1").iterdir()).name

    @property
    def files(self) -> dict[str, str]:
        """Those of its first version."""
        root = PROJECTS / self.project / "v1"
        paths = (each for each in sorted(root.rglob("*")) if each.is_file() and each.suffix != ".pyc")
        return {each.relative_to(root).as_posix(): each.read_text(encoding="utf-8") for each in paths}

    def app(self, files: Files) -> App:
        """A version of it."""
        modules = [
            each.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            for each in files
            if each.endswith(".py")
        ]
        begins = str(next(iter(self.start.values()))).partition(":")[0]
        named = sorted(each for each in modules if all(part.isidentifier() for part in each.split(".")))
        preloaded = (begins, *(each for each in named if each != begins and each.partition(".")[0] == self.name))
        return App(self.name, start=self.start, files=files, modules=preloaded)


@dataclass(frozen=True)
class Edit:
    """One edit of a service, what the plan is to say of it, and what is asked beyond what each version is."""

    name: str
    changes: Changes
    requests: tuple[Request, ...] = ()
    up: Verdict = "HOT"
    down: Verdict = "HOT"
    library: Files = field(default_factory=dict)
    """The files of a distribution that comes with it; none for none."""


def edited(files: Files, changes: Changes) -> dict[str, str]:
    """The files with these changes; one that is left without a text goes."""
    result = dict(files)
    for path, was, becomes in changes:
        text = result.get(path, "")
        assert was in text if was else not text, f"{path} has no {was!r}, or is there"
        result[path] = text.replace(was, becomes, 1) if was else becomes
    return {path: text for path, text in result.items() if text or not files.get(path)}


class Running:
    """A service that runs in its first version, and becomes others."""

    def __init__(self, service: Service, make: MakeNode, interpreter: Any, at: str = "") -> None:
        self.service = service
        self.node = make(service.app(service.files), libraries=(*service.libraries,), at=at or service.project)
        self._interpreter = interpreter
        self._compile("1.0")
        self._versions = 1
        self._finished: set[str] = set()
        self._process: Process | None = None
        self.port = 0
        self._answers: dict[str, tuple[int, str]] = {}

    def planned(self, files: Files, library: Files | None = None, before: str = "1") -> tuple[str, Relup]:
        """Another version, and the plan that leads to it from an earlier one, and back."""
        version = self.added(files, library)
        place = self.node.root / "releases" / version
        for each in (before, version):
            self._finish(each)
        with ExitStack() as cleanup:
            old, new = (open_release(self.node.root / "releases" / each, cleanup) for each in (before, version))
            made = plan(new, [old], [old])
        (place / "relup").write_text(relup.dump(made))
        seal(self.node, version)
        return version, made

    def added(self, files: Files, library: Files | None = None) -> str:
        """Another version."""
        self._versions += 1
        version = str(self._versions)
        apps = [self.service.app(files)]
        apps += [App("extra_words", files=library)] if library else []
        add(self.node, version, *apps)
        self._compile(f"{version}.0")
        return version

    def _finish(self, version: str) -> None:
        """What a build writes last: the picture, and the manifest."""
        if version in self._finished:
            return
        write_rel(self.node, version)
        seal(self.node, version)  # with this the interpreter is the release's own, which a picture is told of
        take(self.node.root, version, self.node.root / "releases" / version)
        seal(self.node, version)
        self._finished.add(version)

    def _compile(self, version: str) -> None:
        for each in self.node.root.glob(f"lib/*-{version}"):
            if not each.is_symlink() and each.name != "installed-1.0":
                compile_all(self._interpreter, each)

    def serves(self, requests: Sequence[Request]) -> None:
        """Start it in its first version, unless it runs; what that answers to these is kept."""
        if self._process is None:
            self._process, self.port = self._started(self.node)
            self.pid = status(self.node)["pid"]
        missing = [each for each in requests if repr(each) not in self._answers]
        answers = self._asked(self.node, self.port, missing)
        self._answers |= dict(zip(map(repr, missing), answers, strict=True))

    def first(self, requests: Sequence[Request]) -> list[tuple[int, str]]:
        """What a fresh start of the first version has answered to these."""
        return [self._answers[repr(each)] for each in requests]

    def become(self, version: str, requests: Sequence[Request]) -> list[tuple[int, str]]:
        """What it answers once it has become that version in place."""
        process = self.node.spawn("install", version, "--at-least", "hot", stderr=subprocess.STDOUT)
        out, _ = process.communicate(timeout=LONG)  # both versions are imported before
        assert process.returncode == 0, out
        assert status(self.node)["pid"] == self.pid
        return self._asked(self.node, self.port, requests)

    def end(self) -> None:
        """Stop it."""
        assert self._process is not None
        assert terminate(self._process)[0] == 0

    def held(self) -> str:
        """What it holds, as its program prints it."""
        return run(self.node, "rpc", self.service.kept)

    def fresh(self, version: str, requests: Sequence[Request]) -> list[tuple[int, str]]:
        """What a fresh start of that version answers, next to the one that runs."""
        var = self.node.root / f"var-{version}"
        other = replace(
            self.node, environ={**self.node.environ, "RELEASE_VAR": str(var), "RELEASE_VSN": version}, processes=[]
        )
        process, port = self._started(other)
        try:
            return self._asked(other, port, requests)
        finally:
            assert terminate(process)[0] == 0
            shutil.rmtree(var)

    def _started(self, node: Node) -> tuple[Process, int]:
        if "class" in self.service.start:
            process, port = node.spawn("start", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), 0
            eventually(lambda: state(node), "it runs")
        else:
            process, port = start(node)
        self._asked(node, port, self.service.before)
        return process, port

    @staticmethod
    def _asked(node: Node, port: int, requests: Sequence[Request]) -> list[tuple[int, str]]:
        answers = []
        for each in requests:
            answers += [(0, run(node, "rpc", each[1]))] if each[0] == "rpc" else ask(port, each)
        return answers
