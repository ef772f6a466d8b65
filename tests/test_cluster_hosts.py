"""Which hosts a cluster has: from words, files and tables; all that is wrong is said at once."""

from __future__ import annotations

import re
from typing import Any

import pytest

from underway_runtime.cluster import inventory
from underway_runtime.cluster.inventory import Fleet, Host, Limits
from underway_runtime.release.errors import UsageError


@pytest.mark.parametrize(
    ("word", "host"),
    [
        ("alpha", Host("alpha")),
        ("alpha:", None),
        ("alpha:mapper,ssd", Host("alpha", tags=("mapper", "ssd"))),
        ("count@alpha.example.org:x", Host("alpha.example.org", "count", ("x",))),
        ("10.0.0.7", Host("10.0.0.7")),
        ("[fe80::1]:x", Host("[fe80::1]", tags=("x",))),
        ("fe80::1", None),
        ("", None),
        ("@alpha", None),
        ("a b", None),
        ("alpha\n", None),
        ("alpha:a,,b", None),
        ("alpha;reboot", None),
        ("$(reboot)", None),
        ("../alpha", None),
    ],
)
def test_a_host_is_a_name_with_its_node_and_tags(word: str, host: Host | None) -> None:
    """[NAME@]HOST[:TAG,TAG], and nothing else."""
    if host is None:
        with pytest.raises(ValueError, match="is not a host"):
            inventory.host(word)
    else:
        assert inventory.host(word) == host


@pytest.mark.parametrize("word", ["-oProxyCommand=reboot", "--help", "x@-Fevil", "-", "a:-x"])
def test_no_word_becomes_an_option_of_ssh(word: str) -> None:
    """What begins with a dash is not a host, no node and no tag; the original handed it to ssh."""
    with pytest.raises(UsageError, match="is not a host"):
        inventory.from_words([word])


def test_a_file_has_comments_and_needs_no_newline_at_its_end() -> None:
    """Comments are none of the hosts and the last line counts; in the original it was the other way round."""
    text = "# the mappers\nalpha:mapper\n\n  beta:mapper  # fast\n#gamma\ncount@delta:reducer"

    assert [host.host for host in inventory.from_text(text)] == ["alpha", "beta", "delta"]
    assert inventory.from_text(text)[-1] == Host("delta", "count", ("reducer",))


def test_everything_that_is_wrong_with_hosts_is_said_at_once() -> None:
    """Two words that are no hosts, and one that is there twice."""
    with pytest.raises(UsageError) as raised:
        inventory.from_words(["--verbose", "alpha", "a lpha", "alpha", "b@alpha"])

    lines = str(raised.value).splitlines()
    assert [line.partition(" is ")[0] for line in lines[1:]] == ["  - '--verbose'", "  - 'a lpha'", "  - worker@alpha"]


def test_a_table_says_hosts_roles_and_limits() -> None:
    """[tool.underway.cluster], with hosts as words and as tables."""
    table = {
        "directory": "/srv/wc",
        "listen": "10.0.0.1:9000",
        "worker-port": 9001,
        "hosts": ["alpha:x", {"host": "beta", "role": "master", "user": "deploy", "port": 2222}],
        "limits": {"copy": 10, "parallel": 2},
    }

    assert inventory.from_table(table) == Fleet(
        (Host("alpha", tags=("x",)), Host("beta", role="master", user="deploy", port=2222)),
        directory="/srv/wc",
        listen="10.0.0.1:9000",
        worker_port=9001,
        limits=Limits(copy=10, parallel=2),
    )
    assert inventory.from_table({}) == Fleet()


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ([], "it is \\[\\]; it must be Fleet"),
        ({"host": "alpha"}, "unknown key 'host'; did you mean 'hosts'?"),
        ({"hosts": "alpha"}, "hosts is 'alpha'; it must be list"),
        ({"hosts": ["-x"]}, "hosts.0: '-x' is not a host: host is '-x'; it must be a name of a host"),
        ({"hosts": [{"host": "a", "roles": "x"}]}, "unknown key 'hosts.0.roles'; did you mean 'role'?"),
        ({"hosts": [{"host": "a", "role": "boss"}]}, 'hosts.0.role is \'boss\'; it must be one of "worker", "master"'),
        ({"hosts": [{"host": "a", "user": "-l"}]}, "hosts.0.user is '-l'; it must be a user"),
        ({"hosts": [{"host": "a", "port": "22"}]}, "hosts.0.port is '22'; it must be a port"),
        ({"hosts": [{"host": "a", "tags": "x"}]}, "hosts.0.tags is 'x'; it must be list"),
        ({"hosts": [{"host": 1}, {"host": "a", "port": -1}]}, "hosts.0.host is 1; .*\n  - hosts.1.port is -1;"),
        ({"hosts": [{"host": "a", "role": "master"}, {"host": "b", "role": "master"}]}, "a and b are masters"),
        ({"hosts": ["a", "a"]}, "worker@a is there 2 times"),
        ({"listen": "alpha"}, "listen is 'alpha'; it must be an address with a port"),
        ({"limits": {"copy": 0}}, "limits.copy is 0; it must be a number of more than 0"),
        ({"limits": {"parallel": 1.5}}, "limits.parallel is 1.5; it must be a whole number"),
        ({"limits": {"speed": 1}}, "unknown key 'limits.speed'; there are connect, command, copy"),
        ({"hosts": [{"host": "a", "port": 0}]}, "hosts.0.port is 0; it must be a port"),
        ({"hosts": ["b\u00fccher"]}, "it must be a name of a host in ASCII, as xn--"),
        ({"directory": "a\nb"}, "directory is 'a.*b'; it must be a path"),
        ({"directory": "a\u2028b"}, "has a line break or another character that can't be printed"),
        ({"directory": "$HOME/a"}, "has a variable, which is not looked up; ~ is the home"),
        ({"directory": "/srv/${USER}/$(date)"}, "has a variable, which is not looked up"),
        ({"directory": "../a"}, "leads through ..; write its path"),
    ],
)
def test_a_table_that_is_none_is_refused(table: Any, problem: str) -> None:
    """With what is wrong, by name."""
    with pytest.raises(UsageError, match=problem):
        inventory.from_table(table)


