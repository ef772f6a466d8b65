"""Where everything is in a release. These names are spelled here and nowhere else.

::

    hello/
    ├── .transaction/          of unpack and remove, while they are at it: what comes in, what goes out
    ├── bin/
    │   ├── hello              finds the version to boot and execs releases/V/launcher; the newest of all that were unpacked
    │   └── cluster            hands over to the same launcher; only with the step for clusters
    ├── python-3.11.7/         the interpreter
    ├── lib/
    │   └── hello-0.1.0-py3.11.7/ ...  one directory per application, for this interpreter: its wheel, dist-info, its hello.appup
    ├── releases/
    │   ├── start.data         "INTERPRETER-VERSION RELEASE-VERSION": what a fresh copy boots
    │   ├── hello-0.1.0.rel    copy of releases/0.1.0/hello.rel
    │   ├── shared.json        a manifest of files that stayed when the version that had brought them was removed
    │   └── 0.1.0/
    │       ├── manifest.json  release id, target, each file with sha256
    │       ├── sbom.cdx.json  what is in it, for scanners
    │       ├── code.index     top-level name -> its places in lib/; what is in each: the code server answers from it
    │       ├── glibc          the oldest that it runs with, and the loader's path; the launcher compares
    │       ├── pyvenv.cfg     makes releases/V the sys.prefix of every interpreter started as bin/python
    │       ├── bin/python     relative link to the interpreter, next to the scripts of the wheels
    │       ├── lib/pythonX.Y/site-packages/underway.pth   starts the code server in every process, children too
    │       ├── share/ etc/    what wheels put into the prefix
    │       ├── hello.rel      name, version, interpreter, applications and modes
    │       ├── start.script  start_clean.script  preboot.script   boot scripts
    │       ├── sys.config  build.config    configuration as built, twice
    │       ├── picture        what the modules are after import, as structure and digests; only where it could be taken
    │       ├── gates.json     what must hold for this version to stand; only where gates are set
    │       ├── relup          how to come here from other versions and go back; only where the project has one
    │       ├── cookie.source  where the node takes its cookie from; never the cookie
    │       ├── heart          how often a node that fails is started again; only where it is
    │       ├── systemd.service  systemd.socket   what `bin/hello systemd` prints, but for what is known there only
    │       ├── cluster.py     configures the node of a cluster from its environment; cluster.json: the hosts, as built
    │       └── launcher  env.sh  python.args  remote.python.args  runtime.py
    └── var/                   all that changes; elsewhere with RELEASE_VAR
        ├── RELEASES           the ledger: version -> unpacked, permanent, old; failed versions are marked
        ├── start.data         written by commit; wins over releases/start.data
        ├── transaction        held with flock by the one command that may change the releases; says which and whose
        ├── incoming/          archives and deltas to unpack
        ├── COOKIE             0600; made or read on the node
        ├── run/               lock and pid of the keeper, control socket of the node
        │   ├── hello-0.1.0-3f9c02d1.config    0600; what one boot was configured with, for people and `bin/hello config`
        │   ├── engine/        of the engine of a cluster, while its node runs
        │   └── gates-3f9c02d1/    0700; sockets over which gates ask the node
        ├── log/               hello.log.1 and so on, of a daemon
        ├── cluster/           of bin/cluster only
        │   ├── hello_worker@host1/    run/ and log/ of one node, and its certificates
        │   └── authority/     0700; of who deploys: what signs the certificates of the nodes
        ├── journal/           uses.jsonl: who ran which code in the node; upgrades.jsonl: what was installed, and how it went
        │   └── replaced       "ID VERSION REASON": the last install that the keeper has undone, for the ledger
        └── ...
"""

from __future__ import annotations

from pathlib import Path

from ..frozen import Frozen
from . import names


