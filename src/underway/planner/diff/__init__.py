"""Two releases -> what differs between them: interpreter, applications, files, and the modules that are to be compared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from underway_runtime.release.manifest import ManifestEntry
from underway_runtime.release.references import module_of
from underway_runtime.release.relup import Row, Verdict, unproven

from ..releases import Opened, module_name
from ..rules import read_again
from ..rules.read_again import STATIC, TEMPLATE
from ..rules.running import FORKING_LIBRARIES
from . import configuration, presence
from .imports_by_text import imported_by

RUNTIME = "underway_runtime"
BINARY = re.compile(r"\.(so|pyd|dylib|dll|a)(\.\d+)*$")
_METADATA = re.compile(r"[^/]+\.dist-info/(?!entry_points\.txt$)")


@dataclass(frozen=True)
class Difference:
    """What differs between two releases, apart from what is in the modules."""

    rows: tuple[Row, ...]
    added: tuple[str, ...]
    """Applications that only the newer of the two has, in the order of its start."""
    changed: tuple[str, ...]
    """Applications of another version, in that order."""
    removed: tuple[str, ...]
    interpreter: bool
    """Whether the interpreter or the runtime differs."""
    asked: tuple[Row, ...] = ()
    """Those of the rows that are RESTART only as long as nobody looks: who keeps the place of a file, and who has asked for what comes."""

    @property
    def in_place(self) -> bool:
        """Whether there is any use in comparing modules."""
        return not self.interpreter and not any(row.verdict == "REFUSE" for row in self.rows)

    @property
    def asking(self) -> list[str]:
        """The modules that may have asked for what comes or goes."""
        return [row.module for row in self.asked if row.change == presence.ASKED]


def difference(old: Opened, new: Opened, unread: frozenset[tuple[str, str]] = frozenset()) -> Difference:
    """Compare two releases of one name; `unread` holds, as package and name, files of which the appup says that they may change."""
    both = [name for name in new.rel if name in old.rel]
    changed = [name for name in both if old.rel[name][0] != new.rel[name][0] and name != RUNTIME]
    rows = [*_foundation(old, new)]
    interpreter = any(row.verdict == "RESTART" for row in rows)
    rows += configuration.rows(old, new)
    rows += _starts(old, new, both)
    rows += _beside(old, new)
    rows += _kinds(old, new)
    same = (name for name in both if name not in changed and name != RUNTIME)
    rows += [row for name in same for row in _unversioned(old, new, name)]
    for name in changed:
        rows += _files(old, new, name, unread)
    rows += presence.asking(old, new)
    asked = [row for row in rows if row.change in (TEMPLATE, STATIC, _NEW, presence.ASKED)]
    added = [name for name in new.rel if name not in old.rel]
    removed = [name for name in old.rel if name not in new.rel]
    rows += [
        _row(name, "added", "HOT", f"{name} {new.rel[name][0]} is loaded, and started if it starts") for name in added
    ]
    rows += [_row(name, "removed", "HOT", f"{name} {old.rel[name][0]} is stopped and unloaded") for name in removed]
    return Difference(
        tuple(dict.fromkeys(rows)),
        tuple(added),
        tuple(changed),
        tuple(removed),
        interpreter,
        tuple(dict.fromkeys(asked)),
    )


def _foundation(old: Opened, new: Opened) -> Iterator[Row]:
    """What a running process can't exchange: platform, interpreter, runtime, and how the process was started."""
    if old.manifest.target != new.manifest.target:
        yield _row("target", "value", "REFUSE", f"{old.manifest.target} and {new.manifest.target} are two platforms")
    was, now = old.manifest.interpreter, new.manifest.interpreter
    if was != now:
        yield _row("interpreter", "value", "RESTART", f"{was} becomes {now}")
    elif _below(old, f"python-{was}") != _below(new, f"python-{now}"):
        yield _row("interpreter", "value", "RESTART", f"its files are others, though it is {now} still")
    elif reason := unproven(now):
        yield _row("interpreter", "value", "RESTART", reason)
    if _code(_below(old, old.homes.get(RUNTIME, ""))) != _code(_below(new, new.homes.get(RUNTIME, ""))):
        yield _row(RUNTIME, "value", "RESTART", "the runtime itself differs", module=RUNTIME)
    for before, after, what in (
        (old.place.python_args, new.place.python_args, "the interpreter's arguments"),
        (old.place.env_sh, new.place.env_sh, "the environment"),
    ):
        if _digest(old, before.name) != _digest(new, after.name):
            yield _row(after.name, "value", "RESTART", f"{what} are set when the process starts")


