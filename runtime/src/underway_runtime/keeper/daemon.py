"""The keeper as a program: in the foreground, or in the background once the node is ready."""

from __future__ import annotations

import os

from ..release import standard
from .keeper import Keeper
from .logs import Log, Terminal
from .systemd_notify import Systemd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

_READY = b"ready "


def main(command: str, arguments: Sequence[str], environ: MutableMapping[str, str]) -> int:
    """Keep the node of ``command`` running; the exit status of this process. `arguments` begin with start or daemon."""
    standard.fill()
    systemd = Systemd(environ)
    if arguments[0] == "daemon":
        return _daemon(command, arguments, environ, systemd)
    return Keeper(command, arguments, environ, systemd, Terminal(), lambda note: None).run()


def _daemon(command: str, arguments: Sequence[str], environ: MutableMapping[str, str], systemd: Systemd) -> int:
    """Let another process do it; return when the node is ready, or has failed, with what it said and its status."""
    _close_others(systemd.descriptors)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child:
        os.close(writing)
        return _outcome(reading, child)
    os.close(reading)
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    log = Log()
    is_reported = False

    def report(data: bytes) -> None:
        nonlocal is_reported
        if not is_reported:
            is_reported = True
            try:
                os.write(writing, data)
            except OSError:
                pass  # who waited for it has gone
            os.close(writing)

    try:
        status = Keeper(command, arguments, environ, systemd, log, lambda note: report(_READY + note.encode())).run()
    except BaseException:
        import traceback

        log.add(traceback.format_exc().encode(), 0.0)
        status = 1
    report(b"%d\n%s" % (status, log.tail))
    os._exit(status)


def _close_others(keep: Sequence[int]) -> None:
    """Let go of what the caller has open: who waits for the end of a pipe, or for a lock, does not wait for a daemon."""
    try:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        descriptors = [*range(3, 256)]
    for descriptor in descriptors:
        if descriptor > 2 and descriptor not in keep:
            try:
                os.close(descriptor)
            except OSError:
                pass  # that of the listing


def _outcome(reading: int, child: int) -> int:
    report = b""
    while True:
        try:
            data = os.read(reading, 65536)
        except KeyboardInterrupt:
            os.kill(child, 15)
            continue
        if not data:
            break
        report += data
    if report.startswith(_READY):
        if note := report[len(_READY) :]:
            os.write(2, note + b"\n")
        return 0
    os.waitpid(child, 0)  # so that nothing is left of it when this returns
    status, _, text = report.partition(b"\n")
    os.write(2, text if status else b"error: the keeper ended without a word\n")
    if status == b"0":
        os.write(2, b"error: it has ended, with status 0, before it was ready\n")
        return 1
    return int(status) if status else 1
