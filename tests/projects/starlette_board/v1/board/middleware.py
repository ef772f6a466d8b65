"""What is done to each request."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Stamped:
    """Says who has answered."""

    def __init__(self, app: ASGIApp, name: str = "board") -> None:
        self.app = app
        self.name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a header more."""

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-by", self.name.encode())]
            await send(message)

        await self.app(scope, receive, stamped if scope["type"] == "http" else send)
