# Read by the launcher before every command, as POSIX sh with `set -e`. "$@" is what bin/@RELEASE_NAME@ was called with,
# RELEASE_COMMAND its first word. For start and daemon it is read whenever a node is started.

# What this node is in its cluster: local, master or worker. bin/cluster says it; bin/@RELEASE_NAME@ alone is local.
: "${CLUSTER_MODE:=local}"
: "${RELEASE_NODE:=@RELEASE_NAME@_$CLUSTER_MODE}"
export CLUSTER_MODE RELEASE_NODE

# Each peer is a connection, and each connection a file. A shell that does not know this keeps the limit that it has.
# shellcheck disable=SC3045
case $RELEASE_COMMAND in
  start | daemon) ulimit -n "$(ulimit -H -n)" 2>/dev/null || : ;;
esac
