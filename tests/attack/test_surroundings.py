"""What is around a command, its variables, umask and the files that it is told to believe, neither steers nor breaks it."""

from __future__ import annotations

import json

import pytest

from grounds import OPERATOR, PLACE, SERVICE, STRANGER, Ground


@pytest.mark.sample
@pytest.mark.parametrize("umask", ["000", "002", "022", "077", "027"])
@pytest.mark.parametrize("command", ["daemon", "eval 1"])
def test_no_umask_lets_others_write_in_var(ground: Ground, umask: str, command: str) -> None:
    """Whatever it was when the service began: nobody else makes, removes or writes anything there."""
    home = ground.look(PLACE / "home")
    ground.run(OPERATOR, "/bin/sh", "-c", f"rm -rf {PLACE}/home; mkdir {PLACE}/home; chown {SERVICE} {PLACE}/home")
    start = f"umask {umask}; exec {ground.inside}/bin/hello {command}"
    done = ground.run(SERVICE, "/bin/sh", "-c", start, RELEASE_VAR=f"{PLACE}/home/var")
    assert done.returncode == 0, done.stderr
    found = {str(path.relative_to(home)): path.lstat().st_mode & 0o777 for path in (home / "var").rglob("*")}
    found["var"] = (home / "var").lstat().st_mode & 0o777
    others = {name: oct(mode) for name, mode in found.items() if mode & 0o002 and not (home / name).is_socket()}
    assert others == {}
    ground.hello(SERVICE, "stop", RELEASE_VAR=f"{PLACE}/home/var")


VARIABLES = {
    "PYTHONEXECUTABLE": "{evil}/bin/python",
    "__PYVENV_LAUNCHER__": "{evil}/bin/python",
    "PYTHONHOME": "{evil}",
    "PYTHONPATH": "{evil}/lib",
    "PYTHONSTARTUP": "{evil}/lib/sitecustomize.py",
    "PYTHONUSERBASE": "{evil}",
    "PYTHONPLATLIBDIR": "evil",
    "PYTHONINSPECT": "1",
    "PYTHONBREAKPOINT": "evil.x",
    "PYTHONWARNINGS": "error::evil.X",
    "PYTHONPYCACHEPREFIX": "{evil}",
    "ENV": "{evil}/run.sh",
    "BASH_ENV": "{evil}/run.sh",
    "IFS": "/",
    "CDPATH": "{evil}",
    "RELEASE_ROOT": "{evil}",
}
"""What interpreters read from the environment."""


@pytest.mark.parametrize("name", VARIABLES)
def test_no_variable_leads_an_interpreter_elsewhere(ground: Ground, name: str) -> None:
    """With each of them in root's environment root's commands do as without, and nothing of another user's is run."""
    evil = f"{PLACE}/hello/var/evil"
    mark = f"import os; open('{PLACE}/pwned/python-%d' % os.getuid(), 'w')"
    minor = ground.interpreter.name.removeprefix("python")
    ground.as_service(
        f"os.makedirs('evil/bin'); os.makedirs('evil/lib/python{minor}/site-packages')\n"
        f"os.symlink('{ground.interpreter}', 'evil/bin/python')\n"
        f"open('evil/pyvenv.cfg', 'w').write('home = {evil}/bin\\n')\n"
        f"open('evil/lib/python{minor}/site-packages/x.pth', 'w').write({mark!r} + '\\n')\n"
        f"open('evil/run.sh', 'w').write('id >{PLACE}/pwned/shell-$(id -u)\\n')\n"
        f"[open(f'evil/lib/{{each}}.py', 'w').write({mark!r}) for each in ('sitecustomize', 'json', 'evil')]\n"
    )
    ground.start()
    for words, wanted in (
        (["status"], "hello 1 is running"),
        (["eval", "print(6 * 7)"], "42"),
        (["releases"], "1  permanent"),
    ):
        done = ground.hello(OPERATOR, *words, **{name: VARIABLES[name].format(evil=evil)})
        assert wanted in done.stdout, (name, done.stderr)
    ground.assert_nobody_was(OPERATOR)


@pytest.mark.parametrize(
    "whose",
    ["the service's", "a stranger's", "group may write", "in a directory of the service's", "a link of the service's"],
)
def test_no_signers_file_of_another_user_is_believed(ground: Ground, whose: str) -> None:
    """Root's unpack refuses it before it looks at the archive, and says why."""
    signers = ground.victim("signers", 'me namespaces="underway-release" ssh-ed25519 AAAA\n')
    ground.look(signers).chmod(0o644)
    match whose:
        case "the service's":
            ground.run(OPERATOR, "/bin/chown", str(SERVICE), signers)
        case "a stranger's":
            ground.run(OPERATOR, "/bin/chown", str(STRANGER), signers)
        case "group may write":
            ground.look(signers).chmod(0o664)
        case "in a directory of the service's":
            (ground.var / "signers").write_text("x")
            signers = ground.inside / "var/signers"
        case "a link of the service's":
            ground.as_service(f"os.symlink({str(signers)!r}, 'signers')")
            signers = ground.inside / "var/signers"
    archive = ground.victim("hello-3.tar.zst", "no archive")
    done = ground.hello(OPERATOR, "unpack", str(archive), "--allowed-signers", str(signers))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "signers" in done.stderr
    assert json.loads(ground.hello(OPERATOR, "releases", "--json").stdout)
