"""The commands that run no code of the release; the launcher runs this file by its path, as ``python -I -S``.

Without ``-S`` an interpreter begins with the ``.pth`` files and the ``sitecustomize`` of all that the release is made of: as root,
where root types the command, and also where `verify` is to tell whether that is what it was. So there is nothing to import here but
the standard library, ours, and the one library that archives take.
"""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from underway_runtime.boot import main
    from underway_runtime.code_server.named_libraries import find_libraries

    if sys.version_info < (3, 14):  # of later ones it is the standard library's
        find_libraries(os.environ["RELEASE_ROOT"], os.environ["RELEASE_VSN"], ["backports-zstd"])
    sys.exit(main())
