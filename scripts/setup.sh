#!/bin/sh
# Make .venv, the one environment of all tasks, from the lock; do nothing where it is up to date.
#
# usage: setup.sh [PYTHON [boot]]
#
# With "boot" it stops after the first of the two; that is enough to lock.
# Needs python3 with venv (Debian: python3-venv) and the package index; nothing else. In order:
#   .build/boot   a pinned uv, by pip, checked against the hashes in requirements-bootstrap.txt
#   .venv         what uv.lock says, by that uv, with the same interpreter
set -eu
cd "$(dirname "$0")/.."
python=${1:-python3}

fail() {
    echo "setup: $1" >&2
    exit 1
}

# The environment of the caller must not lead us elsewhere.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV CONDA_PREFIX UV_PYTHON
export UV_PROJECT_ENVIRONMENT=.venv UV_PYTHON_DOWNLOADS=never PIP_DISABLE_PIP_VERSION_CHECK=1

command -v "$python" >/dev/null || fail "there is no $python; install it (Debian: apt install python3 python3-venv), \
or name another: make PYTHON=/path/to/python3"
# The interpreter below a virtual environment: ours must not depend on one that may go away.
base=$("$python" -I -c 'if True:
    import sys
    if sys.version_info < (3, 11):
        sys.exit("setup: %s is Python %s; 3.11 or newer is needed: make PYTHON=/path/to/python3" % (
            sys.executable, sys.version.split()[0]))
    print(getattr(sys, "_base_executable", sys.executable))') || exit 1
found=$("$base" -I -c 'import sys; print(" ".join(sys.version.split()))') || fail "$base does not run"

# Two questions: the same place and interpreter as before? The same lock?
place="$PWD $base $found"
lock=$(cat pyproject.toml runtime/pyproject.toml uv.lock requirements-bootstrap.txt scripts/setup.sh | cksum)
stamp=.venv/setup.stamp
if [ "${2:-}" != boot ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$place
$lock" ]; then
    exit 0
fi

[ "${2:-}" = boot ] || echo "setup: .venv from uv.lock, with $base" >&2
if ! { [ -f "$stamp" ] && [ "$(sed '$d' "$stamp")" = "$place" ]; }; then
    rm -rf .venv .build/boot
fi
if ! .build/boot/bin/python -I -m pip --version >/dev/null 2>&1; then
    "$base" -I -m venv --clear .build/boot ||
        fail "$base can't make virtual environments (Debian: apt install python3-venv)"
fi
.build/boot/bin/python -I -m pip install --quiet --require-hashes --only-binary :all: -r requirements-bootstrap.txt
if [ "${2:-}" = boot ]; then
    exit 0
fi
rm -f "$stamp"
# Compiled, as in a release: the nodes of tests import from here, and write no bytecode.
.build/boot/bin/uv sync --quiet --locked --compile-bytecode --python "$base"
printf '%s\n%s\n' "$place" "$lock" >"$stamp"
