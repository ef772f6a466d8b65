# What a host is like, one fact in each line: DIRECTORY LOADER. Changes nothing.
set -u
directory=$1 loader=$2
case $directory in
  /*) ;;
  [~]) directory=$HOME ;;
  [~]/*) directory=$HOME/${directory#?/} ;;
  *) directory=$HOME/$directory ;;
esac
var=${RELEASE_VAR:-$directory/var}
case $var in /*) ;; *) var=$PWD/$var ;; esac
say() { printf '%s %s\n' "$1" "$2"; }

say clock "$(date +%s)"
say system "$(uname -s)"
say machine "$(uname -m)"
say directory "$directory"
say var "$var"
say connection "${SSH_CONNECTION:-}"
for tool in tar gzip zstd ssh-keygen sha256sum; do
  if command -v "$tool" >/dev/null 2>&1; then say tool "$tool"; fi
done
signers=${RELEASE_ALLOWED_SIGNERS:-/etc/underway/allowed_signers}
if [ -e "$signers" ] || [ -L "$signers" ]; then say signers "$signers"; fi
if [ -e "$loader" ]; then
  say loader "$loader"
  "$loader" --version 2>/dev/null | { read -r line && say glibc "$line"; }
fi

# Where it is, or would be made.
place=$directory
while [ ! -e "$place" ]; do place=${place%/*} place=${place:-/}; done
if [ ! -d "$place" ]; then
  say occupied "$place is not a directory"
elif [ ! -w "$place" ]; then
  say occupied "$place can't be written to by $(id -un)"
elif [ "$place" = "$directory" ] && [ ! -d "$directory/releases" ]; then
  for entry in "$directory"/* "$directory"/.[!.]*; do
    if [ -e "$entry" ]; then say occupied "$directory holds ${entry##*/} and no releases" && break; fi
  done
fi
df -Pk "$place" | while read -r line; do say space "$line"; done

for file in "$directory"/releases/*/manifest.json; do
  [ -r "$file" ] || continue
  version=${file%/*} id=''
  while read -r key value; do
    case $key in '"release_id":') id=$value && break ;; esac
  done <"$file"
  say release "${version##*/} $id"
done
# Nodes that run, also those that are about to start: these hold their lock, and have written no pid file yet.
holds() {
  for file in "/proc/$1/fd"/*; do
    # shellcheck disable=SC3013 # dash and busybox have it
    if [ "$file" -ef "$2" ]; then return 0; fi
  done
  return 1
}
for run in "$var"/cluster/*/run; do
  node=${run%/run} line='' pid=''
  if [ -f "$run/lock" ] && [ -r "$run/lock" ]; then IFS= read -r line <"$run/lock" || :; fi
  line=${line#*'"pid": '} line=${line%%[!0-9]*}
  if [ -f "$run/pid" ] && [ -r "$run/pid" ]; then read -r pid <"$run/pid" || :; fi
  if [ -n "$line" ] && holds "$line" "$run/lock"; then
    say node "$line ${node##*/}"
  elif [ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q underway_runtime; then
    say node "$pid ${node##*/}"
  fi
done
for file in "$var"/cluster/*/certificates/ca.pem; do
  if [ -f "$file" ] && [ -r "$file" ]; then
    node=${file%/certificates/ca.pem}
    say authority "$(sed -n 1,40p "$file" | tr -d ' \n') ${node##*/}"
  fi
done
for file in /proc/net/tcp /proc/net/tcp6; do
  [ -r "$file" ] || continue
  while read -r _ address _ state _; do
    if [ "$state" = 0A ]; then say listening "${address##*:}"; fi
  done <"$file"
done
say end .
