"""What a build runs by its path, as ``python -S``: an interpreter that has not begun with what a release's wheels bring for that.

Their ``.pth`` files and ``sitecustomize`` are code of the release like its modules. Who imports those has `begin` run them, where they
are watched as well.
"""

import os
import sys

_RUNTIME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def begin() -> None:
    """Do what an interpreter does at its start: the code server begins, and ``.pth`` files and ``sitecustomize`` are run."""
    import site

    if _RUNTIME in sys.path:
        sys.path.remove(_RUNTIME)
        sys.path_importer_cache.pop(_RUNTIME, None)
    if sys.flags.no_site:
        site.main()


if __name__ == "__main__":
    sys.path.insert(0, _RUNTIME)
    from underway_runtime.observation.__main__ import main

    sys.exit(main())
