#!/bin/sh
# The launcher of @RELEASE_NAME@ @RELEASE_VERSION@; bin/@RELEASE_NAME@ calls it and has set RELEASE_ROOT. Builtins only.
set -e

fail() {
  printf 'error: %s\n' "$1" >&2
  exit "${2:-1}"
}

env_ended() {
  status=$?
  [ "$status" = 0 ] || fail "$here/env.sh ended with status $status" "$status"
}

usage() {
  printf '%s' "Usage: $RELEASE_PROG COMMAND [ARGS]

The known commands are:

    start            Starts the release, in the foreground
    start --shell    Starts the release with a Python shell in it
    daemon           Starts the release in the background, and waits until it is ready
    daemon --shell   The same, and then connects a Python shell to it
    eval CODE        Runs Python code in a new process, with the applications loaded and not started
    rpc CODE         Runs Python code in the running release
    remote           Opens a Python shell in the running release
    status [--json]  Says how the running release is
    metrics          Prints figures of the running release, for Prometheus
    restart          Restarts the running release, and waits until it is ready; --graceful hands over to a new node
    stop             Stops the running release, and waits until it has stopped
    pid              Prints the process id of the running release
    config           Prints the configuration and where it came from; --explain KEY says more of one
    systemd          Prints a unit for systemd
    verify           Compares every file of the release with its manifest
    releases         Lists the versions that are here, with their states
    unpack V|FILE    Unpacks another version beside this one, from var/incoming or a file
    check V          Says what installing a version would do, and tries all that can be tried
    install V        Hands over to another version, until the next restart or a commit
    upgrade V|FILE   Unpacks a version, hands over to it and makes it the one that boots
    commit [V]       Makes the version that runs the one that boots
    rollback [V]     Goes back to the version before
    remove V         Deletes a version that neither runs nor boots
    create-releases  Makes the ledger of versions anew from what is here
    version          Prints the name and version of the release that would start
" >&2
}

# Arguments for Python: words, of which no quoting makes one; lines that begin with # are comments, as is what follows " #".
read_arguments() {
  [ -r "$1" ] || fail "$1 is missing or can't be read; it holds the arguments for Python"
  unset IFS
  args=
  while read -r line || [ -n "$line" ]; do
    case $line in '#'*) continue ;; esac
    args="$args ${line%% #*}"
  done <"$1"
}

# The keeper calls with "node" before what the user typed.
role='command'
case $1 in
  node) role=node && shift ;;
  start | daemon) role=keeper ;;
  cluster) role=cluster ;;
esac

[ -n "$RELEASE_ROOT" ] || fail 'RELEASE_ROOT is not set; this file is called by bin/@RELEASE_NAME@'
: "${RELEASE_NAME:=@RELEASE_NAME@}"
: "${RELEASE_VSN:=@RELEASE_VERSION@}"
: "${RELEASE_PROG:=$RELEASE_NAME}"
: "${RELEASE_MODE:=embedded}"
RELEASE_COMMAND=$1
export RELEASE_ROOT RELEASE_NAME RELEASE_VSN RELEASE_PROG RELEASE_MODE RELEASE_COMMAND
here=$RELEASE_ROOT/releases/$RELEASE_VSN

