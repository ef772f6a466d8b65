# Another version for a host that has one, from standard input: DIRECTORY NAME FILE SHA256 LIMIT
# SIGNATURE OPTION... What is there checks and unpacks it, with these options.
set -eu
umask 022
directory=$1 name=$2 sha256=$4 within=$5 signature=$6 var=${RELEASE_VAR:-$1/var}
# var is of the user who runs the release: where that is another user, a link could be in there, and the release's own directory is taken.
place=$var/incoming
# shellcheck disable=SC3067 # dash and busybox have it
if [ -e "$var" ] && [ ! -O "$var" ]; then place=$1; fi
file=$place/.$$-$3
trap 'no_more; rm -f "$file" "$file.sig"' EXIT
trap 'exit 1' HUP INT TERM PIPE
mkdir -p "$place"
for left in "$place"/.[0-9]*-*; do
  pid=${left##*/.} pid=${pid%%-*} # after a power cut it may be that of this process: pids begin again
  if [ -f "$left" ] && { [ "$pid" = $$ ] || ! kill -0 "$pid" 2>/dev/null; }; then rm -f "$left"; fi
done
limited "$within" "$file" cat
arrived || exit 1
if [ -n "$signature" ]; then printf '%s\n' "$signature" >"$file.sig"; fi
shift 6
"$directory/bin/$name" unpack "$file" --sha256 "$sha256" "$@" </dev/null
