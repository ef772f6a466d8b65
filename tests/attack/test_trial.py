"""root's `check` and `upgrade` try a version as the user who runs the node: what he determines runs as him, and has no more than he has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grounds import OPERATOR, PLACE, SERVICE, STRANGER, Ground
from node_helpers import App, read_until, recorder

VAR = f"{PLACE}/hello/var"

TELLS = f"""
import glob, json, os, resource
found = {{name: rest.split() for name, _, rest in (line.partition(":") for line in open("/proc/self/status"))}}
told = {{
    "uids": found["Uid"], "gids": found["Gid"], "groups": found["Groups"], "capabilities": found["CapEff"] + found["CapPrm"],
    "no new privileges": found["NoNewPrivs"], "environ": dict(os.environ), "cwd": os.getcwd(),
    "descriptors": [os.readlink(fd) for fd in glob.glob("/proc/self/fd/*") if os.path.lexists(fd)],
    "umask": found["Umask"], "files": resource.getrlimit(resource.RLIMIT_NOFILE),
}}
try:
    os.close(os.open("/dev/tty", os.O_RDWR))
    told["terminal"] = True
except OSError:
    told["terminal"] = False
if os.environ.get("RELEASE_COMMAND") == "scratch":
    open("{PLACE}/pwned/told-" + found["Uid"][0], "w").write(json.dumps(told))
"""

HOLDER = f"""
import fcntl, json, os, time
os.chdir("{VAR}")
os.makedirs("run", exist_ok=True)
lock = open("run/lock", "w+")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.write(json.dumps({{"pid": os.getpid(), "node": os.getpid(), "version": "1", "started_as": "1"}}))
lock.flush()
print("held", flush=True)
time.sleep(100)
"""

FORKS = f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for generation in range(3):
    if os.fork():
        while generation == 0 and not os.path.exists("{PLACE}/pwned/child-{SERVICE}"):
            time.sleep(0.01)
        os._exit(0)
    os.setsid()
open("{PLACE}/pwned/child-" + str(os.getuid()), "w").close()
time.sleep(100)
"""

ENVIRONS = {
    "no name": r'[b"=x", b"==", b"no equals sign", b"=", b""]',
    "no text": r'[b"A=\xff\xfe\x1b]0;owned\x07", b"\xff=1", b"A B=1", b"A\n=1"]',
    "twice": 'b"PATH=/nowhere PATH=/bin RELEASE_ROOT=/nowhere RELEASE_VSN=../../var RELEASE_VSN=3".split()',
    "large": '[b"A%d=%s" % (number, b"x" * 100_000) for number in range(40)]',
}
"""What no shell would make the environment of a process, and the kernel does."""
EXECUTES = """
import ctypes, sys
libc, words = ctypes.CDLL(None), [word.encode() for word in sys.argv[1:]]
environ = ENVIRON
libc.execve(words[0], (ctypes.c_char_p * (len(words) + 1))(*words), (ctypes.c_char_p * (len(environ) + 1))(*environ))
"""
LIMITED = """
import resource, sys
name, value = sys.argv[1].split()
resource.setrlimit(getattr(resource, "RLIMIT_" + name), (int(value), int(value)))
print("limited", flush=True)
time.sleep(100)
"""
LIMITS = ("NOFILE 4", "AS 50000000", "CPU 1", "FSIZE 0", "NPROC 0", "STACK 65536", "DATA 1000000")

REPORTS = f"""
import os
place = os.environ["TMPDIR"] + "/report"
match "KIND":
    case "link":
        os.symlink("SECRET", place)
    case "FIFO":
        os.mkfifo(place)
    case "huge":
        open(place, "w")
        os.truncate(place, 1 << 40)
    case _:
        open(place, "w").write(open("{VAR}/report").read())
print("\\x1b]0;owned\\x07\\u202e" * 100000)
os._exit(3)
"""


@pytest.fixture(scope="module")
def second() -> App:
    """Version 2 of the ground: what it imports looks around."""
    one = recorder("one")
    return App("one", TELLS + one.source.replace("\n    ", "\n"), one.start)


