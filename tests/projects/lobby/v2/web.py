import asyncio

LIMIT = 20
rooms = {}
parked = asyncio.Event()


class Room:
    def __init__(self, name):
        self.name = name
        self.said = []
        self.topic = "none"

    @staticmethod
    def code_change(old_version, state, extra):
        if not isinstance(old_version, str):
            state.pop("topic")
            return state
        return {**state, "topic": f"was {old_version}"}

    def say(self, text):
        self.said.append(text)
        return self.shown()

    def shown(self):
        return f"2 {self.name} {len(self.said)} {LIMIT} {self.topic}"


async def park():
    await parked.wait()
    return "1"


def answer():
    return "2"


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await talk(receive, send)
    else:
        body = await park() if scope["path"] == "/park" else answer()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": body.encode()})


async def talk(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    room = rooms.setdefault("lobby", Room("lobby"))
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": room.say(message["text"])})
