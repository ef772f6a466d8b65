"""`var` belongs to whoever runs the service: what is put there neither steers root's commands nor is written through."""

from __future__ import annotations

import json
import os

import pytest

from forged_nodes import HOLDER, node_of_the_service
from grounds import OPERATOR, PLACE, SERVICE, STRANGER, Ground

READERS = {
    "RELEASES": ("releases", "rollback"),
    "COOKIE": ("status",),
    "run/lock": ("pid", "stop", "releases"),
    "run/control": ("status",),
    "run/hello-1-0.config": ("config", "check 2"),
    "journal/replaced": ("releases",),
    "start.data": ("version", "releases"),
    "log/hello.log.1": ("logs",),
}
"""By file, commands that read it."""
KINDS = ("FIFO", "device", "link", "huge", "socket", "deep")
LONG = ("log/hello.log.1", "huge")
"""A log is shown to its end, in pieces."""
NODES_WORDS = "\x1b]0;owned\x07\x1b[2J\u202e\r"
"""What a terminal would obey."""


def test_the_service_runs_and_root_asks_it(ground: Ground) -> None:
    """Without an attack all is as it should be: the service's user starts a node, and root sees it, tries 2 and installs it."""
    ground.start()
    assert "hello 1 is running" in ground.hello(OPERATOR, "status").stdout
    checked = ground.hello(OPERATOR, "check", "2")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert ground.hello(OPERATOR, "eval", "print(6 * 7)").stdout == "42\n"
    assert ground.hello(OPERATOR, "upgrade", "2").returncode == 0
    assert "hello 2 is running" in ground.hello(OPERATOR, "status").stdout
    assert {path.lstat().st_uid for path in [ground.var, *ground.var.rglob("*")]} == {SERVICE}
    assert ground.hello(SERVICE, "releases").returncode == 0
    stopped = ground.hello(OPERATOR, "stop")
    assert stopped.returncode == 0, stopped.stderr


@pytest.mark.sample
@pytest.mark.parametrize(
    "name", ["journal", "journal/uses.jsonl", "journal/uses.jsonl.1", "journal/upgrades.jsonl", "transaction"]
)
@pytest.mark.parametrize("kind", ["link", "FIFO", "device", "directory"])
def test_nothing_is_written_through_what_is_planted(ground: Ground, name: str, kind: str) -> None:
    """Root's eval and install neither write nor make nor give away what a name in `var` leads to, and wait for nothing."""
    victim = ground.victim()
    where = ground.look(PLACE / "outside")
    where.mkdir(exist_ok=True)
    target = PLACE / "outside" if name == "journal" else victim
    if "/" in name:
        ground.as_service("os.mkdir('journal')")
    match kind:
        case "link":
            ground.as_service(f"os.symlink({str(target)!r}, {name!r})")
        case "FIFO":
            ground.as_service(f"os.mkfifo({name!r})")
        case "device":
            os.mknod(ground.var / name, 0o666 | 0o20000, os.makedev(1, 5))
        case "directory":
            ground.as_service(f"os.makedirs({name!r} + '/in the way')")
    for words in (["eval", "1"], ["commit"], ["create-releases"]):
        done = ground.hello(OPERATOR, *words)
        assert "Traceback" not in done.stderr
    assert ground.look(victim).read_text() == "whole"
    assert (where.stat().st_uid, [*where.iterdir()]) == (OPERATOR, [])


@pytest.mark.sample
@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in READERS for kind in KINDS if (name, kind) != LONG])
def test_no_command_waits_for_or_swallows_what_is_planted(ground: Ground, name: str, kind: str) -> None:
    """Each command of root's comes to an end with a sentence, whatever stands in the place of a file of `var`."""
    if name in ("COOKIE", "run/hello-1-0.config"):  # they are read while a node runs
        ground.start()
        ground.as_service(
            f"import glob; [os.remove(each) for each in ('COOKIE', *glob.glob('run/*.config')) if each[:3] == {name[:3]!r}]"
        )
    secret = ground.victim("secret", "3.11.7 top-secret-of-root\n")
    ground.as_service(f"os.makedirs(os.path.dirname({name!r}) or '.', exist_ok=True)")
    match kind:
        case "FIFO":
            ground.as_service(f"os.mkfifo({name!r})")
        case "device":
            os.mknod(ground.var / name, 0o666 | 0o20000, os.makedev(1, 5))
        case "link":
            ground.as_service(f"os.symlink({str(secret)!r}, {name!r})")
        case "huge":
            ground.as_service(f"open({name!r}, 'w'); os.truncate({name!r}, 1 << 40)")
        case "socket":
            ground.as_service(f"import socket; s = socket.socket(socket.AF_UNIX); s.bind({name!r})")
        case "deep":
            ground.as_service(f"open({name!r}, 'w').write('[' * 100000)")
    limited = ["/bin/sh", "-c", 'ulimit -v 1000000; exec "$@"', "sh", str(ground.inside / "bin/hello")]
    for command in READERS[name]:
        done = ground.run(OPERATOR, *limited, *command.split(), timeout=30)
        said = done.stdout + done.stderr
        assert "Traceback" not in said, (command, said)
        assert "MemoryError" not in said, (command, said)
        assert "top-secret-of-root" not in said
    ground.assert_nobody_was(OPERATOR)


