"""``bin/NAME systemd``: units for this release at this place, from the templates that it holds."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..process.settings import Settings
from ..release import boot_script
from ..release.addresses import host_and_port, join, socket_file
from ..release.boot_script import Load
from ..release.errors import DamagedRelease, UnderwayError, listing


def run(settings: Settings, *, user: str | None, notify_reload: bool, socket: bool) -> int:
    """Print a unit. Raises UnderwayError when the release has nothing to print it from."""
    print(_socket(settings) if socket else _service(settings, user or settings.name, notify_reload), end="")
    return 0


def _service(settings: Settings, user: str, notify_reload: bool) -> str:
    """`notify_reload` is for systemd 253 and later."""
    command = settings.directory.command(settings.name)
    return (
        _template(settings, "service")
        .replace("@COMMAND@", _quoted(command))
        .replace("@USER@", user)
        .replace("@TYPE@", "notify-reload" if notify_reload else "notify")
        .replace("@RELOAD@\n", "" if notify_reload else "ExecReload=/bin/kill -HUP $MAINPID\n")
    )


def _socket(settings: Settings) -> str:
    script = boot_script.read(settings.boot_script)
    loads = [load for load in script.instructions if isinstance(load, Load)]
    addresses = [address for load in loads for address in (load.start or {}).get("listen", ())]
    if not addresses:
        raise UnderwayError(f"{settings.name} was not built to listen anywhere; `listen` in [tool.underway] says where")
    problems: list[str] = []
    lines = [f"ListenStream={where}" for address in addresses for where in _stream(address, problems)]
    lines += _permissions(addresses, problems)
    if problems:
        raise UnderwayError(listing("systemd can't listen there:", problems))
    return _template(settings, "socket").replace("@LISTEN@", "\n".join(lines))


def _permissions(addresses: Sequence[str], problems: list[str]) -> list[str]:
    """systemd has one mode and one group for all socket files of a unit."""
    files = [file for address in addresses if (file := socket_file(address)) is not None]
    if len({(file.mode, file.group) for file in files}) > 1:
        problems.append(
            f"{' and '.join(file.address for file in files)} differ in mode or group, and a unit has one of each"
        )
    if not files:
        return []
    group = [f"SocketGroup={files[0].group}"] if files[0].group else []
    return [f"SocketMode={files[0].mode:04o}", *group]


def _stream(address: str, problems: list[str]) -> Iterator[str]:
    if (file := socket_file(address)) is not None:
        yield str(file.path).replace("%", "%%")
        return
    host, port = host_and_port(address)
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        problems.append(f"{address}: {host} is a name; systemd takes an IP address")
        return
    yield join(str(ip), port)


def _template(settings: Settings, kind: str) -> str:
    path = settings.place.unit(kind)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DamagedRelease(f"{path} can't be read: {error.strerror}; restore it from the release's archive") from None


def _quoted(path: Path) -> str:
    """The command of a unit, whose path may hold spaces; see systemd.syntax(7). In this place ``$`` means itself."""
    if wrong := sorted(set(str(path)) & {'"', "'", "\\", "\n"}):
        raise UnderwayError(f"systemd takes no command with {' '.join(map(repr, wrong))} in its path; move {path}")
    return f'"{str(path).replace("%", "%%")}"'
