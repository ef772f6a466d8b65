#!/bin/sh
# revision 7
# Finds the release that this file belongs to and the version to boot, and hands over to that version's launcher.
# It serves every version. Where one that is unpacked brings a higher revision, that takes this one's place, and never a
# lower one: see underway_runtime/upgrade/command_files.py. Builtins only, but for readlink when called through a link.
# Its variables begin with _, here and in launchers: those of the service, whatever it calls them, go through as they are.
set -e +u

# A shell that is bash takes functions in the place of commands from its environment, and options; no builtin is somebody else's here.
unset -f printf read cd pwd readlink ulimit umask true false '['
unset FUNCNEST

# What is closed of 0, 1 and 2 would be given to the next files that are opened, and those be taken for input and output.
# bash has this file on 2 where that is closed.
# shellcheck disable=SC3013 # there are no others without it
{ true 3>&2 && [ ! /proc/self/fd/2 -ef "$0" ]; } || exec 2>/dev/null
# A shell has what it redirects on a high number meanwhile; where no file may be open there it would end without a word below.
true 1>&2 || { printf '%s\n' 'error: too few files may be open here (ulimit -n); a command takes 64' >&2 && exit 1; }
{ true 3<&0; } 2>/dev/null || exec </dev/null
{ true 3>&1; } 2>/dev/null || exec >/dev/null

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}

# What names a version: underway_runtime.release.names.is_version. It becomes part of the path of what is executed here.
is_version() {
  case $1 in '' | [!A-Za-z0-9]* | *[!A-Za-z0-9.+!_-]*) return 1 ;; esac
  [ "${#1}" -le 100 ]
}

# The second word of the first line of a file, where both are names; called in a shell of its own, for its limits. The file may be of
# another user than who calls this, so nothing waits for it or follows it elsewhere, and however long it is the limits end that.
version_in() {
  # shellcheck disable=SC3045 # a shell that can't does without
  ulimit -t 1 || :
  # shellcheck disable=SC3045
  ulimit -v 262144 || :
  unset IFS
  read -r _interpreter _version <"$1" || : # no newline at the end
  is_version "$_interpreter" && is_version "$_version" && printf '%s' "$_version"
}

_self=$0
case $_self in */*) ;; *) _self=./$_self ;; esac
: "${RELEASE_PROG:=${_self##*/}}"
while [ -h "$_self" ]; do
  _link=$(readlink "$_self")
  case $_link in /*) _self=$_link ;; *) _self=${_self%/*}/$_link ;; esac
done
RELEASE_ROOT=$(CDPATH='' cd -P -- "${_self%/*}/.." && pwd -P)

_data=''
if [ -z "$RELEASE_VSN" ]; then
  _data=${RELEASE_VAR:-$RELEASE_ROOT/var}
  [ ! -d "$_data" ] || [ -x "$_data" ] || fail "$_data says what to boot, and this user can't look into it; RELEASE_VSN says it too"
  _data=$_data/start.data
  [ -e "$_data" ] || [ -h "$_data" ] || _data=$RELEASE_ROOT/releases/start.data
  [ -f "$_data" ] && [ ! -h "$_data" ] && [ -r "$_data" ] ||
    fail "$_data is missing or can't be read; it says what to boot, and so does RELEASE_VSN"
  { RELEASE_VSN=$(version_in "$_data"); } 2>/dev/null ||
    fail "$_data does not say what to boot; it is one line, INTERPRETER-VERSION RELEASE-VERSION"
fi
is_version "$RELEASE_VSN" || fail 'RELEASE_VSN does not name a version of a release'

_launcher=$RELEASE_ROOT/releases/$RELEASE_VSN/launcher
[ -x "$_launcher" ] || {
  # What is in another user's directory may be a file of this one's that has a name there too: it is not repeated.
  # shellcheck disable=SC3067 # all shells of Debian have it
  [ -z "$_data" ] || [ -O "${_data%/*}" ] ||
    fail "the release can't boot: $_data names a version that has no launcher in $RELEASE_ROOT/releases"
  fail "release '$RELEASE_VSN' can't boot: there is no $_launcher that can be executed${_data:+; $_data names it}"
}
export RELEASE_PROG RELEASE_ROOT RELEASE_VSN
exec "$_launcher" "$@"