def test_a_cookie_that_leads_to_a_file_of_roots_is_not_read(ground: Ground) -> None:
    """Neither a link nor another name of root's file is taken for the cookie: its proof would tell the service what is in it."""
    secret = ground.victim("shadow", "root-secret")
    node_of_the_service(ground)
    for plant in (f"os.remove('COOKIE'); os.symlink({str(secret)!r}, 'COOKIE')",):
        ground.as_service(plant)
        done = ground.hello(OPERATOR, "status")
        assert (done.returncode, done.stdout) == (1, "")
        assert "it is a link in a directory that others may write" in done.stderr
    (ground.var / "COOKIE").unlink()
    os.link(ground.look(secret), ground.look(PLACE) / "hello/var/COOKIE")
    done = ground.hello(OPERATOR, "status")
    assert done.returncode == 1
    assert "it has another name too, under which it may be another user's" in done.stderr


@pytest.mark.sample(most=4)
@pytest.mark.parametrize(
    "wrong",
    [
        {"pid": "../../etc"},
        {"pid": -1},
        {"pid": False},
        {"keeper": "../self"},
        {"memory": "x"},
        {"version": "../../var/evil"},
        {"children": [1, "x"]},
        {"applications": [["a"]]},
        {"loop": None},
        {"uptime": 1e400},
        {"changed": {"time": 1, "what": "x"}},
        {"name": {"a": 1}},
        {"clients": ["web"]},
        {"clients": {"web": {"a": 1}}},
        {"certificates": {"web": 1}},
        {"directory": 1},
        {"took_over": ["x"]},
    ],
    ids=str,
)
def test_a_status_that_is_none_is_said_so(ground: Ground, wrong: dict[str, object]) -> None:
    """What a node says of itself is looked at field by field; what does not fit is named, and root's commands go no further with it."""
    node_of_the_service(ground, **wrong)
    for command in ("status", "status --json", "check 2"):
        done = ground.hello(OPERATOR, *command.split())
        assert "Traceback" not in done.stderr
        if command != "check 2":
            assert done.returncode == 1
            refused = ("hello is not a", "hello's control socket is not one of its nodes")
            assert any(words in done.stderr for words in refused), done.stderr
    ground.assert_nobody_was(OPERATOR)


def test_what_a_terminal_would_obey_is_escaped(ground: Ground) -> None:
    """In the status, in errors of the node, in the reasons of the ledger, in who holds the transaction, and in its configuration."""
    said = []
    node_of_the_service(
        ground,
        name=NODES_WORDS,
        state=NODES_WORDS,
        applications=[{"name": NODES_WORDS, "version": NODES_WORDS, "mode": NODES_WORDS, "state": NODES_WORDS}],
        changed={"time": NODES_WORDS, "what": NODES_WORDS},
    )
    said += [ground.hello(OPERATOR, *words) for words in (["status"], ["metrics"], ["rpc", "1"])]
    ground.again()
    record = {"state": "unpacked", "release_id": NODES_WORDS, "when": NODES_WORDS, "failed": NODES_WORDS}
    ledger = {"format": 1, "releases": {"2": record, "1": {**record, "state": "permanent"}}}
    about = dict.fromkeys(("pid", "command", "user"), NODES_WORDS) | {"since": "2026-01-01T00:00:00Z"}
    ground.as_service(f"open('RELEASES', 'w').write({json.dumps(ledger)!r})")
    said += [ground.hello(OPERATOR, *words.split()) for words in ("releases", "check 2", "check 2 --json", "install 2")]
    code = f"import fcntl, time\nf = open('{PLACE}/hello/var/transaction', 'w+')\nfcntl.flock(f, fcntl.LOCK_EX)\n"
    code += f"f.write({json.dumps(about)!r})\nf.flush()\nprint('held', flush=True)\ntime.sleep(100)"
    process = ground.spawn(SERVICE, ground.interpreter, "-I", "-S", "-c", code)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    held = ground.hello(OPERATOR, "commit", "2")
    assert held.returncode == 75
    for done in [*said, held]:
        shown = (done.stdout + done.stderr).replace("\n", "")
        assert shown
        assert "Traceback" not in shown
        assert shown.isprintable(), shown


def test_a_lock_that_names_another_process_stops_nobody(ground: Ground) -> None:
    """Root's `stop` sends a signal to one process, which is one of the service's user and holds the lock, or to none."""
    other = ground.spawn(OPERATOR, "/bin/sleep", "100")
    for pid in ("-1", "0", "1", "true", '"1"', "1e3", str(1 << 40), "null"):
        holder = ground.spawn(SERVICE, ground.interpreter, "-I", "-S", "-c", HOLDER.replace("PID", pid))
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        done = ground.hello(OPERATOR, "stop")
        assert "Traceback" not in done.stderr
        assert other.poll() is None
        if done.returncode == 0:  # the file is damaged, and the kernel knows the holder
            holder.communicate(timeout=30)
            continue
        assert holder.poll() is None, (pid, done)
        ground.run(OPERATOR, "/bin/sh", "-c", f"kill -KILL $(cat {PLACE}/hello/var/pid)")
        holder.communicate()