def test_the_node_of_a_host_is_called_after_release_and_role() -> None:
    """Unless it was given a name; the original gave that to ssh as a user."""
    assert inventory.host("alpha").node("wc") == "wc_worker@alpha"
    assert inventory.host("count@alpha").node("wc") == "count@alpha"


@pytest.mark.parametrize("text", ["alpha", ":1", "alpha:70000", "-x:1", "a b:1", "[::1"])
def test_an_address_has_a_host_and_a_port(text: str) -> None:
    """What has not is refused; with a default the port may be missing."""
    assert inventory.address("alpha", 8786) == ("alpha", 8786)
    assert inventory.address("[::1]:1") == ("::1", 1)
    with pytest.raises(UsageError):
        inventory.address(text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["alpha", "Alpha"], "the hosts alpha and Alpha differ only in case; DNS knows one of them"),
        (["a@web1", "b@WEB1", "c@Web1"], "the hosts web1 and WEB1 and Web1 differ only in case"),
        (["[fe80::a]", "[FE80::A]"], "the hosts [fe80::a] and [FE80::A] differ only in case"),
        (["alpha", "Alpha.:x"], "the hosts alpha and Alpha. are one; write it in one way"),
        (
            ["[::1]", "[0:0:0:0:0:0:0:1]", "[::0.0.0.1]"],
            "the hosts [::1] and [0:0:0:0:0:0:0:1] and [::0.0.0.1] are one",
        ),
        (["one@alpha", "One@alpha"], "the names of nodes one@alpha and One@alpha differ only in case"),
        (["alpha:cut", "beta:Cut"], "the tags cut and Cut differ only in case; write the tag in one way"),
    ],
)
def test_what_is_one_to_the_network_is_refused_as_two(words: list[str], said: str) -> None:
    """Names that differ only in case or in a dot at the end, and one address in two forms; in words, in a list and in a table."""
    for read in (
        inventory.from_words,
        lambda words: inventory.from_text("\n".join(words)),
        lambda w: inventory.from_table({"hosts": w}),
    ):
        with pytest.raises(UsageError, match=re.escape(said)):
            read(words)


def test_the_same_name_at_two_hosts_is_no_other_case() -> None:
    """Nodes are told apart by their hosts."""
    assert len(inventory.from_words(["one@alpha", "One@beta", "one@gamma:x", "two@gamma:x"])) == 4


@pytest.mark.parametrize("directory", ["~root", "~deploy/words"])
def test_the_home_of_another_user_is_not_looked_up(directory: str) -> None:
    """It is refused, with what to write instead."""
    with pytest.raises(UsageError, match="is below another user's home, which is not looked up; write its path"):
        inventory.from_table({"directory": directory})
    assert inventory.from_table({"directory": "~/words"}).directory == "~/words"
    assert inventory.from_table({"directory": "~"}).directory == "~"


@pytest.mark.parametrize(
    ("text", "directory"),
    [
        ("/srv/a/", "/srv/a"),
        ("/srv//a/.", "/srv/a"),
        ("./a b", "a b"),
        ("~/", "~"),
        (".", "~"),
        ("-a", "-a"),
        ("$", "$"),
    ],
)
def test_a_directory_has_one_form(text: str, directory: str) -> None:
    """Whichever way it is written: a release is renamed into its place, and nodes are found again."""
    assert inventory.directory_problems(text) == []
    assert inventory.directory_of(text) == directory
