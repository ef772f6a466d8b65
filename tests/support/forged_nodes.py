"""Processes of the service's user that pass for a node or a keeper: they hold the lock, have the cookie, and answer as they like."""

from __future__ import annotations

import json

from grounds import PLACE, SERVICE, Ground

STATUS: dict[str, object] = {
    "name": "hello", "version": "1", "release_id": "x", "state": "running", "uptime": 1.0, "pid": 1, "keeper": 1, "starts": 1,
    "children": [], "not_handed_over": [], "memory": 1, "changed": {"time": "now", "what": "running"},
    "loop": {"answers": True, "seconds": 0.0}, "applications": [],
}  # fmt: skip

FAKE_NODE = f"""
import fcntl, glob, json, os, socket, sys
os.chdir("{PLACE}/hello/var")
sys.path.insert(0, glob.glob("{PLACE}/hello/lib/underway_runtime-*")[0])
from underway_runtime.control import frames, handshake
os.makedirs("run", exist_ok=True)
with open("COOKIE", "w") as file:
    os.fchmod(file.fileno(), 0o600)
    file.write("secret")
lock = open("run/lock", "w+")
fcntl.flock(lock, fcntl.LOCK_EX)
status = json.loads(STATUS)
status = {{**status, "pid": os.getpid(), **{{k: v for k, v in status.items() if k == "pid" and v != 1}}}}
lock.write(json.dumps({{"pid": os.getpid(), "node": os.getpid(), "version": "1", "started_as": "1"}}))
lock.flush()
server = socket.socket(socket.AF_UNIX)
server.bind("run/control")
server.listen()
print("listens", flush=True)
def read(conversation):
    size = int.from_bytes(conversation.recv(4, socket.MSG_WAITALL), "big")
    return json.loads(conversation.recv(size, socket.MSG_WAITALL))
while True:
    conversation, _ = server.accept()
    try:
        greeting = {{"underway": handshake.VERSION, "boot": "b", "nonce": "00" * 32, "pid": os.getpid()}}
        conversation.sendall(frames.encode(greeting))
        answer = read(conversation)
        conversation.sendall(frames.encode({{"proof": handshake.proof("secret", "node", greeting, answer["nonce"])}}))
        while True:
            asked = read(conversation)["do"]
            if asked in status.get("silent", ()):
                continue
            said = {{"status": {{"status": status}}}}.get(asked, status.get("answers", {{}}).get(asked, {{"error": status["name"]}}))
            conversation.sendall(frames.encode(said))
    except Exception as error:
        print(repr(error), flush=True)
    conversation.close()
"""


HOLDER = f"""
import fcntl, os, time
os.chdir("{PLACE}/hello/var")
os.makedirs("run", exist_ok=True)
open("pid", "w").write(str(os.getpid()))
lock = open("run/lock", "w+")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.write('{{"pid": PID, "node": PID}}')
lock.flush()
print("held", flush=True)
time.sleep(100)
"""


def node_of_the_service(ground: Ground, **status: object) -> None:
    """A process of the service's user that holds the lock, has the cookie, and answers as it likes."""
    code = FAKE_NODE.replace("STATUS", repr(json.dumps({**STATUS, **status})))
    process = ground.spawn(SERVICE, ground.interpreter, "-I", "-S", "-c", code, PYTHONPATH=str(ground.inside))
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "listens\n", line + process.stdout.read()
