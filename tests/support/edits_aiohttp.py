"""Edits of a relay of messages, by aiohttp."""

from __future__ import annotations

from service_edits import Edit, Service

SERVICE = Service(
    "aiohttp_relay",
    {"main": "relay.main:main"},
    ("aiohttp",),
    before=(("POST", "/topics/news", "first"), ("POST", "/topics/news", "second"), ("POST", "/topics/jokes", "a joke")),
    requests=(
        ("GET", "/", None),
        ("GET", "/topics/news", None),
        ("GET", "/topics/none", None),
        ("GET", "/status", None),
        ("POST", "/topics/news", "long" * 50),
    ),
    kept=(
        "from relay.main import app; "
        "from relay.views import STORE; "
        "print(id(app[STORE]), {name: topic.messages for name, topic in app[STORE].topics.items()})"
    ),
)

VIEWS, MAIN, STORE, SETTINGS, MIDDLEWARES = (
    f"relay/{name}.py" for name in ("views", "main", "store", "settings", "middlewares")
)
EDITS = (
    Edit("handler body", ((VIEWS, '{"name": PREFIX,', '{"name": PREFIX.upper(),'),)),
    Edit("body of a view class", ((VIEWS, "{name: len(topic.messages)", "{name.upper(): len(topic.messages)"),)),
    Edit(
        "method of a view class added",
        (
            (
                VIEWS,
                "    async def get(self)",
                (
                    "    async def delete(self) -> web.Response:\n"
                    "        return web.Response(text='no')\n"
                    "\n"
                    "    async def get(self)"
                ),
            ),
        ),
        (("DELETE", "/status", None),),
    ),
    Edit(
        "route added",
        (
            (
                VIEWS,
                '@routes.view("/status")',
                (
                    '@routes.get("/version")\n'
                    "async def version(request: web.Request) -> web.Response:\n"
                    "    return web.Response(text=__version__)\n"
                    "\n"
                    "\n"
                    '@routes.view("/status")'
                ),
            ),
        ),
        (("GET", "/version", None),),
    ),
    Edit(
        "route removed",
        (
            (
                VIEWS,
                (
                    '@routes.get("/")\n'
                    "async def home(request: web.Request) -> web.Response:\n"
                    '    """What it is."""\n'
                    '    return web.json_response({"name": PREFIX, "version": __version__})\n'
                    "\n"
                    "\n"
                ),
                "",
            ),
        ),
        down="RESTART",
    ),
    Edit(
        "route renamed",
        ((VIEWS, '@routes.get("/topics/{name}")', '@routes.get("/topic/{name}")'),),
        (("GET", "/topic/news", None),),
        up="RESTART",
        down="RESTART",
    ),
    Edit(
        "method of a class of state",
        ((STORE, 'return messages[-1] if messages else ""', 'return messages[-1] if messages else "nothing"'),),
    ),
    Edit("method of a class of state used", ((STORE, "return messages[-1] if", "return messages[-1].upper() if"),)),
    Edit(
        "method of a class of state added",
        (
            (
                STORE,
                "    def last(self",
                ("    def all(self) -> list[str]:\n        return sorted(self.topics)\n\n    def last(self"),
            ),
            (VIEWS, '"version": __version__}', '"version": request.app[STORE].all()}'),
        ),
    ),
    Edit("constant", ((SETTINGS, "LIMIT = 100", "LIMIT = 50"),)),
    Edit("setting", ((SETTINGS, 'PREFIX = "relay"', 'PREFIX = "relay of news"'),)),
    Edit("setting of what has started", ((SETTINGS, '"jokes": 2', '"jokes": 3'),), up="RESTART", down="RESTART"),
    Edit("body of a middleware", ((MIDDLEWARES, '["X-By"] = "relay"', '["X-By"] = "a relay"'),)),
    Edit("body of a middleware that tells", ((MIDDLEWARES, '{"missing": str(error)}', '{"no": str(error)}'),)),
    Edit(
        "middleware added",
        (
            (
                MIDDLEWARES,
                "@web.middleware\nasync def as_json",
                (
                    "@web.middleware\n"
                    "async def ping(request: web.Request, handler: Handler) -> web.StreamResponse:\n"
                    "    return web.Response(text='pong') if request.path == '/ping' else await handler(request)\n"
                    "\n"
                    "\n"
                    "@web.middleware\n"
                    "async def as_json"
                ),
            ),
            (MAIN, "import stamped, as_json\n", "import ping, stamped, as_json\n"),
            (MAIN, "[stamped, as_json]", "[stamped, ping, as_json]"),
        ),
        (("GET", "/ping", None),),
        up="RESTART",
        down="RESTART",
    ),
    Edit(
        "log line",
        (
            (
                VIEWS,
                "    text = await request.text()\n",
                ('    text = await request.text()\n    logger.info("%d bytes", len(text))\n'),
            ),
        ),
    ),
    Edit(
        "logger",
        (
            (STORE, "from dataclasses", "import logging\nfrom dataclasses"),
            (STORE, "@dataclass\n", "log = logging.getLogger(__name__)\n\n\n@dataclass\n"),
            (
                STORE,
                "        messages = self.topics[name].messages\n",
                ('        log.debug("asked for %s", name)\n        messages = self.topics[name].messages\n'),
            ),
        ),
    ),
    Edit(
        "new module",
        (
            ("relay/words.py", "", "def loud(text: str) -> str:\n    return f'{text}!'\n"),
            (VIEWS, "from .store import Store\n", "from .store import Store\nfrom .words import loud\n"),
            (VIEWS, '{"name": PREFIX,', '{"name": loud(PREFIX),'),
        ),
    ),
    Edit(
        "new dependency",
        (
            (VIEWS, "from aiohttp import web\n", "from aiohttp import web\nfrom extra_words import plural\n"),
            (VIEWS, '{"name": PREFIX,', '{"name": plural(PREFIX),'),
        ),
        library={"extra_words/__init__.py": "def plural(word: str) -> str:\n    return f'{word}s'\n"},
    ),
    Edit("version", (("relay/__init__.py", '"1.0"', '"1.1"'),)),
)