def import_report(ground: Ground) -> dict[str, object]:
    """What an import in the trial has seen of itself."""
    assert ground.pwned_by().get("told") == [SERVICE]
    found: dict[str, object] = json.loads(ground.look(PLACE / f"pwned/told-{SERVICE}").read_text())
    return found


def keeper(ground: Ground, *variables: str) -> None:
    """A process of the service's user that passes for the keeper, with these variables."""
    process = ground.spawn(SERVICE, "/usr/bin/env", *variables, ground.interpreter, "-I", "-S", "-c", HOLDER)
    assert process.stdout is not None
    read_until(process.stdout, "held")


def runs_in_trial(ground: Ground, code: str) -> None:
    """Have the arguments for Python of the keeper's environment name this code."""
    ground.as_service(f"open('code.py', 'w').write({code!r})")
    ground.as_service(f"open('args', 'w').write('-I -B -c exec(open(\"{VAR}/code.py\").read())\\n')")
    keeper(ground, f"RELEASE_VM_ARGS={VAR}/args")


@pytest.mark.sample
@pytest.mark.parametrize("runs", [True, False], ids=["runs", "nothing runs"])
@pytest.mark.parametrize("command", ["check", "upgrade"])
def test_a_trial_has_what_the_node_s_user_has(ground: Ground, runs: bool, command: str) -> None:
    """His ids, groups, environment and limits, no capability, no descriptor, terminal or variable of root's."""
    if runs:
        start = f"cd {VAR} && umask 027 && ulimit -n 200 && {PLACE}/hello/bin/hello daemon"
        ground.run(SERVICE, "/bin/sh", "-c", start, groups=(4711,), OF_THE_SERVICE="1")
    of_root = {
        "AWS_SECRET_ACCESS_KEY": "of-root",
        "SSH_AUTH_SOCK": "/root/agent",
        "PYTHONSTARTUP": "/root/x.py",
        "HOME": "/root",
    }
    ground.hello(OPERATOR, command, "2", **of_root)
    if command == "upgrade" and not runs:
        assert ground.pwned_by() in ({}, {"told": [SERVICE]})
        return
    seen = import_report(ground)
    capabilities = seen["capabilities"]
    assert isinstance(capabilities, list)
    assert (seen["uids"], seen["gids"], {*capabilities}) == ([str(SERVICE)] * 4, [str(SERVICE)] * 4, {"0" * 16})
    assert seen["groups"] == (["4711"] if runs else [str(SERVICE)])
    assert (seen["no new privileges"], seen["terminal"]) == (["1"], False)
    environ, descriptors = seen["environ"], seen["descriptors"]
    assert isinstance(environ, dict)
    assert not [name for name in of_root if environ.get(name) == of_root[name]]
    assert "of-root" not in str(seen)
    assert isinstance(descriptors, list)
    assert not [
        each for each in descriptors if each.startswith("/root") or each.endswith(("/transaction", "/run/lock"))
    ]
    if runs:
        assert environ["OF_THE_SERVICE"] == "1"
        assert (seen["umask"], seen["files"], seen["cwd"]) == (["0027"], [200, 200], VAR)
    else:
        assert seen["cwd"] == "/"
    assert not [*ground.look(PLACE / "tmp").iterdir()]


@pytest.mark.parametrize(
    "variables",
    [
        "RELEASE_VM_ARGS={var}/args",
        "LD_PRELOAD={var}/evil.so",
        "RELEASE_ROOT={var}/root RELEASE_PROG={var}/evil",
        "PATH={var}/bin:/bin ENV={var}/evil BASH_ENV={var}/evil",
        "RELEASE_SYS_CONFIG={var}/sys.config TMPDIR={var}",
    ],
)
def test_what_the_keeper_s_environment_says_runs_as_its_user(ground: Ground, variables: str) -> None:
    """A process of the service's user that passes for the keeper chooses nothing that root then runs."""
    ground.evil("evil")
    ground.evil("of-path", launcher="bin/readlink")
    code = f"import os\nopen('{PLACE}/pwned/args-%d' % os.getuid(), 'w').close()"
    ground.as_service(f"open('code.py', 'w').write({code!r})")
    ground.as_service(f"open('args', 'w').write('-I -B -c exec(open(\"{VAR}/code.py\").read())\\n')")
    keeper(ground, *variables.format(var=VAR).split())
    done = ground.hello(OPERATOR, "check", "2")
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 6)
    ground.assert_nobody_was(OPERATOR)
    if "VM_ARGS" in variables:
        assert ground.pwned_by() == {"args": [SERVICE]}


