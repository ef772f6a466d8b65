"""The low-level instructions of a relup, by OTP's names. docs/reference/relup.md says what each does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal, TypeAlias

from ..frozen import Frozen
from .parts import Part

PurgeMethod: TypeAlias = Literal["soft", "brutal"]
Timeout: TypeAlias = Literal["default", "infinity"] | float
"""Seconds, or what the node says, or for ever."""

GUARDS = (
    *("no_closures", "no_holders", "no_instances"),
    *("not_handed", "not_loaded", "not_made", "plain_class", "remembered", "unaltered"),
)


class Changed(Frozen):
    """A definition whose code differs: digests of the code that is to be found, and that comes."""

    was: str
    now: str
    contract: bool = False
    """Whether its signature, or how it may be used, differs too."""


class Guard(Frozen):
    """What must hold in the live process, or nothing is done.

    ================  ================================================================================
    ``no_closures``   no live function has the code of this definition, and no frame runs it; no class has this name
    ``no_holders``    nothing but the module, or the class, refers to what has this name
    ``no_instances``  the class of this name has none, and no subclass; members of a class that goes don't count
    ``not_handed``    nothing but modules and classes refers to the function of this name
    ``not_loaded``    the module itself was never imported; of nothing
    ``not_made``      the global of this name is None, or an empty container: nothing has asked for it yet
    ``plain_class``   the class of this name is made by `type` or `abc.ABCMeta`
    ``remembered``    what the function of this name has in its cache is what it makes, and nobody else holds it
    ``unaltered``     the class of this name has the members that its module has made, and no others
    ================  ================================================================================
    """

    kind: str
    of: str


class LoadObjectCode(Frozen):
    """Read the modules of a version of an application into memory."""

    application: str
    version: str
    modules: tuple[str, ...]


class PointOfNoReturn(Frozen):
    """What comes before has changed nothing."""


class Load(Frozen):
    """Make a module that is loaded the one of the new version. Names are ``NAME`` of the module or ``CLASS.MEMBER``."""

    module: str
    application: str = ""
    pre: PurgeMethod = "brutal"
    post: PurgeMethod = "brutal"
    fragment: bytes | None = None
    """Marshalled code: the statements of the new module that must run; in it a class that is there already holds only the members
    that are taken out of it."""
    changed: Mapping[str, Changed] = field(default_factory=dict)
    """Definitions, by their paths in `codetree`, whose code is replaced."""
    refreshed: tuple[str, ...] = ()
    """Functions that keep their identity and take defaults and annotations from the fragment."""
    added: tuple[str, ...] = ()
    """Names that are bound to what the fragment binds them to."""
    removed: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    """Names that are there already, and are bound to what the fragment binds them to: at the swap, not before."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Names whose plain value changes -> the value that is to be found; the new one comes from the fragment."""
    rebind: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Names that were imported -> module and name that they are bound to again."""
    imports: tuple[str, ...] = ()
    """Modules that the fragment imports for the first time."""
    code_change: tuple[str, ...] = ()
    """The classes, and ``""`` for the module, that define ``code_change`` in the newer version."""
    given: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Classes -> the attributes that their instances get, where they have none of that name, with their plain values."""
    taken: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Classes -> the attributes that their instances lose."""
    caches: tuple[str, ...] = ()
    """Functions whose ``cache_clear`` is called."""
    guards: tuple[Guard, ...] = ()
    parts: tuple[Part, ...] = ()
    """What changes within objects that stay."""
    touches: tuple[tuple[str, str], ...] = ()
    """Objects, by module and name, that the fragment changes: what it does to them is put in place with all else."""
    seen: bool = False
    """Whether what import has made was looked at: it is proven in the process."""


class Remove(Frozen):
    """Forget a module, which the new version does not have."""

    module: str
    pre: PurgeMethod = "brutal"
    post: PurgeMethod = "brutal"
    guards: tuple[Guard, ...] = ()


class Purge(Frozen):
    """Let go of what is left of these modules' old code."""

    modules: tuple[str, ...]


class Suspend(Frozen):
    """Hold new work that enters these modules, and wait until none is inside: each module with its deadline."""

    modules: tuple[tuple[str, Timeout], ...]


class Resume(Frozen):
    """Let work into these modules again."""

    modules: tuple[str, ...]


class CodeChange(Frozen):
    """Carry over the state that these modules define, each with what is handed to its ``code_change`` as `extra`."""

    direction: Literal["up", "down"]
    modules: tuple[tuple[str, Any], ...]


class Stop(Frozen):
    """Stop the applications that these modules start."""

    modules: tuple[str, ...]


class Start(Frozen):
    """Start the applications that `Stop` has stopped."""

    modules: tuple[str, ...]


class SyncNodes(Frozen):
    """Wait until all these nodes are at the instruction with this id; a ``module:function`` may say which they are."""

    id: str
    nodes: tuple[str, ...] = ()
    function: str | None = None


class Apply(Frozen):
    """Call a function of a module; `arguments` are plain data."""

    module: str
    function: str
    arguments: tuple[Any, ...] = ()


class ApplicationLoad(Frozen):
    """Make an application known as the boot script of the new version has it."""

    application: str


class ApplicationStart(Frozen):
    """Start an application that is loaded."""

    application: str
    mode: Literal["permanent", "transient", "temporary"] = "permanent"


class ApplicationStop(Frozen):
    """Stop an application."""

    application: str


class ApplicationUnload(Frozen):
    """Forget an application that is stopped."""

    application: str


class RestartNewEmulator(Frozen):
    """The interpreter, or the runtime, differs: hand over to a fresh one before anything else."""


class RestartEmulator(Frozen):
    """Hand over to a fresh interpreter of the new version."""


Instruction: TypeAlias = (
    LoadObjectCode | PointOfNoReturn | Load | Remove | Purge | Suspend | Resume | CodeChange | Stop | Start | SyncNodes
    | Apply | ApplicationLoad | ApplicationStart | ApplicationStop | ApplicationUnload | RestartNewEmulator
    | RestartEmulator
)  # fmt: skip
