# Read by the launcher before every command, as POSIX sh with `set -e`. "$@" is what bin/@RELEASE_NAME@ was called with,
# RELEASE_COMMAND its first word; help and mistakes do not read it. For start and daemon it is read whenever a node is started.

# Where pid, logs and all else that changes are kept; by default in the release itself. It also decides which version
# boots, so where several versions are installed set it for bin/@RELEASE_NAME@ as well, in a unit file for example.
# export RELEASE_VAR=/var/lib/@RELEASE_NAME@

# Import modules when they are used, not all of them before the applications start.
# export RELEASE_MODE=interactive

# Start a node that fails again, or don't, whatever the release was built with.
# export RELEASE_HEART=true

# The log of a daemon: so many files of so many bytes.
# export RELEASE_LOG_GENERATIONS=10 RELEASE_LOG_SIZE=10000000

# Only what the service itself needs, not what a person runs in it.
# case $RELEASE_COMMAND in
#   start | daemon)
#     ulimit -n 65536
#     umask 007
#     ;;
# esac
