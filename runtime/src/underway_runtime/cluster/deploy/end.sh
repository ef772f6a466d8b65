# End what one deploy has started of a node, however far it has come: VAR NODE MARK SECONDS COMMAND..., where the command stops the
# node, and every process of the start has MARK in its environment. A node that another has started is left alone. One that has been
# asked to stop and does not is killed.
set -u
file=$1/cluster/$2/run/pid mark=$3 left=$4
shift 4
stop=
while :; do
  pid=
  if [ -r "$file" ]; then read -r pid <"$file" || :; fi
  if [ -n "$pid" ] && grep -qsF "$mark" "/proc/$pid/environ"; then
    "$@" >/dev/null && exit 0
    stop=failed
  fi
  marked=$(grep -lsF "$mark" /proc/[0-9]*/environ)
  [ -n "$marked" ] || exit 0
  if [ -n "$stop" ] || [ "$left" -le 0 ]; then
    for process in $marked; do
      process=${process#/proc/}
      kill -KILL "${process%/environ}" 2>/dev/null
    done
    sleep 1
    grep -qsF "$mark" /proc/[0-9]*/environ || exit 0
    echo "error: it is there in spite of SIGKILL" >&2
    exit 1
  fi
  left=$((left - 1))
  sleep 1
done
