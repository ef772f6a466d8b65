"""The attacks by hand, with what each promises: ``python tests/attack [words for pytest]``, as root."""

import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    here = Path(__file__).parent
    sys.exit(pytest.main(["--rootdir", str(here.parents[1]), "-v", "-p", "no:cacheprovider", str(here), *sys.argv[1:]]))
