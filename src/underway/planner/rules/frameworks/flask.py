"""Flask refuses whatever sets it up once it has had a request: what is added in place is complete before the next one."""

from __future__ import annotations

from . import Rule

RULES = (Rule("flask.app.Flask", "_got_first_request", False, "meanwhile"),)
