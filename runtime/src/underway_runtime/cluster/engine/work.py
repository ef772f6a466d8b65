"""What an application asks for, as the engine does it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from distributed import Client, Security
from distributed.protocol import to_serialize
from distributed.scheduler import KilledWorker, NoValidWorkerError, NoWorkerError

from ...release.errors import for_thread
from ..members import Member, MemberLost, Members
from .parts import TOGETHER


class Work:
    """What an application asks for, as the engine does it."""

    def __init__(self, members: Members, any_tag: bool, worker: Any = None) -> None:
        """With `any_tag`, the one member stands for all tags: local mode. `worker` is the one of this node, if it is one."""
        self._worker = worker
        self._members = members
        self._any_tag = any_tag
        self._client: Any = None
        self._held: dict[str, Any] = {}

    async def open(self, address: str, security: Security | None = None) -> None:
        """Connect to the scheduler at this address. Raises OSError."""
        self._client = await Client(
            address, asynchronous=True, security=security, set_as_default=False, direct_to_workers=True
        )
        connection = self._client.scheduler_comm
        if connection is None:
            raise OSError("the master has closed the connection at once")
        connection.interval = TOGETHER

    async def close(self) -> None:
        self._held.clear()
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(OSError, TimeoutError):
                await client.close(timeout=1)

    async def submit(self, f: Callable[..., Any], args: Any, kwargs: Any, where: Mapping[str, Any]) -> Any:
        """The result of ``f(*args, **kwargs)``; `where` is a ``tag``, a ``member``, or nothing."""
        try:
            return await self._client.submit(f, *args, **kwargs, pure=False, **self._placement(where))
        except (KilledWorker, NoValidWorkerError, NoWorkerError) as error:
            raise MemberLost(f"nobody is left to do it: {error}") from None

    async def run(self, f: Callable[..., Any], args: Any, kwargs: Any, on: Iterable[Member]) -> dict[str, Any]:
        """Run it, and return the results, or exceptions, by name."""
        by_address = {member.address: member.name for member in on}
        results = await self._client.run(_run, f, args, kwargs, workers=list(by_address), on_error="return")
        return {by_address[address]: result for address, result in results.items()}

    async def make(self, kind: Callable[..., Any], args: Any, kwargs: Any, where: Mapping[str, Any]) -> tuple[str, str]:
        """Make an object that stays where it is: its key and its address. It lives until `drop`, or until this node is gone."""
        future = self._client.submit(kind, *args, **kwargs, actor=True, pure=False, **self._placement(where))
        try:
            made = await future
        except (KilledWorker, NoValidWorkerError, NoWorkerError) as error:
            raise MemberLost(f"nobody is left to make it: {error}") from None
        self._held[future.key] = future
        return future.key, made._address

    def drop(self, key: str) -> None:
        self._held.pop(key, None)

    async def tell(self, key: str, address: str, method: str, args: Any, kwargs: Any) -> Any:
        """Call a method of such an object, and return what that returns. Raises MemberLost, and what the method raises."""
        if self._worker is not None and self._worker.address == address:  # no way around over the network
            here = await self._worker.actor_execute(actor=key, function=method, args=args, kwargs=kwargs)
            if here["status"] != "OK":
                raise here["exception"].data
            return here["result"].data
        asked = asyncio.ensure_future(
            self._client.rpc(address).actor_execute(
                actor=key,
                function=method,
                args=[to_serialize(argument) for argument in args],
                kwargs={name: to_serialize(value) for name, value in kwargs.items()},
            )
        )
        gone = self._members.gone(address)
        try:
            await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                raise ConnectionError
            answer = asked.result()
        except OSError:
            raise MemberLost(f"the node at {address}, which held {key}, is gone, and its state with it") from None
        finally:
            asked.cancel()
        if answer["status"] != "OK":
            raise answer["exception"]
        return answer["result"]

    def _placement(self, where: Mapping[str, Any]) -> dict[str, Any]:
        if "member" in where:
            return {"workers": [where["member"].address], "allow_other_workers": False}
        if "tag" in where and not self._any_tag:
            return {"resources": {f"tag:{where['tag']}": 1}}
        return {}


async def _run(f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Run it on each node: not on its loop, unless it is made for that."""
    if asyncio.iscoroutinefunction(f):
        return await f(*args, **kwargs)
    return await asyncio.to_thread(for_thread(f), *args, **kwargs)
