"""Names in ``var`` and ``releases/V`` that processes need which start without pathlib; ``directory`` has all the others."""

CONTROL = "control"
COOKIE = "COOKIE"
COOKIE_SOURCE = "cookie.source"
RUN = "run"
