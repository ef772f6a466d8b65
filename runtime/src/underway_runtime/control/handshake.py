"""The handshake: each end proves that it has the cookie, bound to this process and boot, and the cookie never travels.

::

    node     {"underway": 1, "pid": …, "boot": …, "nonce": …}
    client   {"underway": 1, "nonce": …, "proof": HMAC-SHA256(cookie, "client" and all of the above)}
    node     {"proof": HMAC-SHA256(cookie, "node" and all of the above)}     or {"error": …}, and the end

Nonces are fresh at both ends, so nothing that was overheard can be said again; the role is in what is proved, so nothing
can be said back to who said it.
"""

from __future__ import annotations

import hmac
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .frames import Message

VERSION = 1
_NONCE = 16


def hello(pid: int, boot: str) -> Message:
    """What a node says first."""
    return {"underway": VERSION, "pid": pid, "boot": boot, "nonce": os.urandom(_NONCE).hex()}


def answer(cookie: str, greeting: Message) -> Message:
    """Return what a client says to that."""
    nonce = os.urandom(_NONCE).hex()
    return {"underway": VERSION, "nonce": nonce, "proof": proof(cookie, "client", greeting, nonce)}


def proof(cookie: str, role: str, greeting: Message, nonce: object) -> str:
    """What only an end that has the cookie can say. `greeting` is the node's, `nonce` the client's."""
    statement = json.dumps([role, VERSION, greeting.get("pid"), greeting.get("boot"), greeting.get("nonce"), nonce])
    return hmac.new(cookie.encode(), statement.encode(), "sha256").hexdigest()


def proves(message: Message, expected: str) -> bool:
    """Whether a message holds this proof; takes as long for any."""
    given = message.get("proof")
    return isinstance(given, str) and hmac.compare_digest(given.encode(errors="replace"), expected.encode())
