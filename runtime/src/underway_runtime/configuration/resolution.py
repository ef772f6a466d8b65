"""From ``sys.config`` to the configuration of a boot.

``sys.config`` is the JSON that a release carries:

===============  =====================================================================================================
``config``       what is known at build
``environment``  what the release was built for, "prod"
``origins``      where each value of ``config`` was set
``compile_env``  what build-time code has read of it, as path, whether it was there, value
``providers``    where there are any, the trigger: pairs of reference and what ``init`` returned
``flags``        reboot-system-after-config and the like
===============  =====================================================================================================

Nothing is written, and nothing starts.
"""

from __future__ import annotations

import contextvars
import copy
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ..frozen import Frozen
from ..process.settings import START_TIMEOUT
from ..release.errors import BootError, ConfigError, DamagedRelease, UnderwayError, listing
from ..release.references import find
from .config import FORMAT, MISSING, Values, install, lookup, not_plain
from .provenance import Origins, Setting, leaves, recording, shown

if TYPE_CHECKING:
    from ..providers import Provider

T = TypeVar("T")
Begin: TypeAlias = Callable[[str], object]
"""Told what is done next, so that who waits can say what hangs."""

REBOOT = "reboot-system-after-config"
PRUNE = "prune-runtime-sys-config-after-boot"


def unseen(what: str) -> None:
    """Nobody waits."""


_LARGEST = 32 << 20
"""Bytes of a ``sys.config``, which a variable may name."""


class SysConfig(Frozen):
    """A ``sys.config``, read."""

    values: Values
    providers: tuple[tuple[str, Any], ...] = ()
    environment: str = "prod"
    origins: Origins = field(default_factory=Origins)
    compile_env: tuple[tuple[tuple[str, ...], bool, Any], ...] = ()
    flags: frozenset[str] = frozenset()


class Resolved(Frozen):
    """The configuration of one boot."""

    values: Values
    origins: Origins
    environment: str = "prod"
    flags: frozenset[str] = frozenset()


def read(sys_config: Path) -> SysConfig:
    """Read a ``sys.config``. Raises DamagedRelease, naming it, when it is missing or not one."""
    try:
        with sys_config.open("rb") as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST} bytes")
        document = json.loads(text.decode())
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}; this runtime reads format {FORMAT}")
        values = document["config"]
        if not _is_configuration(values):
            raise ValueError("'config' is not a mapping of applications")
        return SysConfig(
            values,
            tuple((str(reference), argument) for reference, argument in document.get("providers", [])),
            str(document.get("environment", "prod")),
            Origins.from_json(document["origins"]) if "origins" in document else Origins(),
            tuple((tuple(path), bool(is_set), value) for path, is_set, value in document.get("compile_env", [])),
            frozenset(flag for flag, on in document.get("flags", {}).items() if on),
        )
    except FileNotFoundError:
        raise DamagedRelease(f"the configuration {sys_config} is missing; restore it from the archive") from None
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise DamagedRelease(
            f"the configuration {sys_config} can't be read: {what}; restore it from the archive"
        ) from None


def load(sys_config: Path, begin: Begin = unseen, *, other: tuple[Path, Mapping[str, str]] | None = None) -> Resolved:
    """Load the configuration of this boot: what ``sys.config`` holds, then each provider in order.

    With ``reboot-system-after-config`` the providers run in an interpreter of their own, so that nothing they imported
    stays in this one; so do those of another version, with `other`: its interpreter, and the variables that they see.
    Raises DamagedRelease for the file, and ConfigError for what a provider raises or returns and, listing all of them, for
    values that build-time code has read and that are different now.
    """
    system = read(sys_config)
    if system.providers and (other is not None or REBOOT in system.flags):
        begin("the configuration providers")
        resolved = _elsewhere(sys_config, *(other or (Path(sys.executable), os.environ)))
    else:
        resolved = resolve(system, begin)
    if problems := _compile_env_problems(system, resolved):
        raise ConfigError(
            listing("the release was built with other values than it is to run with:", problems)
            + "\nConfigure them as they were, build the release again, or build it with validate-compile-env = false"
        )
    return replace(resolved, flags=system.flags)


def resolve(system: SysConfig, begin: Begin = unseen) -> Resolved:
    """Run the providers, in this process and in order. Raises ConfigError naming the one that does not hold."""
    origins = copy.deepcopy(system.origins)
    noted = {setting.path for setting in origins.settings}
    origins.settings[:0] = [Setting(p, value, "sys.config") for p, value in leaves(system.values) if p not in noted]
    token = recording.set(origins)
    values = system.values
    try:
        for reference, argument in system.providers:
            install(values, system.environment)
            begin(f"the configuration provider {reference}")
            before, count = dict(leaves(values)), len(origins.settings)
            values = _provided(reference, argument, copy.deepcopy(values))
            noted = {setting.path for setting in origins.settings[count:]}
            origins.settings += [
                Setting(path, value, reference)
                for path, value in leaves(values)
                if path not in noted and not same(before.get(path, MISSING), value)
            ]
    finally:
        recording.reset(token)
    return Resolved(values, origins, system.environment)


