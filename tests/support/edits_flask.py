"""Edits of a library, by Flask."""

from __future__ import annotations

from service_edits import Edit, Service

SERVICE = Service(
    "flask_library",
    {"wsgi": "library.web:app", "listen": ["tcp://127.0.0.1:0"]},
    ("flask", "waitress"),
    before=(("POST", "/books/", {"title": "Emma"}), ("POST", "/books/", {"title": "Ulysses"})),
    requests=(
        ("GET", "/", None),
        ("GET", "/about", None),
        ("GET", "/books/", None),
        ("GET", "/books/2", None),
        ("GET", "/books/9", None),
    ),
    kept=(
        "from library.books import database; "
        "print(id(database), database.execute('SELECT id, title FROM books').fetchall())"
    ),
)

WEB, BOOKS, SETTINGS, FILTERS, EXTENSIONS = (
    f"library/{name}.py" for name in ("web", "books", "settings", "filters", "extensions")
)
HOME, BASE = "library/templates/home.html", "library/templates/base.html"

EDITS = (
    Edit("handler body", ((BOOKS, "jsonify(title=found[0], days", "jsonify(title=found[0], id=number, days"),)),
    Edit(
        "handler gets a default",
        (
            (BOOKS, "def book(number: int)", "def book(number: int, loud: bool = True)"),
            (BOOKS, "title=found[0],", "title=found[0].upper() if loud else found[0],"),
        ),
        up="RESTART",
        down="RESTART",
    ),
    Edit(
        "route added",
        (
            (
                WEB,
                "@app.errorhandler(404)",
                (
                    '@app.get("/days")\n'
                    "def days() -> ResponseReturnValue:\n"
                    '    return jsonify(app.config["LOAN_DAYS"])\n'
                    "\n"
                    "\n"
                    "@app.errorhandler(404)"
                ),
            ),
        ),
        (("GET", "/days", None),),
    ),
    Edit(
        "route added to a blueprint",
        (
            (
                BOOKS,
                '@books.post("/")',
                (
                    '@books.get("/count")\n'
                    "def count() -> ResponseReturnValue:\n"
                    '    return jsonify(database.execute("SELECT COUNT(*) FROM books").fetchone()[0])\n'
                    "\n"
                    "\n"
                    '@books.post("/")'
                ),
            ),
        ),
        (("GET", "/books/count", None),),
    ),
    Edit(
        "route removed",
        (
            (
                WEB,
                (
                    '@app.get("/about")\n'
                    "def about() -> ResponseReturnValue:\n"
                    '    """What it is."""\n'
                    "    return jsonify(version=__version__, counted=counter.count > 0)\n"
                    "\n"
                    "\n"
                ),
                "",
            ),
        ),
    ),
    Edit("route renamed", ((WEB, '@app.get("/about")', '@app.get("/info")'),), (("GET", "/info", None),)),
    Edit(
        "converter of a route",
        ((BOOKS, '"/<int:number>"', '"/<float:number>"'),),
        (("GET", "/books/1.0", None),),
        down="RESTART",
    ),
    Edit(
        "prefix of a blueprint",
        ((BOOKS, 'url_prefix="/books"', 'url_prefix="/volumes"'),),
        (("GET", "/volumes/", None),),
        up="RESTART",
        down="RESTART",
    ),
    Edit("setting", ((SETTINGS, "LOAN_DAYS = 14", "LOAN_DAYS = 21"),)),
    Edit("nested setting", ((SETTINGS, '"name": "Central"', '"name": "Southern"'),), up="RESTART", down="RESTART"),
    Edit(
        "constant that comes",
        (
            (SETTINGS, "LOAN_DAYS = 14", "LOAN_DAYS = 14\nMOTTO = 'read'"),
            (BOOKS, 'days=current_app.config["LOAN_DAYS"]', 'motto=current_app.config["MOTTO"]'),
        ),
    ),
    Edit("template", ((HOME, "<h1>", "<h1>The "),)),
)
