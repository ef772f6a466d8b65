"""The service, asked as its users ask it."""

from starlette.testclient import TestClient

from app_module.web import app


def test_it_says_how_it_is() -> None:
    """The address that decides whether a new version may take over."""
    assert TestClient(app).get("/health").json()["status"] == "ok"


def test_visitors_are_counted() -> None:
    """Each by name."""
    client = TestClient(app)

    assert client.post("/visit/ann").json() == {"name": "ann", "visits": 1}
    assert client.post("/visit/ann").json() == {"name": "ann", "visits": 2}
