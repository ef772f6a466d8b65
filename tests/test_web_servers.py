"""What web servers do not take is refused before they are started, with all that is wrong and the likely option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from handover_helpers import asgi
from node_helpers import MakeNode
from tls_files import write_tls
from underway_runtime.configuration.web_servers import check

ASGI, WSGI = {"asgi": "web:app"}, {"wsgi": "web:app"}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"access_log": False, "timeout_keep_alive": 60, "timeout_notify": 2.5, "timeout_graceful_shutdown": None},
        {"http": "h11", "ws": "none", "lifespan": "off", "interface": "asgi3", "root_path": "/api"},
        {"headers": [["x-served-by", "us"]], "forwarded_allow_ips": ["10.0.0.1"], "log_level": "debug"},
        {"forwarded_allow_ips": "*", "log_level": 10, "use_colors": None, "limit_concurrency": 1, "factory": True},
        {"log_config": {"version": 1}, "ws_ping_interval": None, "http": "uvicorn.protocols.http.h11_impl:H11Protocol"},
    ],
)  # fmt: skip
def test_what_uvicorn_takes_is_let_through(options: dict[str, Any]) -> None:
    """Whatever its signature allows, seconds with a fraction too."""
    assert check("web", ASGI, options) == []


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("timeout_keep_alive", "x", "takes a number of seconds"),
        ("timeout_keep_alive", True, "takes a number of seconds"),
        ("timeout_notify", -1, "it must be 0 or more"),
        ("limit_concurrency", 0, "it must be 1 or more"),
        ("access_log", "false", "takes bool"),
        ("root_path", ["/"], "takes str"),
        ("headers", {"x": "y"}, "takes list[list[str]] or None"),
        ("headers", [["x"]], "refuses it: ValueError"),
        ("log_level", "loud", "refuses it: KeyError: 'loud'"),
        ("lifespan", "maybe", 'takes one of "auto", "on", "off"'),
        ("interface", "wsgi", "`wsgi` in [tool.underway] says"),
        ("interface", "rsgi", "takes one of"),
        ("http", "fast", "refuses it: ImportFromStringError"),
        ("callback_notify", "web:notify", "can't be configured: it is an object of Python"),
        ("timeout_keepalive", 5, "did you mean 'timeout_keep_alive'?"),
        ("threads", 4, "has no option 'threads'"),
    ],
)
def test_what_uvicorn_does_not_take_is_refused(option: str, value: Any, said: str) -> None:
    """Names, kinds, numbers and what it refuses by itself; another option that is right is not blamed."""
    [problem] = check("web", ASGI, {"access_log": False, option: value})
    assert problem.startswith(("`server` of web: ", "`server` of web can't set "))
    assert option in problem
    assert said in problem


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threads": 8, "ident": None, "channel_timeout": "30", "expose_tracebacks": "no"}, []),
        ({"trusted_proxy": "10.0.0.1", "trusted_proxy_headers": ["forwarded"]}, []),
        ({"threads": "x", "ident": "us"}, ["threads is 'x'; waitress", "a whole number"]),
        ({"threads": 0}, ["it must be 1 or more"]),
        ({"thread": 8}, ["has no option 'thread'; did you mean 'threads'?"]),
        ({"expose_tracebacks": "maybe"}, ["takes true or false"]),
        ({"trusted_proxy_headers": ["forwarded"]}, ["trusted_proxy_headers has no meaning without"]),
    ],
)
def test_what_waitress_takes_and_does_not(options: dict[str, Any], said: list[str]) -> None:
    """By its table of casts, which are more lenient; an option that goes with another is not refused by itself."""
    problems = check("web", WSGI, options)
    assert len(problems) == bool(said)
    assert all(part in problems[0] for part in said)


def test_an_option_that_comes_at_the_boot_is_not_missed_at_the_build() -> None:
    """Where a provider may state the other of two that go together, only the boot knows."""
    alone = {"trusted_proxy_headers": ["forwarded"]}
    assert check("web", WSGI, alone, at_build=True, is_all=False) == []
    assert check("web", ASGI, {"ssl_keyfile": __file__}, at_build=True, is_all=False) == []
    assert check("web", ASGI, {"ssl_keyfile": __file__}, at_build=True) != []


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate with its key, the key encrypted, both in one file, and the key of another."""
    return write_tls(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize(
    ("certificate", "key", "password", "said"),
    [
        ("crt", "key", None, []),
        ("both", None, None, []),
        ("crt", "locked", "s3cret", []),
        ("crt", "locked", None, []),  # whoever starts it is asked, or a provider has it
        ("crt", None, None, ["there is no private key in ssl_certfile itself"]),
        (None, "key", None, ["ssl_keyfile is set, and ssl_certfile is not"]),
        ("crt", "other", None, ["can't be loaded: ", "KEY_VALUES_MISMATCH"]),
        ("crt", "locked", "wrong", ["can't be loaded: "]),
        ("crt", "nothing", None, ["ssl_keyfile is ", "nothing', which is not there"]),
        ("nothing", "key", None, ["ssl_certfile is ", "nothing', which is not there"]),
    ],
)
def test_files_of_tls_are_there_and_go_together(
    tls: Path, certificate: str | None, key: str | None, password: str | None, said: list[str]
) -> None:
    """A key without its certificate, one that is another's, and a file that is missing are refused; no password is shown."""
    files = {"ssl_certfile": certificate, "ssl_keyfile": key}
    options = {option: str(tls / file) for option, file in files.items() if file}
    problems = check("web", ASGI, {**options, **({"ssl_keyfile_password": password} if password else {})})
    assert len(problems) == bool(said)
    assert all(part in problems[0] for part in said)
    assert "s3cret" not in str(problems)


def test_a_boot_lists_all_that_its_server_does_not_take(make: MakeNode) -> None:
    """Configuration of the boot may have it too; nothing listens."""
    node = make(asgi(), libraries=["uvicorn"])
    node.configure(web={"server": {"timeout_keep_alive": "x", "access_logs": False, "ssl_keyfile": "no.key"}})
    done = node.run("start")
    assert done.returncode == 1
    assert "timeout_keep_alive is 'x'; uvicorn" in done.stderr
    assert "has no option 'access_logs'; did you mean 'access_log'?" in done.stderr
    assert "ssl_keyfile is 'no.key', which is not there" in done.stderr
    assert "ssl_certfile is not" in done.stderr
    assert "Traceback" not in done.stderr