@pytest.mark.sample
@pytest.mark.parametrize("kind", ENVIRONS)
def test_what_is_no_environment_is_not_taken_for_one(ground: Ground, kind: str) -> None:
    """Variables of the keeper without a name, without a text, twice or without an end: the trial goes on, or one sentence says why not."""
    code = EXECUTES.replace("ENVIRON", ENVIRONS[kind])
    command: list[str | Path] = [
        ground.interpreter,
        "-I",
        "-S",
        "-c",
        code,
        ground.interpreter,
        "-I",
        "-S",
        "-c",
        HOLDER,
    ]
    process = ground.spawn(SERVICE, "/bin/sh", "-c", 'ulimit -s unlimited; exec "$@"', "sh", *command)
    assert process.stdout is not None
    read_until(process.stdout, "held")

    done = ground.hello(OPERATOR, "check", "2")

    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    assert said.replace("\n", "").isprintable()
    assert done.returncode == (6 if kind == "large" else 0), said
    ground.assert_nobody_was(OPERATOR)


@pytest.mark.sample
@pytest.mark.parametrize("limit", LIMITS)
def test_limits_of_the_keeper_keep_no_check(ground: Ground, limit: str) -> None:
    """Whatever the service's user lets his keeper have: the trial has no more, and root's command ends with what came of it."""
    command: list[str | Path] = [ground.interpreter, "-I", "-S", "-c", HOLDER.replace("time.sleep(100)", LIMITED)]
    process = ground.spawn(SERVICE, *command, limit)
    assert process.stdout is not None
    read_until(process.stdout, "limited")

    done = ground.hello(OPERATOR, "check", "2", "--within", "10")

    assert done.returncode in (0, 6), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    ground.assert_nobody_was(OPERATOR)


def test_nothing_that_a_trial_has_started_outlives_it(ground: Ground) -> None:
    """Not what has left its session and its parent, and not what ignores signals."""
    runs_in_trial(ground, FORKS)
    done = ground.hello(OPERATOR, "check", "2")
    assert "Traceback" not in done.stderr
    assert ground.pwned_by() == {"child": [SERVICE]}
    assert ground.running("code.py") == []


def test_a_stranger_s_check_tries_nothing(ground: Ground) -> None:
    """Who is neither root nor the node's user is told what could not be tried."""
    ground.start()
    done = ground.hello(STRANGER, "check", "2")
    assert done.returncode == 0, done.stderr
    assert "it was not tried" in done.stdout
    assert ground.pwned_by() == {}


@pytest.mark.sample(most=4)
@pytest.mark.parametrize(
    "report",
    [
        '{"found": {"problems": 1}}',
        '{"found": {"configuration": [[1]]}}',
        '{"found": {"addresses": [{"address": 1}]}}',
        '{"found": {"notes": ["\\u001b]0;owned\\u0007"], "schemas": {"\\u001b[2J": "\\u202e"}}}',
        '{"begin": "\\u001b]0;owned\\u0007"}',
        "deep",
        "link",
        "FIFO",
        "huge",
    ],
)
def test_a_report_is_a_stranger_s(ground: Ground, report: str) -> None:
    """Whatever code in the trial writes as its report, root's command ends with a sentence, and its terminal is left alone."""
    secret = ground.victim("secret", '{"found": {"problems": ["top-secret-of-root"]}}')
    content = "'[' * 200000" if report == "deep" else repr(report)
    ground.as_service(f"open('report', 'w').write({content})")
    kind = report if report.isalpha() else "text"
    runs_in_trial(ground, REPORTS.replace("SECRET", str(secret)).replace("KIND", kind))
    for words in (["check", "2"], ["check", "2", "--json"]):
        done = ground.hello(OPERATOR, *words)
        said = done.stdout + done.stderr
        assert said
        assert "Traceback" not in said
        assert "top-secret" not in said
        assert said.replace("\n", "").isprintable()