def _starts(old: Opened, new: Opened, both: list[str]) -> Iterator[Row]:
    for name in both:
        start = new.starts.get(name)
        main = str(start.get("main", "")) if isinstance(start, dict) else ""
        if module_of(main).partition(".")[0] in FORKING_LIBRARIES:
            reason = f"{main} runs workers in processes of their own: while there is one, the node is handed over"
            yield _row("start", "processes", "HOT", reason, module=name)
        if old.starts.get(name) != new.starts.get(name):
            reason = "what starts it, or where it listens, differs"
            yield _row("start", "value", "RESTART", reason, module=name)
        if (was := old.rel[name][1]) != (now := new.rel[name][1]):
            yield _row("mode", "value", "RESTART", f"it is started as {now}, and runs as {was}", module=name)


_NAMESPACE = "a namespace package"


def _kinds(old: Opened, new: Opened) -> Iterator[Row]:
    """Modules that become packages, or the other way round, and what takes the place of a namespace, or leaves one there."""
    before, after = _kinds_of(old), _kinds_of(new)
    for name in sorted(before.keys() & after.keys()):
        if before[name] == after[name]:
            continue
        if not {before[name], after[name]} & {_NAMESPACE}:
            reason = f"it was {before[name]}, and becomes {after[name]}: it is told where its submodules are"
            yield Row(name, "", "kind", "HOT", reason, new.modules[name][1])
        else:
            file = new.modules.get(name, old.modules.get(name, ("", "")))[1]
            reason = f"it was {before[name]}, and becomes {after[name]}: its submodules, and what it imports with a dot, are others"
            yield Row(name, "", "kind", "RESTART", reason, file)


def _kinds_of(side: Opened) -> dict[str, str]:
    """What can be imported, by name: a module, a package, or a namespace, which is any directory without ``__init__.py``."""
    kinds = {}
    for home in set(side.homes.values()):
        for path in side.below.get(home, {}):
            parts = path.split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                if not parts[depth - 1].isidentifier():
                    break
                kinds[".".join(parts[:depth])] = _NAMESPACE
    for name, (_, file) in side.modules.items():
        kinds[name] = "a package" if file.endswith("/__init__.py") else "a module"
    return kinds


def _unversioned(old: Opened, new: Opened, name: str) -> Iterator[Row]:
    """An application whose version is the same must be the same: both releases have it at one place."""
    if name not in old.homes or name not in new.homes or old.homes[name] != new.homes[name]:
        return
    before, after = _below(old, old.homes[name]), _below(new, new.homes[name])
    if before != after:
        path = next(path for path in {**before, **after} if before.get(path) != after.get(path))
        reason = f"{name} is {new.rel[name][0]} in both, with other files ({path}); give it another version"
        yield _row(name, "value", "REFUSE", reason, module=name, file=f"lib/{new.homes[name]}/{path}")


def _files(old: Opened, new: Opened, name: str, unread: frozenset[tuple[str, str]]) -> Iterator[Row]:
    """Files of a changed application that are no modules."""
    before, after = (_below(side, side.homes.get(name, "")) for side in (old, new))
    for path in {**before, **after}:
        if "__pycache__/" in path or module_name(path) or _METADATA.match(path) or path.endswith(".appup"):
            continue
        was, now = _digest_of(before.get(path)), _digest_of(after.get(path))
        if path.endswith(".dist-info/entry_points.txt"):
            continue
        package, _, file = path.rpartition("/")
        if was == now or (package.replace("/", "."), file) in unread:
            continue
        where = f"lib/{new.homes[name] if path in after else old.homes[name]}/{path}"
        kind = read_again.kind(path)
        if BINARY.search(path):
            yield _row(path, "binary", "RESTART", "compiled code can't be loaded twice", module=name, file=where)
        elif path.endswith((".pth", ".start")):
            yield _row(path, "path", "RESTART", "it is read when the interpreter starts", module=name, file=where)
        elif kind and (was or _keeper_of_place(new, name)):
            problem = read_again.problem((old, new), name, kind)
            reason = problem or "whoever reads it must look for it where it is now"
            yield _row(path, "file" if problem else kind, "RESTART", reason, module=name, file=where)
        elif was is None and (keeper := _keeper_of_place(new, name)):
            reason = f"{keeper}, which looks where the code was when it was made: it would not find it"
            change = "file" if _OTHER_KEEPERS.search(keeper) else _NEW
            yield _row(path, change, "RESTART", reason, module=name, file=where)
        elif was is None:
            yield _row(path, "file", "HOT", "new; nothing has read it", module=name, file=where)
        elif _UNREAD.search(path):
            yield _row(path, "file", "HOT", "only tests, or what checks types, read it", module=name, file=where)
        else:
            reason = "it may have been read already; `Keep(package, file)` in the appup says that it is read each time"
            yield _row(path, "file", "RESTART", reason, module=name, file=where)
    points = [
        {
            p.rpartition("/")[2]: _digest_of(entry)
            for p, entry in side.items()
            if p.endswith(".dist-info/entry_points.txt")
        }
        for side in (before, after)
    ]
    if points[0] != points[1]:
        yield _row("entry_points.txt", "value", "RESTART", "entry points are read when frameworks start", module=name)


