"""What an application sees of the cluster that its node is in: ``from underway_runtime import cluster``.

Every member of a cluster can run code on every other: a function that one submits is run by another, as whoever that runs
as. Certificates decide who is a member, and nothing limits what a member may do.

All that waits is a coroutine for the node's loop, where ``async def`` methods of applications, of `Actor`\\ s and tasks run.
From a thread: ``asyncio.run_coroutine_threadsafe(cluster.submit(f), cluster.loop()).result()``.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from ..release.errors import UnderwayError
from .members import Event, Member, MemberLost

if TYPE_CHECKING:
    import asyncio

    from .application import Cluster

__all__ = [
    "Actor",
    "Event",
    "Member",
    "MemberLost",
    "NoCluster",
    "NobodyThere",
    "actor",
    "events",
    "here",
    "local",
    "loop",
    "members",
    "run",
    "submit",
]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

running: Cluster | None = None
"""The application that runs the cluster in this node."""


class NoCluster(UnderwayError):
    """This node is in no cluster: it was not configured to be in one, or has not joined, or has lost its master."""


class NobodyThere(UnderwayError):
    """There is no member of that name, or with that tag."""


@dataclass(frozen=True)
class Actor(Generic[T]):
    """An object that lives on one member and keeps its state there, until `stop`, or until that member or the node that made
    it is gone. It can be passed to others, who call it as well."""

    key: str
    address: str
    member: str
    """The name of the member."""

    @overload
    def call(
        self, method: Callable[Concatenate[T, P], Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...

    @overload
    def call(
        self, method: Callable[Concatenate[T, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...

    def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Call a method, and return what that returns: ``await counts.call(Counts.add, words)``.

        Raises MemberLost, and what the method raises.

        What goes to another node is copied; an actor on this one gets what it is given.
        An ordinary method runs in a thread, one at a time on each member; an ``async def`` one on the loop of its node.
        """
        return _cluster().work().tell(self.key, self.address, method.__name__, args, kwargs)

    def stop(self) -> None:
        """Let go of the object; where it was made."""
        _cluster().work().drop(self.key)


@contextlib.asynccontextmanager
async def local() -> AsyncIterator[None]:
    """A cluster of this process alone, as in local mode: for tests and scripts of an application, outside of a release."""
    import tempfile

    from ..configuration.runtime_schema import Cluster as Section
    from .application import Cluster

    with tempfile.TemporaryDirectory(prefix="underway-cluster-") as directory:
        node = Cluster(Section(name="local", log=False), directory)
        await node.start()
        try:
            yield
        finally:
            await node.stop()


async def submit(f: Callable[..., Any], /, *args: Any, tag: str | None = None, **kwargs: Any) -> Any:
    """The result of a function that is called on one member, on one with that tag where there is one given.

    An ordinary function runs in a thread, an ``async def`` one on the node's loop. When the member is lost meanwhile it is
    called again on another. Raises NobodyThere where nobody has the tag, MemberLost where nobody is left who has, or three have
    been lost at it, and what the function raises.
    """
    return await _cluster().work().submit(f, args, kwargs, await _workers_for(tag, None))


async def run(f: Callable[..., Any], /, *args: Any, tag: str | None = None, **kwargs: Any) -> dict[str, Any]:
    """Call a function on all members, or on all with that tag; the results by the name of the member.

    Raises NobodyThere where nobody has the tag, and an ExceptionGroup of what it raised on any.
    """
    wanted = await _find_members(lambda: members(tag))
    if not wanted:
        raise _nobody(tag)
    results = await _cluster().work().run(f, args, kwargs, wanted)
    if errors := [error for error in results.values() if isinstance(error, Exception)]:
        names = ", ".join(name for name, result in results.items() if isinstance(result, Exception))
        raise ExceptionGroup(f"{getattr(f, '__name__', f)} failed on {names}", errors)
    return results


async def actor(
    kind: Callable[P, T], /, *args: Any, tag: str | None = None, member: str | None = None, **kwargs: Any
) -> Actor[T]:
    """Make an object of a class on one member: on that one, on one with that tag, or on any.

    Raises NobodyThere, and what the class raises.
    """
    where = await _workers_for(tag, member)
    key, address = await _cluster().work().make(kind, args, kwargs, where)
    return Actor(key, address, next((other.name for other in members() if other.address == address), ""))


def members(tag: str | None = None) -> list[Member]:
    """Who takes work, by name: all workers, or those with a tag; in local mode this node, which has every tag."""
    cluster = _cluster()
    return cluster.members.all(None if cluster.mode == "local" else tag)


def events() -> AsyncIterator[Event]:
    """What happens from the first ``async for`` on: members come (up) and go (down), the master has deployed."""
    return _cluster().members.events()


def here() -> str:
    """The name of this node."""
    return _cluster().node


def loop() -> asyncio.AbstractEventLoop:
    """The loop of this node."""
    return _cluster().loop


def _cluster() -> Cluster:
    if running is None:
        raise NoCluster(
            "this node is in no cluster; the section `cluster` of underway_runtime says which, see bin/cluster"
        )
    return running


async def _workers_for(tag: str | None, member: str | None) -> dict[str, Any]:
    if member is not None:
        named = await _find_members(lambda: [other for other in members() if other.name == member])
        if not named:
            nodes = ", ".join(other.name for other in members()) or "nobody"
            raise NobodyThere(f"there is no member {member!r}; there is {nodes}")
        return {"member": named[0]}
    if not await _find_members(lambda: members(tag)):
        raise _nobody(tag)
    return {} if tag is None else {"tag": tag}


async def _find_members(look: Callable[[], list[Member]]) -> list[Member]:
    """Find them; a worker, which knows with a delay of a beat, looks again before it says that it is nobody."""
    cluster = _cluster()
    for _ in range(2 if cluster.mode == "worker" else 0):
        if look():
            break
        await cluster.members.news()
    return look()


def _nobody(tag: str | None) -> NobodyThere:
    tags = sorted({tag for member in members() for tag in member.tags})
    if tag is None:
        return NobodyThere("the cluster has no worker that could do it")
    return NobodyThere(f"no member has the tag {tag!r}; there are {', '.join(tags) or 'no tags'}")
