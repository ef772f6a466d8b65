#!/bin/sh
# The launcher of @RELEASE_NAME@ @RELEASE_VERSION@; bin/@RELEASE_NAME@ calls it and has set RELEASE_ROOT. Builtins only.
set -e +u

# A shell that is bash takes functions in the place of commands from its environment, and options; no builtin is somebody else's here.
unset -f printf read cd pwd readlink ulimit umask true false '['
unset FUNCNEST
# One that closes to their owner what is made would keep every later command out.
umask u=rwx

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
  exit "${2:-1}"
}

env_ended() {
  _status=$?
  [ "$_status" = 0 ] || fail "$_here/env.sh ended with status $_status" "$_status"
}

usage() {
  printf '%s\n' "Usage: $RELEASE_PROG COMMAND [ARGS]" '' 'The commands are:' '' '@COMMANDS@' '' \
    "$RELEASE_PROG help COMMAND says what a command takes."
}

# Whether --help is among the words that are ours: what follows a program, or --, is not.
wants_help() {
  [ "$1" != run ] || [ "$2" = -m ] || set -- "$1" "$2"
  [ "$1" != run ] || [ "$2" != -m ] || set -- "$1" "$3"
  for _word in "$@"; do
    case $_word in
      --) return 1 ;;
      -h | --help) return 0 ;;
    esac
  done
  return 1
}

