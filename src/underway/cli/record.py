"""underway record: what is asked of a running service becomes a file of traffic, for `underway rehearse`."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import click

from underway_runtime.release import addresses
from underway_runtime.release.errors import UsageError

from ..errors import BuildError
from ..rehearsal.recording import Proxy, Recording


@click.command(short_help="Write down what is asked of a running service, for a rehearsal.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@click.option("--to", "service", required=True, metavar="HOST:PORT", help="Where the service listens.")
@click.option(
    "--listen", default="127.0.0.1:0", metavar="ADDRESS:PORT", help="Where to listen, on loopback; default any port."
)
@click.option("--header", multiple=True, metavar="NAME", help="A header to write down too, Cookie for example.")
def record(file: Path, service: str, listen: str, header: tuple[str, ...]) -> None:
    """Listen on loopback, pass all requests on to the service, and write them to FILE, until Ctrl-C.

    What is written: method, path with its query, body, messages of WebSockets, and of the headers Accept, Accept-Language and
    Content-Type. Bodies and queries may hold secrets: FILE is readable by its owner only; look at it before it goes anywhere.
    """
    address, target = _address(listen), _address(service)
    if not _is_loopback(address[0]):
        raise UsageError(f"--listen {listen} is not on loopback; what is recorded there would be anybody's")
    try:
        recording = Recording(file, header)
    except OSError as error:
        raise BuildError(f"{file} can't be written: {error.strerror}") from error
    try:
        with Proxy(address, target, recording) as proxy:
            host, port = proxy.server_address[:2]
            click.echo(f"recording http://{host!s}:{port} into {file}; Ctrl-C ends it")
            proxy.serve_forever()
    except OSError as error:
        raise BuildError(f"{listen} can't be listened on: {error.strerror}") from error
    except KeyboardInterrupt:
        recording.close()
        click.echo(f"\n{recording.count} exchanges in {file}")
    finally:
        recording.close()


def _address(text: str) -> tuple[str, int]:
    try:
        return addresses.split(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