class ReleaseDirectory(Frozen):
    """The paths of one release directory. Computes names only; touches no file."""

    root: Path

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    @property
    def lib(self) -> Path:
        return self.root / "lib"

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    @property
    def start_data(self) -> Path:
        """What a fresh copy boots; ``var/start.data`` wins where there is one."""
        return self.releases / "start.data"

    @property
    def shared(self) -> Path:
        """What accounts for files like ``bin/NAME`` when the version that had brought them is gone."""
        return self.releases / "shared.json"

    @property
    def transaction(self) -> Path:
        """Next to what it is renamed to; cleared by the next transaction when its own died."""
        return self.root / ".transaction"

    def command(self, name: str) -> Path:
        return self.bin / name

    def interpreter(self, interpreter_version: str) -> Path:
        return self.root / f"python-{interpreter_version}"

    def application(self, name: str, version: str) -> Path:
        return self.lib / application_directory(name, version)

    def appup(self, home: str, application: str) -> Path:
        """How an application comes from other versions and goes back to them, in its directory of ``lib``; where it says so."""
        return self.lib / home / f"{application}.appup"

    def copied_rel(self, name: str, version: str) -> Path:
        return self.releases / f"{name}-{version}.rel"

    def version(self, version: str) -> VersionDirectory:
        return VersionDirectory(self.releases / version)


class VersionDirectory(Frozen):
    """The paths of one version, ``releases/V``; it is ``sys.prefix`` of all that runs from it."""

    path: Path

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def sbom(self) -> Path:
        return self.path / "sbom.cdx.json"

    @property
    def code_index(self) -> Path:
        return self.path / "code.index"

    @property
    def pyvenv_cfg(self) -> Path:
        return self.path / "pyvenv.cfg"

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    @property
    def sys_config(self) -> Path:
        return self.path / "sys.config"

    @property
    def build_config(self) -> Path:
        """A copy of `sys_config`, which nothing writes again either; Castle's has this name."""
        return self.path / "build.config"

    @property
    def gates(self) -> Path:
        """Written where the release has some; read by `release.gates`."""
        return self.path / "gates.json"

    @property
    def picture(self) -> Path:
        """What the modules are after import; not there where the project wants none, or it could not be taken."""
        return self.path / "picture"

    @property
    def relup(self) -> Path:
        """Written where the project has one; read by `release.relup`."""
        return self.path / "relup"

    @property
    def cookie_source(self) -> Path:
        return self.path / names.COOKIE_SOURCE

    @property
    def heart(self) -> Path:
        return self.path / "heart"

    def unit(self, kind: str) -> Path:
        """A unit for systemd, as a template; `kind` is ``service`` or ``socket``."""
        return self.path / f"systemd.{kind}"

    @property
    def launcher(self) -> Path:
        return self.path / "launcher"

    @property
    def env_sh(self) -> Path:
        return self.path / "env.sh"

    @property
    def python_args(self) -> Path:
        return self.path / "python.args"

    @property
    def remote_python_args(self) -> Path:
        return self.path / "remote.python.args"

    @property
    def glibc(self) -> Path:
        """One line, "FLOOR LOADER": the oldest glibc that the version runs with, and the path of the loader that it names."""
        return self.path / "glibc"

    @property
    def runtime_config(self) -> Path:
        return self.path / "runtime.py"

    @property
    def cluster_config(self) -> Path:
        """Configures the node of a cluster; only with the step for clusters, as `cluster_hosts`."""
        return self.path / "cluster.py"

    @property
    def cluster_hosts(self) -> Path:
        """Hosts, tags, roles and limits, as the project states them."""
        return self.path / "cluster.json"

    def site_packages(self, interpreter_version: str) -> Path:
        """The site-packages that the interpreter looks into by itself; holds the code server's ``.pth`` only."""
        return self.path / "lib" / f"python{minor(interpreter_version)}" / "site-packages"

    def rel(self, name: str) -> Path:
        return self.path / f"{name}.rel"

    def boot_script(self, name: str) -> Path:
        return self.path / f"{name}.script"