# What $RELEASE_ENVIRONMENT_FILE says, as systemd reads such a file: NAME=VALUE in a line, the value in quotes or not. With
# "unset" the variables are taken away instead: each node reads the file itself, and what is not in it any more is gone.
read_environment() {
  [ -f "$RELEASE_ENVIRONMENT_FILE" ] || return 0
  if ! [ -r "$RELEASE_ENVIRONMENT_FILE" ]; then
    [ "$1" = unset ] || warn "$RELEASE_ENVIRONMENT_FILE can't be read by this user, and is left out"
    return 0
  fi
  # shellcheck disable=SC3067 # all shells of Debian have it; where it is missing root reads nothing
  if [ -O / ] && ! [ -O "$RELEASE_ENVIRONMENT_FILE" ]; then
    warn "$RELEASE_ENVIRONMENT_FILE is not root's own, and is left out: its owner would say what root's commands run with"
    return 0
  fi
  _return=$(printf '\r')
  while IFS= read -r _line || [ -n "$_line" ]; do
    while case $_line in *\\) ;; *) false ;; esac && IFS= read -r _more; do _line=${_line%\\}$_more; done
    _line=${_line#"${_line%%[! 	]*}"} _line=${_line%"$_return"}
    case $_line in '' | '#'* | ';'*) continue ;; esac
    case $_line in *=*) _name=${_line%%=*} ;; *) _name=\? ;; esac
    _name=${_name%"${_name##*[! 	]}"}
    case $_name in
      '' | [0-9]* | _[a-z]* | *[!A-Za-z0-9_]*) warn "$RELEASE_ENVIRONMENT_FILE: '${_line%%=*}' is not understood" && continue ;;
      RELEASE_ROOT | RELEASE_VSN | RELEASE_COMMAND) continue ;;
    esac
    if [ "$1" = unset ]; then
      case $_name in RELEASE_*) ;; *) unset "$_name" ;; esac
      continue
    fi
    _value=${_line#*=}
    _value=${_value#"${_value%%[! 	]*}"} _value=${_value%"${_value##*[! 	]}"}
    case $_value in
      \"*\") _value=${_value#?} _value=${_value%?} && unescape '["\\`$]' ;;
      \'*\') _value=${_value#?} _value=${_value%?} ;;
      \"* | \'*) warn "$RELEASE_ENVIRONMENT_FILE: the quoted value of $_name does not end in its line" && continue ;;
      *) unescape '?' ;;
    esac
    export "$_name=$_value"
  done <"$RELEASE_ENVIRONMENT_FILE"
}

# Takes a backslash before what matches the pattern from $_value.
unescape() {
  _rest=$_value _value=
  while case $_rest in *\\*) ;; *) false ;; esac; do
    _value=$_value${_rest%%\\*} _rest=${_rest#*\\} _char=
    [ -z "$_rest" ] || _char=${_rest%"${_rest#?}"}
    # shellcheck disable=SC2254 # a pattern
    case $_char in $1) ;; *) _char=\\$_char ;; esac
    _value=$_value$_char _rest=${_rest#?}
  done
  _value=$_value$_rest
}

warn() {
  printf 'warning: %s\n' "$1" >&2
}

# Arguments for Python: words, of which no quoting makes one; lines that begin with # are comments, as is what follows " #".
read_arguments() {
  [ -r "$1" ] || fail "$1 is missing or can't be read; it holds the arguments for Python"
  unset IFS
  _args=
  while read -r _line || [ -n "$_line" ]; do
    case $_line in '#'*) continue ;; esac
    _args="$_args ${_line%% #*}"
  done <"$1"
}

case $1 in --version) shift && set -- version "$@" ;; esac
# The keeper calls with "node" before what the user typed.
_role='command'
case $1 in
  node) _role=node && shift ;;
  cluster) _role=cluster ;;
  '') set -- help ;;
  *)
    if wants_help "$@"; then
      case $1 in -* | help) set -- help ;; *) set -- help "$1" ;; esac
    fi
    ;;
esac
case $_role:$1 in
  command:start | command:daemon) _role=keeper ;;
  command:*) case $1 in @CODE_COMMANDS@ | @REMOTE_COMMANDS@ | scratch | version) ;; *) _role=help ;; esac ;;
esac

# As bin/@RELEASE_NAME@ has it, which may be older than this version, and believe whatever var/start.data says.
is_version() {
  case $1 in '' | [!A-Za-z0-9]* | *[!A-Za-z0-9.+!_-]*) return 1 ;; esac
  [ "${#1}" -le 100 ]
}

# A version is here when its manifest is. Where there is none at all, this is `underway run`.
is_unpacked() {
  for _manifest in "$1"/manifest.json "$RELEASE_ROOT"/releases/*/manifest.json; do
    [ -f "$_manifest" ] && break
  done
  [ ! -f "$_manifest" ] || [ "$_manifest" = "$1/manifest.json" ]
}

[ -n "$RELEASE_ROOT" ] || fail 'RELEASE_ROOT is not set; this file is called by bin/@RELEASE_NAME@'
: "${RELEASE_NAME:=@RELEASE_NAME@}"
: "${RELEASE_VSN:=@RELEASE_VERSION@}"
: "${RELEASE_PROG:=$RELEASE_NAME}"
: "${RELEASE_MODE:=embedded}"
RELEASE_COMMAND=$1
export RELEASE_ROOT RELEASE_NAME RELEASE_VSN RELEASE_PROG RELEASE_MODE RELEASE_COMMAND
is_version "$RELEASE_VSN" || fail 'RELEASE_VSN does not name a version of a release'
_here=$RELEASE_ROOT/releases/$RELEASE_VSN
[ "$*" != help ] || { usage; exit; }
case $_role in
  node | keeper | cluster)
    is_unpacked "$_here" ||
      fail "release '$RELEASE_VSN' can't start: it is not unpacked here, as there is no $_here/manifest.json"
    ;;
esac

# The keeper has no env.sh: what one version sets there is not to reach the nodes of the next. bin/cluster becomes one, and
# help runs nothing of the release.
case $_role in
  keeper) [ -z "$RELEASE_ENVIRONMENT_FILE" ] || read_environment unset ;;
  command | node)
    [ -z "$RELEASE_ENVIRONMENT_FILE" ] || read_environment
    [ -r "$_here/env.sh" ] || fail "$_here/env.sh is missing or can't be read; restore it from the release's archive"
    trap env_ended EXIT
    # shellcheck source=/dev/null # of the user
    . "$_here/env.sh"
    trap - EXIT

    : "${RELEASE_VAR:=$RELEASE_ROOT/var}"
    case $RELEASE_VAR in /*) ;; *) RELEASE_VAR=$PWD/$RELEASE_VAR ;; esac
    : "${RELEASE_TMP:=$RELEASE_VAR}"
    case $RELEASE_TMP in /*) ;; *) RELEASE_TMP=$PWD/$RELEASE_TMP ;; esac
    : "${RELEASE_NODE:=$RELEASE_NAME}"
    : "${RELEASE_DISTRIBUTION:=none}"
    : "${RELEASE_VM_ARGS:=$_here/python.args}"
    : "${RELEASE_REMOTE_VM_ARGS:=$_here/remote.python.args}"
    : "${RELEASE_BOOT_SCRIPT:=start}"
    : "${RELEASE_BOOT_SCRIPT_CLEAN:=start_clean}"
    : "${RELEASE_SYS_CONFIG:=$_here/sys.config}"
    export RELEASE_VAR RELEASE_TMP RELEASE_NODE RELEASE_DISTRIBUTION RELEASE_VM_ARGS RELEASE_REMOTE_VM_ARGS
    export RELEASE_BOOT_SCRIPT RELEASE_BOOT_SCRIPT_CLEAN RELEASE_SYS_CONFIG
    [ -z "$RELEASE_COOKIE" ] || export RELEASE_COOKIE

    case $1 in
      @CODE_COMMANDS@ | scratch)
        read_arguments "$RELEASE_VM_ARGS"
        case $PATH: in "$_here/bin:"*) ;; *) PATH=$_here/bin${PATH:+:$PATH} && export PATH ;; esac
        ;;
      @REMOTE_COMMANDS@)
        read_arguments "$RELEASE_REMOTE_VM_ARGS"
        ;;
      version)
        [ $# = 1 ] || fail "version does not take '$2'; usage: $RELEASE_PROG version" 2
        printf '%s %s\n' "$RELEASE_NAME" "$RELEASE_VSN"
        exit
        ;;
    esac
    ;;
esac

[ -x "$_here/bin/python" ] ||
  fail "$_here/bin/python can't be executed; the release is damaged or was built for another system"

# glibc is the host's. One that is too old would only name a symbol's version, and with another C library there is just
# no such file. One of 2.32 or before can't be asked, so where that is enough nobody is.
_glibc='' _loader=''
[ ! -r "$_here/glibc" ] || read -r _glibc _loader <"$_here/glibc" || :
[ -z "$_loader" ] || [ -e "$_loader" ] ||
  fail "this release needs glibc $_glibc or later, and this host has none for it: there is no $_loader"
case $RELEASE_COMMAND:$_loader:$_glibc in
  *::* | *:2.[0-9] | *:2.[0-9].* | *:2.[12][0-9]* | *:2.3[0-2]*) ;;
  start:* | daemon:* | eval:* | run:* | config:* | scratch:* | cluster:*)
    if _has=$("$_loader" --version 2>/dev/null); then
      _has=${_has#* version } _has=${_has%%.[!0-9]*} _minor=${_has#2.}
    else
      _has='2.32 or older' _minor=32
    fi
    _minor=${_minor%%[!0-9]*}
    [ "${_minor:-999}" -ge "${_glibc#2.}" ] ||
      fail "this release needs glibc $_glibc or later, and this host has $_has; build it on a system as old as this host"
    ;;
esac

# What Python or its library reads though it is isolated (-I), and what would break those of our children that are not.
unset PYTHONHOME PYTHONPATH PYTHONPLATLIBDIR PYTHONEXECUTABLE __PYVENV_LAUNCHER__
unset _PYTHON_PROJECT_BASE _PYTHON_HOST_PLATFORM _PYTHON_SYSCONFIGDATA_NAME _PYTHON_SYSCONFIGDATA_PATH
_runtime=$RELEASE_ROOT/lib/@RUNTIME_DIRECTORY@/underway_runtime _control=$_runtime/control/client/__main__.py
case $_role in
  keeper)
    if [ "$*" = 'daemon --shell' ]; then
      "$RELEASE_ROOT/bin/@RELEASE_NAME@" daemon
      exec "$RELEASE_ROOT/bin/@RELEASE_NAME@" remote
    fi
    set -- "$RELEASE_ROOT/bin/@RELEASE_NAME@" "$@"
    exec "$_here/bin/python" -I -S -B -X disable-remote-debug "$_runtime/keeper/__main__.py" "$@"
    ;;
  node) set -- node "$@" ;;
  cluster) shift && exec "$_here/bin/python" -I -S -B "$_runtime/cluster/__main__.py" "$@" ;;
  help) exec "$_here/bin/python" -I -S -B "$_control" "$@" ;;
esac
set -f
# What asks a running node needs nothing but the standard library and ours, and starts faster without the rest.
case $RELEASE_COMMAND in
  @CONTROL_COMMANDS@)
    # shellcheck disable=SC2086 # split into words on purpose
    exec "$_here/bin/python" $_args -S "$_control" "$@"
    ;;
  # Nothing of what the release is made of runs as whoever types these: -S leaves out .pth files and sitecustomize.
  @REMOTE_COMMANDS@)
    # shellcheck disable=SC2086 # split into words on purpose
    exec "$_here/bin/python" $_args -S "$_runtime/__main__.py" "$@"
    ;;
esac
# shellcheck disable=SC2086 # split into words on purpose
exec "$_here/bin/python" $_args -m underway_runtime.boot "$@"