# The keeper has no env.sh: what one version sets there is not to reach the nodes of the next. bin/cluster becomes one.
if [ "$role" != keeper ] && [ "$role" != cluster ]; then
  [ -r "$here/env.sh" ] || fail "$here/env.sh is missing or can't be read; restore it from the release's archive"
  trap env_ended EXIT
  # shellcheck source=/dev/null # of the user
  . "$here/env.sh"
  trap - EXIT

  : "${RELEASE_VAR:=$RELEASE_ROOT/var}"
  case $RELEASE_VAR in /*) ;; *) RELEASE_VAR=$PWD/$RELEASE_VAR ;; esac
  : "${RELEASE_TMP:=$RELEASE_VAR}"
  case $RELEASE_TMP in /*) ;; *) RELEASE_TMP=$PWD/$RELEASE_TMP ;; esac
  : "${RELEASE_NODE:=$RELEASE_NAME}"
  : "${RELEASE_DISTRIBUTION:=none}"
  : "${RELEASE_VM_ARGS:=$here/python.args}"
  : "${RELEASE_REMOTE_VM_ARGS:=$here/remote.python.args}"
  : "${RELEASE_BOOT_SCRIPT:=start}"
  : "${RELEASE_BOOT_SCRIPT_CLEAN:=start_clean}"
  : "${RELEASE_SYS_CONFIG:=$here/sys.config}"
  export RELEASE_VAR RELEASE_TMP RELEASE_NODE RELEASE_DISTRIBUTION RELEASE_VM_ARGS RELEASE_REMOTE_VM_ARGS
  export RELEASE_BOOT_SCRIPT RELEASE_BOOT_SCRIPT_CLEAN RELEASE_SYS_CONFIG
  [ -z "$RELEASE_COOKIE" ] || export RELEASE_COOKIE

  case $1 in
    start | daemon | eval | config | scratch) read_arguments "$RELEASE_VM_ARGS" ;;
    rpc | remote | status | metrics | restart | stop | pid | systemd | verify | releases | unpack | check | install | upgrade | commit | rollback | remove | create-releases)
      read_arguments "$RELEASE_REMOTE_VM_ARGS"
      ;;
    version)
      printf '%s %s\n' "$RELEASE_NAME" "$RELEASE_VSN"
      exit
      ;;
    '' | help | -h | --help)
      usage
      exit
      ;;
    *)
      usage
      fail "unknown command $1" 2
      ;;
  esac
fi

[ -x "$here/bin/python" ] ||
  fail "$here/bin/python can't be executed; the release is damaged or was built for another system"

# glibc is the host's. One that is too old would only name a symbol's version, and with another C library there is just
# no such file. One of 2.32 or before can't be asked, so where that is enough nobody is.
glibc='' loader=''
[ ! -r "$here/glibc" ] || read -r glibc loader <"$here/glibc" || :
[ -z "$loader" ] || [ -e "$loader" ] ||
  fail "this release needs glibc $glibc or later, and this host has none for it: there is no $loader"
case $RELEASE_COMMAND:$loader:$glibc in
  *::* | *:2.[0-9] | *:2.[0-9].* | *:2.[12][0-9]* | *:2.3[0-2]*) ;;
  start:* | daemon:* | eval:* | config:* | scratch:* | cluster:*)
    if has=$("$loader" --version 2>/dev/null); then
      has=${has#* version } has=${has%%.[!0-9]*} minor=${has#2.}
    else
      has='2.32 or older' minor=32
    fi
    minor=${minor%%[!0-9]*}
    [ "${minor:-999}" -ge "${glibc#2.}" ] ||
      fail "this release needs glibc $glibc or later, and this host has $has; build it on a system as old as this host"
    ;;
esac

unset PYTHONHOME PYTHONPATH
case $role in
  keeper)
    if [ "$*" = 'daemon --shell' ]; then
      "$RELEASE_ROOT/bin/@RELEASE_NAME@" daemon
      exec "$RELEASE_ROOT/bin/@RELEASE_NAME@" remote
    fi
    set -- "$RELEASE_ROOT/bin/@RELEASE_NAME@" "$@"
    exec "$here/bin/python" -I -S -B "$RELEASE_ROOT/lib/@RUNTIME_DIRECTORY@/underway_runtime/keeper/__main__.py" "$@"
    ;;
  node) set -- node "$@" ;;
  cluster) shift && exec "$here/bin/python" -I -B -m underway_runtime.cluster "$@" ;;
esac
set -f
# What asks a running node needs nothing but the standard library and ours, and starts faster without the rest.
case $RELEASE_COMMAND in
  rpc | remote | status | metrics | restart)
    # shellcheck disable=SC2086 # split into words on purpose
    exec "$here/bin/python" $args -S "$RELEASE_ROOT/lib/@RUNTIME_DIRECTORY@/underway_runtime/node/control/__main__.py" "$@"
    ;;
esac
# shellcheck disable=SC2086 # split into words on purpose
exec "$here/bin/python" $args -m underway_runtime.boot "$@"
