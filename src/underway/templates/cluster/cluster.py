"""Configures this node of the cluster from its environment, before anything starts; bin/cluster sets these variables."""

from underway_runtime import config, env
from underway_runtime.process.settings import START_TIMEOUT
from underway_runtime.release.errors import ConfigError

if config.get("underway_runtime", "cluster", None) is not None:
    raise ConfigError("underway_runtime.cluster is configured already; it comes from the variables CLUSTER_* alone")


def given(name: str) -> str | None:
    """The value of a variable; None where it is not set, or empty."""
    return env(f"CLUSTER_{name}", "") or None


def flag(name: str, default: bool) -> bool:
    """A variable that is true or false."""
    said = given(name)
    if said not in {None, "true", "false"}:
        raise ConfigError(f"CLUSTER_{name} is true or false, not {said!r}")
    return default if said is None else said == "true"


if within := given("JOIN_TIMEOUT"):  # joining takes up to nine tenths of a start
    start = config.get("underway_runtime", "start_timeout", START_TIMEOUT)
    config("underway_runtime", start_timeout=max(start, 1.2 * float(within)))

config(
    "underway_runtime",
    cluster={
        "mode": given("MODE") or "local",
        "name": env("RELEASE_NODE"),
        "master": given("MASTER"),
        "workers": (given("WORKERS") or "").split(),
        "tags": (given("TAGS") or "").split(),
        "listen": given("LISTEN"),
        "certificates": given("CERTIFICATES"),
        "deploy": given("DEPLOY"),
        "shutdown_with_master": flag("SHUTDOWN_WITH_MASTER", True),
        "shutdown_with_workers": flag("SHUTDOWN_WITH_WORKERS", False),
        "log": flag("LOG", True),
        "join_timeout": float(within or 60),
    },
)
