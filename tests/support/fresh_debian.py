"""A fresh clone of this repository on a fresh Debian, 12 where no other is asked for, and a command run there in a clean environment.

By hand, as root: ``python tests/e2e/fresh_debian.py make demo``.

The tree holds python3, python3-venv, make and git (to clone with), nothing more. It is bootstrapped once and kept in the
cache as a tarball; each run unpacks its own. Mounts and processes live in namespaces of their own, which end with the
command, so nothing is left mounted or running however it ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "underway"
CLONE = Path("/home/dev/underway")
"""Where the clone is, inside."""

AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
OF_THE_NETWORK = (
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
)
"""Variables without which nothing can be fetched where the network asks for them; they are passed on where set."""

WITHIN = 2_700
"""Seconds for anything that makes a tree, on a machine that has other work too."""

SBIN = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Suite:
    """What a tree is bootstrapped of."""

    name: str
    packages: tuple[str, ...] = ("ca-certificates", "git", "make", "python3", "python3-venv")


BOOKWORM = Suite("bookworm")

# Mounts of the command's own, over the tree: the kernel's files and this machine's devices; then the tree is the root of all, and
# nothing of this machine's is mounted any more: below chroot the kernel gives nobody namespaces of their own. The shell stays, as the
# first process of its namespace: it waits for whoever has lost a parent.
ENTER = (
    'PATH=$PATH:/usr/sbin:/sbin; root=$1; shift; mount --bind "$root" "$root" && mount -t proc proc "$root/proc" &&'
    ' mount --rbind /dev "$root/dev" && mkdir -p "$root/.before" && cd "$root" && pivot_root . .before &&'
    ' umount -l /.before && rmdir /.before && cd / && "$@"; exit $?'
)


@dataclass(frozen=True)
class FreshDebian:
    """A tree of Debian's with a clone in it."""

    root: Path

    def command(self, *argv: str, user: str, env: Mapping[str, str] | None = None) -> list[str]:
        """The command that runs `argv` in the clone, as root or dev, with nothing in the environment but `env`."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root" if user == "root" else "/home/dev"}
        environment |= {name: os.environ[name] for name in OF_THE_NETWORK if name in os.environ}
        environment |= {name: str(AUTHORITIES) for name in ("PIP_CERT", "SSL_CERT_FILE") if name in os.environ}
        environment |= env or {}
        return [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--"),
            *("sh", "-c", ENTER, "enter", str(self.root)),
            *("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"),
            *("env", "-i", "-C", str(CLONE), *(f"{name}={value}" for name, value in environment.items())),
            *argv,
        ]


def fresh_debian(scratch: Path, suite: Suite = BOOKWORM) -> FreshDebian:
    """Unpack the tree below `scratch` and clone the repository in it.

    What is cloned is the last commit, or, where the work tree differs from it, one commit of the work tree.
    Raises CalledProcessError with the output of whatever failed.
    """
    root = scratch / "debian"
    root.mkdir()
    _run("tar", "-C", root, "--numeric-owner", "-xpf", tarball(scratch, suite))
    for file in (Path("/etc/resolv.conf"), Path("/etc/hosts"), AUTHORITIES):
        shutil.copyfile(file, root / file.relative_to("/"))
    debian = FreshDebian(root)

    commit_of(REPOSITORY, root / "srv/underway.git")
    _run("chroot", root, "useradd", "--create-home", "--key", "HOME_MODE=0755", "dev")  # sid's own keeps others out
    _run("chown", "-R", "--reference", root / "home/dev", root / "srv/underway.git")
    _run("chroot", root, "runuser", "-u", "dev", "--", "git", "clone", "--quiet", "/srv/underway.git", CLONE)
    return debian


def tarball(scratch: Path, suite: Suite) -> Path:
    """The bootstrapped tree, from the cache; it is made, below `scratch`, where the cache has none."""
    kept = CACHE / f"{suite.name}-{sha256(' '.join(suite.packages).encode()).hexdigest()[:12]}.tar"
    if not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        made, partial = scratch / "bootstrap", scratch / "bootstrap.tar"
        _run("debootstrap", "--variant=minbase", f"--include={','.join(suite.packages)}", suite.name, made, mirror())
        for part in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(made / part)
        _run("tar", "-C", made, "--numeric-owner", "-cf", partial, ".")
        shutil.rmtree(made)
        shutil.move(partial, kept.with_suffix(f".{os.getpid()}"))
        kept.with_suffix(f".{os.getpid()}").replace(kept)
    return kept


def mirror() -> str:
    """The mirror of Debian's that this machine itself uses, or Debian's own."""
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    words = " ".join(source.read_text(encoding="utf-8") for source in sources if source.is_file()).split()
    found = [word for word in words if word.startswith("http") and word.rstrip("/").endswith("/debian")]
    return found[0] if found else "http://deb.debian.org/debian"


def commit_of(repository: Path, to: Path) -> None:
    """A bare clone of `repository` at `to`: its last commit, or its work tree as one commit where the two differ."""
    git = ("git", "-c", "safe.directory=*")
    listed = _run(*git, "-C", repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    files = [file for file in listed.split("\0") if file and (repository / file).exists()]
    changed = _run(*git, "-C", repository, "status", "--porcelain")
    if not changed:
        _run(*git, "clone", "--quiet", "--bare", "--no-hardlinks", f"file://{repository}", to)
        return
    work = to.with_suffix(".work")
    for file in files:
        (work / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(repository / file, work / file, follow_symlinks=False)
    _run("git", "init", "--quiet", "--initial-branch=main", work)
    _run("git", "-C", work, "add", "--all", "--force")
    _run("git", "-C", work, "-c", "user.name=e2e", "-c", "user.email=e2e@localhost", "commit", "-qm", "the work tree")
    _run("git", "clone", "--quiet", "--bare", "--no-hardlinks", work, to)
    shutil.rmtree(work)


def _run(*command: str | Path) -> str:
    """What a command prints. It is bounded, and its errors go where ours go."""
    environment = {**os.environ, "PATH": SBIN, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WITHIN, check=False
    )
    if done.returncode != 0:
        print(done.stdout[-4_000:], done.stderr[-4_000:], sep="\n", file=sys.stderr)
        done.check_returncode()
    return done.stdout


def main(argv: Sequence[str]) -> int:
    """Run a command there, its output shown; its exit status is ours."""
    with tempfile.TemporaryDirectory(prefix="underway-debian-") as scratch:
        command = fresh_debian(Path(scratch)).command(*argv, user=os.environ.get("AS_USER", "dev"))
        return subprocess.run(command, timeout=3_600, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