def test_a_file_of_roots_that_start_data_is_another_name_of_is_not_repeated(ground: Ground) -> None:
    """What it would name as a version, where root can't boot that, is in no message."""
    secret = ground.victim("secret", "3.11.7 top-secret-of-root\n")
    (ground.var / "start.data").unlink(missing_ok=True)
    os.link(ground.look(secret), ground.var / "start.data")
    for command in ("status", "version", "start"):
        done = ground.hello(OPERATOR, command)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: the release can't boot: ")
        assert "secret" not in done.stderr


def test_a_lock_that_is_another_name_of_roots_file_stops_nobody(ground: Ground) -> None:
    """Where the system lets a user give root's file a name in his directory, who holds it is not taken for the node."""
    code = f"import fcntl, time; f = open('{PLACE}/lock-of-root', 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True)"
    other = ground.spawn(OPERATOR, ground.interpreter, "-I", "-S", "-c", f"{code}; time.sleep(100)")
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    ground.as_service("os.mkdir('run')")
    os.link(ground.look(PLACE / "lock-of-root"), ground.var / "run/lock")
    for command in ("stop", "pid", "status"):
        done = ground.hello(OPERATOR, command)
        assert (done.returncode, done.stdout) == (1, "")
        assert "Traceback" not in done.stderr
    assert other.poll() is None


DRIPS = f"""
import os, socket, time
os.chdir("{PLACE}/hello/var")
os.makedirs("run", exist_ok=True)
with open("COOKIE", "w") as file:
    os.fchmod(file.fileno(), 0o600)
    file.write("secret")
server = socket.socket(socket.AF_UNIX)
server.bind("run/control")
server.listen()
print("listens", flush=True)
held = []
while True:
    conversation, _ = server.accept()
    held.append(conversation)
    for byte in b"\\0\\0\\0\\x64" + b" " * 100:
        conversation.send(bytes([byte]))
        time.sleep(0.5)
"""


def test_an_answer_that_drips_has_an_end(ground: Ground) -> None:
    """A node that sends a byte now and then keeps no command for longer than a handshake may take."""
    process = ground.spawn(SERVICE, ground.interpreter, "-I", "-S", "-c", DRIPS)
    assert process.stdout is not None
    assert process.stdout.readline() == "listens\n"
    done = ground.hello(OPERATOR, "status", timeout=45)
    assert done.returncode == 1
    assert "does not answer" in done.stderr


def test_a_stranger_gets_nowhere(ground: Ground) -> None:
    """Who owns nothing neither asks the node nor changes anything, and is told so."""
    ground.start()
    for command in ("status", "rpc 1", "restart", "stop", "install 2", "commit 2", "remove 2", "unpack 3", "rollback"):
        done = ground.hello(STRANGER, *command.split())
        assert done.returncode == 1, (command, done)
        assert "Traceback" not in done.stderr
    assert "hello 1 is running" in ground.hello(SERVICE, "status").stdout


def test_root_starts_no_node_in_the_service_s_var(ground: Ground) -> None:
    """A node trusts its cookie and all else in `var`, whose owner would be root; so root's start is refused, and says how else."""
    for command in ("start", "daemon"):
        done = ground.hello(OPERATOR, command)
        assert done.returncode == 1
        assert "belongs to user 22899, who would be root" in done.stderr
    assert [*ground.var.rglob("*")] == []
    done = ground.hello(OPERATOR, "daemon", RELEASE_VAR=str(PLACE / "of-root"))
    assert done.returncode == 0, done.stderr
    assert ground.hello(OPERATOR, "stop", RELEASE_VAR=str(PLACE / "of-root")).returncode == 0


@pytest.mark.parametrize("name", ["incoming", "incoming/hello-2.tar.zst", "log", "log/hello.log.1", "run"])
def test_linked_directories_and_files_are_not_read(ground: Ground, name: str) -> None:
    """Root's unpack, logs and status follow no link in `var`, and say so."""
    target = ground.look(PLACE / "target")
    target.mkdir(exist_ok=True)
    (target / "hello.log.1").write_text("top-secret-of-root\n")
    (target / "hello-3.tar.zst").write_text("top-secret-of-root")
    leads = PLACE / "target" if "/" not in name else PLACE / "target" / name.rpartition("/")[2].replace("-2", "-3")
    ground.as_service(
        f"os.makedirs(os.path.dirname({name!r}) or '.', exist_ok=True); os.symlink({str(leads)!r}, {name.replace('-2', '-3')!r})"
    )
    for words in (["unpack", "3", "--sha256", "0" * 64], ["logs"], ["status"], ["pid"]):
        done = ground.hello(OPERATOR, *words)
        said = done.stdout + done.stderr
        assert done.returncode == 1
        assert "top-secret" not in said
        assert "Traceback" not in said
