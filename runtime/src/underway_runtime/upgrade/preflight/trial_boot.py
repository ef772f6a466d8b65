"""A version is tried in an interpreter of its own: all of a boot that comes before the first start, and nothing after it.

`check` starts it as ``bin/NAME scratch REPORT SECONDS [RUNNING]`` with the RELEASE_VSN of that version, and reads REPORT, which
has a JSON object on each line: ``{"begin": what}`` before each thing that may hang, and at the end ``{"found": {…}}``.
Nothing else is written, and no value that is secret leaves this process.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import socket
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from ...apps.launch import overlaps
from ...apps.service import describe
from ...apps.serving import ServerContext
from ...apps.sockets import Listeners
from ...configuration import boot_config, resolution, schema
from ...configuration.config import MISSING, Values, config
from ...configuration.provenance import REDACTED, leaves, without_passwords
from ...configuration.resolution import Resolved
from ...control import cookie
from ...node.in_place_install import unasked, untold
from ...process import proc_sockets
from ...process.log import log
from ...process.settings import Settings, from_environ
from ...release import boot_script, gates
from ...release.addresses import SocketFile, host_and_port, socket_file
from ...release.boot_script import BootScript, CodePath, Load, PrimLoad, Start, check_code_path
from ...release.errors import UnderwayError
from ...release.references import find, module_of
from .report import AddressChange, ChangeKind, ConfigurationChange, TrialReport

T = TypeVar("T")
_KINDS = ("class", "asgi", "wsgi", "main")


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Write the report; never returns to what an import may have left behind, threads and exit handlers."""
    file, seconds, *running = arguments
    signal.alarm(int(seconds) + 1)  # where who waits is gone
    settings = from_environ(environ)
    cookie.hide(os.environ, settings)
    with open(file, "a", buffering=1, encoding="utf-8") as report:
        trial = _Trial(settings, lambda line: report.write(f"{json.dumps(line)}\n"))
        report.write(f"{json.dumps({'found': trial.run(*running).as_json()})}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class _Trial:
    def __init__(self, settings: Settings, tell: Callable[[dict[str, Any]], object]) -> None:
        self._settings = settings
        self._tell = tell
        self._problems: list[str] = []
        self._notes: list[str] = []
        self._broken: set[str] = set()
        """Modules that can't be imported, which is said once."""

    def run(self, running: str | None = None) -> TrialReport:
        """Try the version; `running` is the one that it would follow."""
        report = TrialReport()
        script = self._try("the boot script", lambda: boot_script.read(self._settings.boot_script))
        if script is not None:
            resolved = self._try("the configuration", lambda: boot_config.resolve(self._settings, script, self._begin))
            self._import(script)
            self._gates(script)
            if resolved is not None:
                report = self._configured(script, boot_config.with_boot_script(resolved, script), running)
        return replace(report, problems=tuple(self._problems), notes=tuple(self._notes))

    def _configured(self, script: BootScript, new: Resolved, running: str | None) -> TrialReport:
        """What is found out where the version has a configuration."""
        old = self._running_configuration() if running else None
        return TrialReport(
            configuration=None if old is None else changes(old, new),
            untold=None if running is None or old is None else self._untold(script, old.values, new.values, running),
            addresses=self._addresses(script, new.values, running, old),
            providers=tuple(name for name, _ in resolution.read(self._settings.sys_config).providers),
            schemas=self._try("the schemas", lambda: schema.having(script.instructions)) or {},
            alone=self._alone(script),
        )

    def _untold(self, script: BootScript, old: Values, new: Values, running: str) -> tuple[str, ...]:
        """Why the change of configuration takes a new interpreter."""
        wanted = self._try("the gates", lambda: gates.read(self._settings.place.gates)) or ()
        sockets = bool(self._settings.directory.version(running).gates.exists())
        kinds = {load.application: (load.start or {}).get("class") for load in started(script)}
        classes = {name: self._find_or_none(reference) for name, reference in kinds.items() if reference is not None}
        return (*untold(old, new, classes), *unasked(wanted, sockets))

    def _alone(self, script: BootScript) -> tuple[str, ...]:
        """The applications that must not run in two nodes at once."""
        context = ServerContext(config.get, log, lambda _: Listeners(()))
        loads = [
            instruction
            for instruction in started(script)
            if self._find_or_none((instruction.start or {}).get("class", "sys:path"))
        ]
        alone = (
            self._try(f"overlap of {instruction.application}", partial(overlaps, instruction, context))
            for instruction in loads
        )
        return tuple(load.application for load, may in zip(loads, alone, strict=True) if may is False)

    def _find_or_none(self, reference: str) -> Any:
        """Find what a reference names; None where that has been told to be broken."""
        with contextlib.suppress(Exception, SystemExit):
            return find(reference)
        return None

    def _begin(self, what: str) -> None:
        self._tell({"begin": what})

    def _try(self, what: str, call: Callable[[], T]) -> T | None:
        self._begin(what)
        try:
            return call()
        except UnderwayError as error:
            self._problems.append(str(error))
        except (Exception, SystemExit) as error:
            self._problems.append(f"{what}: {describe(error)}")
        return None

    def _import(self, script: BootScript) -> None:
        for instruction in script.instructions:
            match instruction:
                case CodePath(directories=directories):
                    self._try("the code path", partial(check_code_path, directories, self._settings.directory.lib))
                case PrimLoad(modules=modules) if self._settings.mode == "embedded":
                    for module in modules:
                        self._attempt(module, module, import_module)
        for load in started(script):
            for reference in ((load.start or {}).get(kind) for kind in _KINDS):
                if reference is not None:
                    self._attempt(module_of(reference), reference, find)

    def _attempt(self, module: str, reference: str, call: Callable[[str], object]) -> None:
        if module in self._broken:
            return
        self._begin(f"the import of {module}")
        try:
            call(reference)
        except UnderwayError as error:
            self._problems.append(str(error))
        except (Exception, SystemExit) as error:
            self._broken.add(module)
            self._problems.append(f"{module} can't be imported: {describe(error)}")

    def _gates(self, script: BootScript) -> None:
        web = [load.application for load in started(script) if {"asgi", "wsgi"}.intersection(load.start or {})]
        for gate in self._try("the gates", lambda: gates.read(self._settings.place.gates)) or ():
            if gate.reference is not None:
                self._attempt(module_of(gate.reference), gate.reference, find)
            if (problem := gate.problem(web)) is not None:
                self._problems.append(problem)

    def _running_configuration(self) -> Resolved | None:
        try:
            resolved = boot_config.of_running_node(self._settings)
        except UnderwayError as error:
            self._notes.append(f"the configuration can't be compared: {error}")
            return None
        if resolved is None:
            self._notes.append("the configuration can't be compared: the running node keeps no record of its own")
        return resolved

    def _addresses(
        self, script: BootScript, values: Values, running: str | None, old: Resolved | None
    ) -> tuple[AddressChange, ...]:
        after = _listens(script, values)
        before: dict[str, str] = {}
        if running is not None and old is not None:
            file = self._settings.directory.version(running).boot_script(self._settings.boot_script.stem)
            before = _listens(
                self._try("the boot script of the running version", lambda: boot_script.read(file)), old.values
            )
        addresses = []
        unchanged = {_bound_address(address) for address in before}
        for address, application in after.items():
            same = _bound_address(address) in unchanged
            addresses.append(AddressChange(address, application, "same" if same else "new"))
            if not same and (running is None or old is not None) and (problem := _bind_problem(address)):
                self._problems.append(f"{application} is to listen on {address}, which can't be bound: {problem}")
        addresses += [
            AddressChange(address, application, "gone")
            for address, application in before.items()
            if _bound_address(address) not in map(_bound_address, after)
        ]
        return tuple(addresses)


def changes(old: Resolved, new: Resolved) -> tuple[ConfigurationChange, ...]:
    """What differs, sorted by key; secrets are redacted."""
    before, after = dict(leaves(old.values)), dict(leaves(new.values))
    rows = []
    for path in sorted(before.keys() | after.keys()):
        was, becomes = before.get(path, MISSING), after.get(path, MISSING)
        if was is not MISSING and becomes is not MISSING and _text(was) == _text(becomes):
            continue
        is_secret = old.origins.is_secret(path) or new.origins.is_secret(path)
        shown = [
            None if value is MISSING else REDACTED if is_secret else without_passwords(value)
            for value in (was, becomes)
        ]
        kind: ChangeKind = "added" if was is MISSING else "removed" if becomes is MISSING else "changed"
        rows.append(ConfigurationChange(".".join(path), kind, *shown))
    return tuple(rows)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)  # where true is not 1


