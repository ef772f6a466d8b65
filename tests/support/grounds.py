"""Where attacks are tried: a release of root's that a user runs, in namespaces of its own, with a stranger next to it.

=============  ======================================================================================================
`OPERATOR`     root: owns the tree, and types the commands
`SERVICE`      runs the node, and owns ``var`` alone
`STRANGER`     owns nothing
=============  ======================================================================================================

Mounts, processes and network are those of one process, which ends with its input: whatever an attack has left is gone then, however
the test ended.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from code_server_helpers import RUNTIME, TIMEOUT, Interpreter
from node_helpers import App, Node, eventually, make_node, recorder
from versions import add, seal

OPERATOR, SERVICE, STRANGER = 0, 22899, 22896
PLACE = Path("/mnt")
"""Where the release is, inside."""

_UP = (
    "import fcntl, socket, struct; s = socket.socket();"
    "fcntl.ioctl(s, 0x8914, struct.pack('16sH14x', b'lo', 0x1 | 0x40))"
)
_ENTER = """
set -e
python=$1 release=$2 library=$3 closed=$4
"$python" -c "$5"
mount -t tmpfs -o mode=755 tmpfs /mnt
cp -a "$release/." /mnt/
mkdir -m 1777 /mnt/tmp
if [ -n "$closed" ]; then # where other users may not look
  mkdir /mnt/.library
  mount --bind "$library" /mnt/.library
  mount -t tmpfs -o mode=755 tmpfs "$closed"
  mkdir -p "$library"
  mount --bind /mnt/.library "$library"