_UNREAD = re.compile(r"(^|/)tests/|\.pyi$|(^|/)py\.typed$")
"""Files that nothing reads which serves."""

_KEEPS_PLACE = re.compile(
    r"\b(Flask|Blueprint|PackageLoader|FileSystemLoader|Jinja2Templates|StaticFiles|TemplateLookup|TemplateLoader)\("
)
"""What is made with a directory of the application, or its name, and looks there from then on."""


_OTHER_KEEPERS = re.compile(r"Template(Lookup|Loader)$")
"""Those among them that are not told where the new version is: see `underway_runtime.upgrade.hot.caches`."""

_NEW = "new file"
"""A file that comes, for who must look for it where it is now."""


def _keeper_of_place(side: Opened, name: str) -> str:
    """What in an application keeps the place of its files, by its text, and where; empty for nothing."""
    keepers = []
    for module, text in side.texts(name):
        keepers += [f"{module} makes a {making[1]}" for making in _KEEPS_PLACE.finditer(text)]
    return next((keeper for keeper in keepers if _OTHER_KEEPERS.search(keeper)), keepers[0] if keepers else "")


def _beside(old: Opened, new: Opened) -> Iterator[Row]:
    """Files that are no application's: what wheels have put into the prefix, and the project's overlays."""
    before, after = (dict(_others(side)) for side in (old, new))
    for path in {**before, **after}:
        if path not in before:
            yield _row(path, "file", "HOT", "new; nothing has read it", file=path)
        elif _digest_of(before[path]) != _digest_of(after.get(path)):
            yield _row(path, "file", "RESTART", "it may have been read already", file=path)


def _others(side: Opened) -> Iterator[tuple[str, ManifestEntry]]:
    prefix = f"{side.place.path.relative_to(side.root).as_posix()}/"
    for path, entry in side.manifest.files.items():
        if path.startswith(prefix):
            below = path.removeprefix(prefix)
            if below.startswith(("share/", "etc/")) and not below.startswith(("share/man/", "share/doc/")):
                yield below, entry
        elif not path.startswith(("lib/", "releases/", "bin/", "python-")):
            yield path, entry


def compared(old: Opened, new: Opened, differing: Difference) -> list[str]:
    """The modules to compare: all of the applications that change, and all others that may hold what is theirs."""
    changed = set(differing.changed)
    homes = {side.homes.get(name) for side in (old, new) for name in changed}
    holders = {name for name in new.requires if name not in changed and _requires(new, name) & changed}
    names = {module for side in (old, new) for module, (_, file) in side.modules.items() if file.split("/")[1] in homes}
    return sorted(names | _importing(new, names, holders))


def _requires(side: Opened, name: str) -> set[str]:
    names: set[str] = set()
    queue = [name]
    while queue:
        for requirement in side.requires.get(queue.pop(), ()):
            if requirement not in names:
                names.add(requirement)
                queue.append(requirement)
    return names


def _importing(side: Opened, names: set[str], holders: set[str]) -> set[str]:
    """The modules of these applications that import any with these names, or import one that does, by their text."""
    imported = {
        module: imported_by(side.root / file, module)
        for module, (application, file) in side.modules.items()
        if application in holders
    }
    importing: set[str] = set()
    while more := {
        module for module, every in imported.items() if module not in importing and every & (names | importing)
    }:
        importing |= more
    return importing


def _row(definition: str, change: str, verdict: Verdict, reason: str, *, module: str = "", file: str = "") -> Row:
    return Row(module, definition, change, verdict, reason, file)


def _below(side: Opened, directory: str) -> Mapping[str, ManifestEntry]:
    return side.below.get(directory, {})


def _digest(side: Opened, name: str) -> str | None:
    path = f"{side.place.path.relative_to(side.root).as_posix()}/{name}"
    return _digest_of(side.manifest.files.get(path))


def _digest_of(entry: ManifestEntry | None) -> str | None:
    return None if entry is None else entry.sha256 or f"-> {entry.link}"


def _code(files: Mapping[str, ManifestEntry]) -> dict[str, str | None]:
    """What a runtime is made of, whatever its version is called."""
    return {path: _digest_of(entry) for path, entry in files.items() if ".dist-info/" not in path}
