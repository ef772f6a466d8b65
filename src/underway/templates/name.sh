#!/bin/sh
# Finds the release that this file belongs to and the version to boot, and hands over to that version's launcher.
# It is the same for every version, so it never goes stale. Builtins only, but for readlink when called through a link.
set -e

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}

self=$0
case $self in */*) ;; *) self=./$self ;; esac
: "${RELEASE_PROG:=${self##*/}}"
while [ -h "$self" ]; do
  link=$(readlink "$self")
  case $link in /*) self=$link ;; *) self=${self%/*}/$link ;; esac
done
RELEASE_ROOT=$(CDPATH='' cd -P -- "${self%/*}/.." && pwd -P)

if [ -z "$RELEASE_VSN" ]; then
  data=${RELEASE_VAR:-$RELEASE_ROOT/var}/start.data
  [ -e "$data" ] || data=$RELEASE_ROOT/releases/start.data
  [ -r "$data" ] || fail "$data is missing or can't be read; it says what to boot, and so does RELEASE_VSN"
  read -r _ RELEASE_VSN <"$data" || : # no newline at the end
  [ -n "$RELEASE_VSN" ] || fail "$data does not say what to boot; it is one line, INTERPRETER-VERSION RELEASE-VERSION"
fi

launcher=$RELEASE_ROOT/releases/$RELEASE_VSN/launcher
[ -x "$launcher" ] || fail "release '$RELEASE_VSN' can't boot: there is no $launcher that can be executed"
export RELEASE_PROG RELEASE_ROOT RELEASE_VSN
exec "$launcher" "$@"