def started(script: BootScript) -> list[Load]:
    """The applications that a boot script starts, libraries too."""
    names = {instruction.application for instruction in script.instructions if isinstance(instruction, Start)}
    return [
        instruction
        for instruction in script.instructions
        if isinstance(instruction, Load) and instruction.application in names
    ]


def _listens(script: BootScript | None, values: Values) -> dict[str, str]:
    """By address, which application listens there."""
    addresses: dict[str, str] = {}
    if isinstance(metrics := values.get("underway_runtime", {}).get("metrics"), str):
        addresses[metrics] = "underway_runtime"
    for load in started(script) if script is not None else ():
        listen = values.get(load.application, {}).get("listen")
        if isinstance(listen, list) and all(re.match(r"(tcp|unix)://", str(address)) for address in listen):
            addresses |= {str(address): load.application for address in listen}
    return addresses


def _bound_address(address: str) -> str:
    """An address without who may connect to it, which may change from version to version."""
    with contextlib.suppress(ValueError):
        if file := socket_file(address):
            return file.address
    return address


def _bind_problem(address: str) -> str | None:
    """Find out why an address can't be bound now; None where it can. Listens nowhere, and leaves no file."""
    try:
        if (file := socket_file(address)) is not None:
            return _file_problem(file.path) or _group_problem(file)
        host, port = host_and_port(address)
        targets = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    unavailable: list[str] = []
    for family, _, _, _, target in targets:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(target)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                return error.strerror or str(error)
            unavailable.append(error.strerror or str(error))
    return unavailable[0] if len(unavailable) == len(targets) else None


def _group_problem(file: SocketFile) -> str | None:
    gid = file.gid()
    if gid is None or os.geteuid() == 0 or gid in (os.getegid(), *os.getgroups()):
        return None
    return f"the user of the node is not of the group {file.group}, so it can't give that a file"


def _file_problem(path: Path) -> str | None:
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"{path.parent} is not there, or can't be written"
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISSOCK(mode):
        return "a file is there already, and is not a socket"
    return "another process listens there" if proc_sockets.is_bound(path) else None
