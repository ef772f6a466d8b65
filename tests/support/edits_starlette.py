"""Edits of a notice board, by Starlette."""

from __future__ import annotations

from service_edits import Edit, Service

SERVICE = Service(
    "starlette_board",
    {"asgi": "board.main:app", "listen": ["tcp://127.0.0.1:0"]},
    ("starlette", "jinja2", "uvicorn", "websockets"),
    before=(
        ("POST", "/notices/", {"text": "a bicycle is for sale, hardly ever ridden, with a bell"}),
        ("POST", "/notices/0/like", None),
    ),
    requests=(
        ("GET", "/", None),
        ("GET", "/about", None),
        ("GET", "/notices/", None),
        ("POST", "/notices/9/like", None),
        ("GET", "/nowhere", None),
    ),
    kept=(
        "from board.notices import board; print(id(board), [(id(each), each.text, each.likes) for each in board.notices])"
    ),
)

MAIN, HANDLERS, NOTICES, SETTINGS, MIDDLEWARE = (
    f"board/{name}.py" for name in ("main", "handlers", "notices", "settings", "middleware")
)
PAGE = "board/templates/board.html"

EDITS = (
    Edit("handler body", ((HANDLERS, '"likes": each.likes}', '"likes": each.likes, "short": each.short(5)}'),)),
    Edit("body of a function handler", ((MAIN, '"version": __version__, "opened"', '"v": __version__, "opened"'),)),
    Edit(
        "route added",
        ((MAIN, '    Route("/about", about),\n', '    Route("/about", about),\n    Route("/info", about),\n'),),
        (("GET", "/info", None),),
    ),
    Edit(
        "route added to a mount",
        (
            (
                HANDLERS,
                "async def missing(",
                (
                    "async def last(request: Request) -> Response:\n"
                    "    return PlainTextResponse(board.notices[-1].text)\n"
                    "\n"
                    "\n"
                    "async def missing("
                ),
            ),
            (
                MAIN,
                '            Route("/", handlers.Notices),\n',
                ('            Route("/", handlers.Notices),\n            Route("/last", handlers.last),\n'),
            ),
        ),
        (("GET", "/notices/last", None),),
    ),
    Edit("route removed", ((MAIN, '    Route("/about", about),\n', ""),)),
    Edit("route renamed", ((MAIN, 'Route("/about", about)', 'Route("/info", about)'),), (("GET", "/info", None),)),
    Edit("template", ((PAGE, "<li>{{ text }}</li>", "<li>{{ text|upper }}</li>"),)),
)
