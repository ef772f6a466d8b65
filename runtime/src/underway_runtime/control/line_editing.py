"""Lines edited on a terminal, by readline or by libedit in its place, where this interpreter has either."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def editor() -> ModuleType | None:
    """The module ``readline``, with the tabulator bound to completion; None where there is none."""
    try:
        import readline
    except ImportError:
        return None
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    return readline
