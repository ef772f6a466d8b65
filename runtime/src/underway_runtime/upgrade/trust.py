"""What an archive has to prove before it is opened: said by who operates the host, never by a release or by who runs the service.

===================================  ====================================================================================
on the command line                  ``--sha256``, ``--allowed-signers``, ``--trust``
in the environment                   ``RELEASE_ALLOWED_SIGNERS``
``/etc/underway/allowed_signers``    who may sign; where it is there a signature is needed, whatever ``--trust`` says
``/etc/underway/underway.toml``      ``trust = "owner"``: a file that nobody but root and who asks could have changed is
                                     opened; ``trust = "digest"``, as without the file: it is not
===================================  ====================================================================================

Both files in ``/etc`` are believed only where nobody but root, and who asks, could have written them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from ..release.errors import ConfigError, listing
from ..release.filesystem import ownership

ALLOWED_SIGNERS = Path("/etc/underway/allowed_signers")
"""Believed where neither --allowed-signers nor RELEASE_ALLOWED_SIGNERS names another file, if it is there."""
POLICY = Path("/etc/underway/underway.toml")

KINDS = ("owner", "digest")

By: TypeAlias = Literal["signature", "digest", "owner"]


@dataclass(frozen=True)
class Basis:
    """Why an archive was believed."""

    by: By
    file: str
    signer: str | None


@dataclass(frozen=True)
class Trust:
    """What an archive has to be; `release.signature` has the table."""

    allowed_signers: Path | None = None
    sha256: str | None = None
    allow_downgrade: bool = False
    """Whether a signed version may be older than what boots, or runs. One that is known by its digest may: that names it."""
    of_owner: bool = False
    """Whether it does that nobody but root and who asks could have changed it."""


def trust(
    allowed_signers: Path | None,
    sha256: str | None,
    kind: str | None,
    environ: Mapping[str, str],
    *,
    allow_downgrade: bool,
) -> Trust:
    """What this host wants, with what the command line says. `kind` is one of KINDS, or None where it says nothing.

    Raises ConfigError where the host's own word can't be understood, or could be another's.
    """
    named = environ.get("RELEASE_ALLOWED_SIGNERS")
    signers = allowed_signers or (Path(named) if named else None)
    signers = signers or (ALLOWED_SIGNERS if _is_there(ALLOWED_SIGNERS) else None)
    return Trust(signers, sha256, allow_downgrade, (kind or _policy()) == "owner")


def _policy() -> str:
    if not _is_there(POLICY):
        return "digest"
    import tomllib

    try:
        problems = ownership.of_file(POLICY)
        document = {} if problems else tomllib.loads(POLICY.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{POLICY} can't be read: {reason}") from None
    if problems:
        raise ConfigError(listing(f"{POLICY} is not trusted, because others could have written it:", problems))
    problems = [f"unknown key {key!r}; the only key is trust" for key in document if key != "trust"]
    kind = document.get("trust", "digest")
    if kind not in KINDS:
        problems.append(f'trust is "owner" or "digest", not {kind!r}')
    if problems:
        raise ConfigError(listing(f"{POLICY} can't be understood:", problems))
    return str(kind)


def _is_there(file: Path) -> bool:
    """Also where it can't be looked at, or is a link to nowhere: only what is known to be missing sets no rule."""
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
