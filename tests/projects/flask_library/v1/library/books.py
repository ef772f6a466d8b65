"""Books, and who has them."""

import logging
import sqlite3

from flask import Blueprint, abort, current_app, jsonify, request
from flask.typing import ResponseReturnValue

logger = logging.getLogger(__name__)
books = Blueprint("books", __name__, url_prefix="/books")
database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
database.execute("CREATE TABLE books (id INTEGER PRIMARY KEY, title TEXT)")


@books.get("/")
def shelf() -> ResponseReturnValue:
    """All of them."""
    return jsonify([title for [title] in database.execute("SELECT title FROM books ORDER BY id")])


@books.post("/")
def put() -> ResponseReturnValue:
    """One more."""
    database.execute("INSERT INTO books (title) VALUES (?)", [request.get_json()["title"]])
    return jsonify(count=database.execute("SELECT COUNT(*) FROM books").fetchone()[0]), 201


@books.get("/<int:number>")
def book(number: int) -> ResponseReturnValue:
    """One of them."""
    found = database.execute("SELECT title FROM books WHERE id = ?", [number]).fetchone()
    if found is None:
        abort(404)
    return jsonify(title=found[0], days=current_app.config["LOAN_DAYS"])
