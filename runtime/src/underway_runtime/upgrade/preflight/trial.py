"""The trial of a version, from outside: `scratch` in an interpreter of that version, as the user who runs the node.

=====================================  ================================================================================
who asks                               what is done
=====================================  ================================================================================
the user who runs the node             it is tried, with the environment and working directory of the keeper
root, and that is another user         it is tried as that user, with no more than he has: his groups, the keeper's surroundings as far
                                       as he may see them, no new privileges, no descriptor, terminal or variable of root's
anybody else                           it is not tried: what he may read is not what the node may read
=====================================  ================================================================================

That user is the owner of ``var``, or where several may write there the one who has made ``run`` in it; nobody is asked for him. What
the trial writes is a stranger's: its report is of a bounded size and each field of it is looked at, its output is bounded too, and
it and all that it has started end with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...process import facts, lock, orphans, termination
from ...process.settings import OF_A_VERSION, Settings
from ...release import names
from ...release.display import many_lines, one_line
from ...release.errors import UnderwayError
from ...release.filesystem import openat
from .report import TrialReport, read

_OF_SYSTEMD = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
_LAST_WORDS = 2000
"""Characters of what a trial printed that are shown when it died."""
_LARGEST = 8 << 20
"""Bytes of a report."""
_OF_RELEASE = (
    "RELEASE_BOOT_SCRIPT",
    "RELEASE_BOOT_SCRIPT_CLEAN",
    "RELEASE_DISTRIBUTION",
    "RELEASE_MODE",
    "RELEASE_NODE",
    "RELEASE_PROG",
    "RELEASE_REMOTE_VM_ARGS",
    "RELEASE_SYS_CONFIG",
    "RELEASE_TMP",
    "RELEASE_VAR",
    "RELEASE_VM_ARGS",
)
_OF_ROOT = ("LANG", "LANGUAGE", "TZ", *_OF_RELEASE)
"""What root's own environment gives to a trial as another user where no keeper runs, with ``LC_*``."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class NodeUser:
    """Who runs the node."""

    uid: int
    gid: int

    @property
    def name(self) -> str:
        return openat.user(self.uid)


def node_user(settings: Settings) -> NodeUser:
    """The owner of ``var``; who asks, where there is none yet. Raises UnderwayError where that can't be said."""
    try:
        with openat.directory(settings.tmp.path) as var:
            return _maker(var) if var.is_shared else NodeUser(var.uid, var.gid)
    except FileNotFoundError:
        return NodeUser(os.geteuid(), os.getegid())
    except OSError as error:
        raise UnderwayError(f"{settings.tmp.path} can't be read: {error.strerror}; RELEASE_VAR says where") from None


def _maker(var: openat.Directory) -> NodeUser:
    """Of a `var` in which several users may write: who has made what the node makes; who asks, where nobody has and it is not root."""
    try:
        with var.directory(names.RUN) as run:
            return NodeUser(run.uid, run.gid)
    except FileNotFoundError:
        return NodeUser(var.uid, var.gid) if os.geteuid() == 0 else NodeUser(os.geteuid(), os.getegid())


def of_node(settings: Settings, pid: object) -> int | None:
    """A pid that somebody has stated, if it is that of a process of the node's user; or of root's own, where ``var`` is root's."""
    user = node_user(settings)
    return pid if lock.is_pid(pid) and (user.uid == 0 or lock.owner_of(pid) == user.uid) else None


@contextlib.contextmanager
def trial(settings: Settings, version: str, running: str | None, timeout: float) -> Iterator[TrialReport]:
    """What `trial_boot` finds in an interpreter of that version."""
    user, uid = node_user(settings), os.geteuid()
    if uid not in (0, user.uid):
        note = (
            f"it was not tried: {user.name} runs the node, and only {user.name} and root can try what that user may do"
        )
        yield TrialReport(notes=(note,))
        return
    with _directory(user) as directory:
        report = directory / "report"
        command = [str(settings.directory.command(settings.name)), "scratch", str(report), str(int(timeout) + 1)]
        command += [running] if running is not None else []
        variables = {"RELEASE_VSN": version, "TMPDIR": str(directory)}
        keeper = _keeper(settings, user)
        if uid == user.uid:
            ended, output = _run(command, timeout, **_as_ours(settings, keeper, variables))
        else:
            words, how = _as_theirs(settings, user, keeper, command, variables)
            ended, output = _run(words, timeout, **how)
        yield _report_of(directory, ended, output, timeout)


@contextlib.contextmanager
def _directory(user: NodeUser) -> Iterator[Path]:
    """A directory of the node's user, in one of ours that nobody else can rename."""
    ours = user.uid == os.geteuid()
    above = Path(tempfile.mkdtemp(prefix="underway-check-", dir=None if ours else _shared()))
    try:
        if ours:
            yield above
            return
        above.chmod(0o711)
        directory = above / "trial"
        directory.mkdir(mode=0o700)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchown(descriptor, user.uid, user.gid)
        finally:
            os.close(descriptor)
        yield directory
    finally:
        with contextlib.suppress(OSError, RecursionError):
            shutil.rmtree(above)


def _shared() -> str | None:
    """Not where root's own TMPDIR is, into which another user may not look."""
    return next((directory for directory in ("/tmp", "/var/tmp") if os.path.isdir(directory)), None)


