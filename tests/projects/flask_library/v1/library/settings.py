"""What the application is configured with."""

LOAN_DAYS = 14
SECRET_KEY = "not much of a secret"
HOUSE = {"name": "Central", "open": True}