def resolve_provider(reference: str) -> Provider:
    """Resolve the provider named ``"module:Class"``, instantiated. Raises ConfigError when there is none of that name."""
    try:
        provider = find(reference)()
    except (BootError, ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"there is no configuration provider {reference!r}: {error}") from None
    missing = [method for method in ("init", "load") if not callable(getattr(provider, method, None))]
    if missing:
        raise ConfigError(f"{reference!r} is not a configuration provider: it lacks {' and '.join(missing)}")
    return provider  # type: ignore[no-any-return]  # its two methods were just looked up


def _provided(reference: str, argument: Any, values: Values) -> Values:
    name = f"the configuration provider {reference}"
    try:
        loaded = _in_time(lambda: resolve_provider(reference).load(values, argument), _timeout(values), name)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{name} failed: {type(error).__name__}: {error}") from error
    if not _is_configuration(loaded):
        raise ConfigError(
            f"{name} returned {type(loaded).__name__}, no configuration; it returns a dict with a dict for each application"
        )
    if problems := not_plain(loaded):
        raise ConfigError(listing(f"{name} returned what is not plain data:", problems))
    return loaded


def _is_configuration(values: Any) -> bool:
    return isinstance(values, dict) and all(isinstance(keys, dict) for keys in values.values())


def _timeout(values: Values) -> float:
    seconds = lookup(values, ("underway_runtime", "start_timeout"))
    return float(seconds) if isinstance(seconds, (int, float)) and seconds > 0 else START_TIMEOUT


def _in_time(call: Callable[[], T], seconds: float, name: str) -> T:
    """Call it in a thread, so that what hangs, in whatever way, can be given up. Raises what it raises."""
    outcome: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            outcome.put((context.run(call), None))
        except SystemExit as error:  # which in the main thread means a signal
            outcome.put((None, ConfigError(f"{name} called sys.exit({error})")))
        except BaseException as error:
            outcome.put((None, error))

    thread = threading.Thread(target=work, name="configuration", daemon=True)
    thread.start()
    try:
        result, error = outcome.get(timeout=seconds)
    except Empty:
        frame = sys._current_frames().get(thread.ident or 0)
        where = f", and is in {frame.f_code.co_filename}, line {frame.f_lineno}" if frame else ""
        raise ConfigError(
            f"{name} has not returned within {seconds:g} s{where}; start_timeout of underway_runtime, set at build, gives"
            " it more"
        ) from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # where there is no error it is what the call returned


def same(one: Any, other: Any) -> bool:
    """Whether two values, or MISSING, are the same in JSON, where true is not 1."""
    if one is MISSING or other is MISSING:
        return one is other
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _compile_env_problems(system: SysConfig, resolved: Resolved) -> list[str]:
    problems = []
    for path, is_set, value in system.compile_env:
        now = lookup(resolved.values, path)
        if same(now, value if is_set else MISSING):
            continue
        secret = resolved.origins.is_secret(path)
        was = shown(value, secret=secret) if is_set else "not set"
        is_now = "not set" if now is MISSING else shown(now, secret=secret)
        where = resolved.origins.where(path)
        set_by = f" ({where})" if where and now is not MISSING else ""
        problems.append(f"{'.'.join(path)} was {was} at build and is {is_now} now{set_by}")
    return problems


def _elsewhere(sys_config: Path, python: Path, environ: Mapping[str, str]) -> Resolved:
    """Resolve in a fresh interpreter, started as this one was, that ends when it has answered."""
    import subprocess

    options = sys.orig_argv[1 : sys.orig_argv.index("-m")] if "-m" in sys.orig_argv else ["-I", "-B"]
    answers, theirs = os.pipe()
    command = [str(python), *options, "-m", __name__, str(sys_config), str(theirs)]
    with open(answers, "rb") as stream:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs], env=environ)
        finally:
            os.close(theirs)
        try:
            text = stream.read()
            status = process.wait()
        finally:
            process.kill()
            process.wait()
    try:
        answer = json.loads(text)
    except ValueError:
        raise ConfigError(f"the process that runs the configuration providers ended with status {status}") from None
    if "problem" in answer:
        raise ConfigError(answer["problem"])
    return Resolved(answer["config"], Origins.from_json(answer["origins"]), answer["environment"])


def _answer(sys_config: Path, descriptor: int) -> None:
    """Be the other end of `_elsewhere`."""
    answer: dict[str, Any]
    try:
        resolved = resolve(read(sys_config))
        answer = {"config": resolved.values, "origins": resolved.origins.to_json(), "environment": resolved.environment}
    except UnderwayError as error:
        answer = {"problem": str(error)}
    with open(descriptor, "wb") as stream:
        stream.write(json.dumps(answer).encode())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # whatever threads the providers have left


if __name__ == "__main__":
    _answer(Path(sys.argv[1]), int(sys.argv[2]))