def _keeper(settings: Settings, user: NodeUser) -> int | None:
    """The keeper, as the lock shows it, if it is a process of the node's user."""
    with contextlib.suppress(UnderwayError):
        if (running := lock.find(settings.tmp, settings.name)) is not None and lock.owner_of(running.pid) == user.uid:
            return running.pid
    return None


def _as_ours(settings: Settings, keeper: int | None, variables: Mapping[str, str]) -> dict[str, Any]:
    """What the keeper was started with, and its next node will have; where none runs, what this command has."""
    environ = facts.environment(keeper) or dict(os.environ)
    directory = f"{settings.place.path}/"
    ours = [name for name in OF_A_VERSION if environ.get(name, "").startswith(directory)]
    inherited = {name: value for name, value in environ.items() if name not in (*ours, *_OF_SYSTEMD)}
    return {"env": {**inherited, **variables}, "cwd": facts.working_directory(keeper)}


def _as_theirs(
    settings: Settings, user: NodeUser, keeper: int | None, command: Sequence[str], variables: Mapping[str, str]
) -> tuple[list[str], dict[str, Any]]:
    """The words and the surroundings with which root starts a process that is the node's user's from its first moment."""
    wanted = {
        "keeper": keeper,
        "command": command,
        "set": variables,
        "without": _OF_SYSTEMD,
        "of_version": OF_A_VERSION,
        "own": f"{settings.place.path}/",
    }
    environ = {name: os.environ[name] for name in _OF_ROOT if name in os.environ}
    environ |= {name: value for name, value in os.environ.items() if name.startswith("LC_")}
    directory = f"{settings.place.path}/"
    environ = {
        name: value for name, value in environ.items() if name not in OF_A_VERSION or not value.startswith(directory)
    }
    environ |= {"PATH": _PATH, "HOME": "/", "USER": user.name, "LOGNAME": user.name, "SHELL": "/bin/sh"}
    gid, groups = user.gid, [user.gid]
    with contextlib.suppress(KeyError):
        entry = pwd.getpwuid(user.uid)
        gid, groups = entry.pw_gid, os.getgrouplist(entry.pw_name, entry.pw_gid)
        environ |= {"HOME": entry.pw_dir, "SHELL": entry.pw_shell or "/bin/sh"}
    if keeper is not None and (of_keeper := _groups(keeper, user.uid)) is not None:
        gid, groups = of_keeper
    code = Path(__file__).with_name("trial_user.py")
    words = [str(settings.place.python), "-I", "-S", "-B", str(code), json.dumps(wanted)]
    who = {"user": user.uid, "group": gid, "extra_groups": groups}
    return words, {"env": environ, "cwd": "/", "umask": 0o022, **who}


def _groups(keeper: int, uid: int) -> tuple[int, list[int]] | None:
    """The groups of the keeper, read at once with the proof that it is that user's process: a unit may give it more than he has else."""
    with contextlib.suppress(KeyError, ValueError):
        fields = facts.status(keeper)
        if {*fields["Uid"]} == {str(uid)} and len({*fields["Gid"]}) == 1:
            return int(fields["Gid"][0]), [int(group) for group in fields["Groups"]]
    return None


def _run(words: Sequence[str], timeout: float, **how: Any) -> tuple[int | None, bytes]:
    """Run it; returns the exit status, or None for one that was killed at the end of its time; and the end of its output."""
    reader, writer = os.pipe()
    tail = _Tail(reader)
    with orphans.gathered() as sweep:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, start_new_session=True, **how
            )
        except OSError as error:
            os.close(writer)
            raise UnderwayError(f"{words[0]} can't be executed: {error.strerror}") from None
        os.close(writer)
        is_over = False
        try:
            is_over = termination.has_ended(process, timeout)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # before its status is taken: then the group may be another's
            status = process.wait()
            sweep()
    return status if is_over else None, tail.end()


class _Tail:
    """Reads to the end, so that who writes never waits, and keeps the end of it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._kept = b""
        self._thread = threading.Thread(target=self._read, name="output of the trial", daemon=True)
        self._thread.start()

    def end(self) -> bytes:
        """Return what is kept, when all writers are gone; one that could not be ended is not waited for."""
        self._thread.join(1.0)
        return self._kept

    def _read(self) -> None:
        try:
            while data := os.read(self._descriptor, 65536):
                self._kept = (self._kept + data)[-4 * _LAST_WORDS :]
        finally:
            os.close(self._descriptor)


def _report_of(file: Path, ended: int | None, output: bytes, timeout: float) -> TrialReport:
    doing = "its start"
    with contextlib.suppress(OSError, ValueError, RecursionError):
        for line in openat.read(file, file / "report", _LARGEST).splitlines():
            match json.loads(line):
                case {"found": document}:
                    return read(document)
                case {"begin": str(doing)}:
                    pass
    doing = one_line(doing, 200)
    if ended is None:
        problem = f"{doing} has not come to an end within {timeout:g} s, and was killed"
    else:
        how = f"signal {-ended}" if ended < 0 else f"status {ended}"
        last_words = many_lines(output.decode(errors="replace")[-_LAST_WORDS:].strip())
        problem = f"{doing} ended the process, with {how}" + (
            f"; its output ends with: {last_words}" if last_words else ""
        )
    return TrialReport(problems=(problem,))