fi
mount -t tmpfs -o mode=1777 tmpfs /tmp
cd /
echo ready
exec cat >/dev/null
"""


@dataclass
class Ground:
    """The release, and its three users."""

    process: subprocess.Popen[str]
    init: int
    """The first process of the namespaces, as it is called outside of them."""
    spawned: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def outside(self) -> Path:
        """The release, as the tests see it."""
        return Path(f"/proc/{self.init}/root{PLACE}/hello")

    @property
    def var(self) -> Path:
        return self.outside / "var"

    @property
    def inside(self) -> Path:
        return PLACE / "hello"

    def run(
        self,
        user: int,
        *words: str | Path,
        groups: Sequence[int] = (),
        stdin: str = "",
        timeout: float = TIMEOUT,
        **environ: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run words as a user, to their end."""
        return subprocess.run(
            [*self._entered(user, groups), *environment(environ), *map(str, words)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            errors="replace",
        )

    def spawn(self, user: int, *words: str | Path, groups: Sequence[int] = (), **environ: str) -> subprocess.Popen[str]:
        """Begin words as a user; it ends with the test, at the latest."""
        process = subprocess.Popen(
            [*self._entered(user, groups), *environment(environ), *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.spawned.append(process)
        return process

    def hello(self, user: int, *words: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run bin/hello as a user."""
        return self.run(user, self.inside / "bin/hello", *words, **how)

    def as_service(self, code: str, **how: Any) -> str:
        """Run Python code as the service's user, in `var`; what it prints."""
        done = self.python(SERVICE, f"import os; os.chdir({str(self.inside / 'var')!r})\n{code}", **how)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def python(self, user: int, code: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run code as a user, in the release's interpreter and without the release."""
        return self.run(user, self.interpreter, "-I", "-S", "-c", code, **how)

    @property
    def interpreter(self) -> Path:
        [found] = self.outside.glob("python-*/bin/python3.*")
        return self.inside / found.relative_to(self.outside)

    def victim(self, name: str = "victim", text: str = "whole") -> Path:
        """A file of root's; its path inside. `whole` tells whether it still is."""
        file = Path(f"/proc/{self.init}/root{PLACE}") / name
        file.write_text(text)
        file.chmod(0o600)
        return PLACE / name

    def look(self, place: Path) -> Path:
        """A path inside, as the tests see it."""
        return Path(f"/proc/{self.init}/root{place}")

    def evil(self, name: str, *, launcher: str = "") -> Path:
        """A program of the service's user that writes who runs it to /mnt/pwned/NAME-UID; its path inside."""
        self.as_service(
            f"path = {launcher or name!r}\n"
            "os.makedirs(os.path.dirname(path) or '.', exist_ok=True)\n"
            f"open(path, 'w').write('#!/bin/sh\\nid -u >{PLACE}/pwned/{name}-$(id -u)\\n')\n"
            "os.chmod(path, 0o755)\n"
        )
        return self.inside / "var" / (launcher or name)

    def pwned_by(self) -> dict[str, list[int]]:
        """Which programs of an attacker ran, as which users."""
        found: dict[str, list[int]] = {}
        for file in sorted(self.look(PLACE / "pwned").iterdir()):
            name, _, uid = file.name.rpartition("-")
            found.setdefault(name, []).append(int(uid))
        return found

    def assert_nobody_was(self, *users: int) -> None:
        """No program of an attacker's ran as one of these; of root, if none is named."""
        assert not {uid for uids in self.pwned_by().values() for uid in uids} & {*(users or (OPERATOR,))}, (
            self.pwned_by()
        )

    def start(self) -> None:
        """The service's user starts its node."""
        done = self.hello(SERVICE, "daemon")
        assert done.returncode == 0, done.stderr

    def again(self) -> None:
        """Nothing runs, and `var` is new."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.run(OPERATOR, "/bin/sh", "-c", "kill -KILL -1", timeout=10)
        eventually(lambda: not self._others(), "all processes have ended")
        while self.spawned:
            self.spawned.pop().communicate(timeout=10)
        for place in (self.var, self.look(PLACE / "pwned")):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
        os.chown(self.var, SERVICE, SERVICE)
        self.var.chmod(0o755)
        self.look(PLACE / "pwned").chmod(0o1777)

    def running(self, text: str) -> list[int]:
        """Live processes whose command line holds this, as they are called outside."""
        return [pid for pid in self._others() if text.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def _others(self) -> list[int]:
        """Live processes in there but the first."""
        found = []
        mine = os.readlink(f"/proc/{self.init}/ns/pid")
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                state = (place / "stat").read_text().rpartition(")")[2].split()[0]
                if os.readlink(place / "ns/pid") == mine and int(place.name) != self.init and state != "Z":
                    found.append(int(place.name))
        return found

    def _entered(self, user: int, groups: Sequence[int]) -> list[str]:
        others = [f"--groups={','.join(map(str, groups))}"] if groups else ["--clear-groups"]
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", *others] if user != OPERATOR else []
        return ["nsenter", f"--target={self.init}", "--mount", "--pid", "--net", "-w", "--", *become]


def environment(variables: dict[str, str]) -> list[str]:
    """The words before a command that give it these variables, and a directory for temporary files that is the ground's own."""
    of_all = {"PATH": "/usr/bin:/bin", "TMPDIR": f"{PLACE}/tmp"}
    return ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in (of_all | variables).items())]


def grounds(tmp_path: Path, interpreter: Interpreter, second: App | None = None) -> Iterator[Ground]:
    """A ground with hello 1 and, unpacked next to it, 2; nothing runs. For a fixture."""
    if os.geteuid() != 0 or shutil.which("nsenter") is None or shutil.which("setpriv") is None:
        pytest.skip("takes root and namespaces")
    node = make_node(tmp_path / "release/hello", interpreter, [recorder("one")])
    _own_runtime(node)
    add(node, "2", second or recorder("one"))
    for version in ("1", "2"):
        seal(node, version)
    library = next(node.root.glob("python-*/lib/python3.*")).resolve()
    words = [
        "/bin/sh",
        "-c",
        _ENTER,
        "enter",
        sys.executable,
        str(node.root.parent),
        str(library),
        _closed(library),
        _UP,
    ]
    flags = ["--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc", "--propagation=private"]
    process = subprocess.Popen(
        ["unshare", *flags, "--", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        if process.stdout.readline() != "ready\n":
            pytest.skip(f"takes namespaces: {process.stderr.read()}")
        [init] = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
        ground = Ground(process, init)
        ground.again()
        yield ground
        ground.again()
    finally:
        process.communicate()


def _own_runtime(node: Node) -> None:
    """As in a release that was built: what others can't read it would lead to is in the release."""
    runtime = node.root / "lib" / RUNTIME
    source = runtime.resolve()
    runtime.unlink()
    shutil.copytree(source, runtime, symlinks=True)


def _closed(place: Path) -> str:
    """The uppermost directory on the way that others may not enter; empty where there is none."""
    return next((str(each) for each in reversed(place.parents) if not each.stat().st_mode & 0o001), "")
