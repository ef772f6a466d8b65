"""The commands that run no code of the release; the launcher runs this file by its path, as ``python -I -S``.

Without ``-S`` an interpreter begins with the ``.pth`` files and the ``sitecustomize`` of all that the release is made of: as root,
where root types the command, and also where `verify` is to tell whether that is what it was. So there is nothing to import here but
the standard library, ours, and the one library that archives take.
"""

import os
import sys

_ZSTD = "backports-zstd"


def _add_zstd(root: str, version: str) -> None:
    """Have that found, behind all else, where this Python does not come with it."""
    from underway_runtime.code_server.finder import read_index
    from underway_runtime.release.errors import DamagedRelease

    try:
        dist_info = read_index(f"{root}/releases/{version}/code.index").distributions.get(_ZSTD)
    except DamagedRelease:
        return  # `verify` says so, and nothing is unpacked next to it
    if dist_info is not None:
        sys.path.append(f"{root}/lib/{dist_info.partition('/')[0]}")


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from underway_runtime.boot import main

    if sys.version_info < (3, 14):
        _add_zstd(os.environ["RELEASE_ROOT"], os.environ["RELEASE_VSN"])
    sys.exit(main())