class VarDirectory(Frozen):
    """The paths of what changes: ``var/``, or ``RELEASE_VAR``."""

    path: Path

    @property
    def start_data(self) -> Path:
        return self.path / "start.data"

    @property
    def ledger(self) -> Path:
        return self.path / "RELEASES"

    @property
    def transaction(self) -> Path:
        """Held with flock by the one command that may change the releases."""
        return self.path / "transaction"

    @property
    def incoming(self) -> Path:
        return self.path / "incoming"

    @property
    def cookie(self) -> Path:
        return self.path / names.COOKIE

    @property
    def run(self) -> Path:
        return self.path / names.RUN

    @property
    def log(self) -> Path:
        return self.path / "log"

    def log_stem(self, name: str) -> Path:
        """The logs of a daemon, but for their numbers."""
        return self.log / f"{name}.log"

    @property
    def pid(self) -> Path:
        return self.run / "pid"

    def resolved_config(self, name: str, version: str, boot: str) -> Path:
        """What the boot called `boot` was configured with, 0600."""
        return self.run / f"{name}-{version}-{boot}.config"

    def resolved_configs(self) -> list[Path]:
        """Those that there are, and what killed boots left of theirs while they wrote it."""
        return [*self.run.glob("*.config"), *self.run.glob(".*.config.*")]

    def private(self, boot: str) -> Path:
        """Sockets over which gates ask a node that does not accept yet, 0700."""
        return self.run / f"gates-{boot}"

    def privates(self) -> list[Path]:
        """Those that there are."""
        return [*self.run.glob("gates-*")]

    @property
    def engine(self) -> Path:
        """Where the engine of a cluster puts what it needs while the node runs."""
        return self.run / "engine"

    @property
    def control(self) -> Path:
        """The socket at which commands talk to the node."""
        return self.run / names.CONTROL

    def control_of(self, process: int) -> Path:
        """The control socket of one of the processes of a release, from 1."""
        return self.control if process <= 1 else self.run / f"{names.CONTROL}.{process}"

    @property
    def uses(self) -> Path:
        """The journal of code that was run by rpc, remote and eval."""
        return self.path / "journal" / "uses.jsonl"

    @property
    def upgrades(self) -> Path:
        """The journal of boots, installs and drains that belong to an upgrade."""
        return self.path / "journal" / "upgrades.jsonl"

    def cluster_node(self, node: str) -> VarDirectory:
        """Where ``run`` and ``log`` of one node of a cluster are: several may run from one release."""
        return VarDirectory(self.path / "cluster" / node)

    @property
    def deployed(self) -> Path:
        """Of who deploys: where nodes were started from here, and not stopped again."""
        return self.path / "cluster" / "deployed.json"

    @property
    def deployed_lock(self) -> Path:
        """Held with flock by who changes that."""
        return self.path / "cluster" / ".deployed.lock"

    @property
    def certificates(self) -> Path:
        """Of a node of a cluster: ``ca.pem``, ``node.pem`` and ``node.key``, 0600."""
        return self.path / "certificates"

    @property
    def certificate(self) -> Path:
        """Of a node of a cluster that runs: the digest of the certificate and of the list of removed hosts that it obeys."""
        return self.run / "certificate"

    @property
    def authority(self) -> Path:
        """Of who deploys: ``ca.pem`` and ``ca.key``, 0600; what signs the certificates of the nodes."""
        return self.path / "cluster" / "authority"

    @property
    def replaced(self) -> Path:
        """Which install was undone by the keeper, and why; written by that, and read by `release.ledger`."""
        return self.path / "journal" / "replaced"

    @property
    def lock(self) -> Path:
        """Held with flock for as long as the keeper or the node lives."""
        return self.run / "lock"


def application_directory(name: str, version: str) -> str:
    """The name of an application's directory in ``lib``."""
    return f"{name}-{version}"


def minor(interpreter_version: str) -> str:
    """'3.11' for '3.11.7'."""
    return ".".join(interpreter_version.split(".")[:2])
