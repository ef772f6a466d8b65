# Another version for a host that has one, from standard input: DIRECTORY NAME FILE SHA256 SIGNATURE. What is there checks and unpacks it.
set -eu
umask 022
# var is of the user who runs the release: where that is another, a link could be in there, and the release's own directory is taken.
place=$1/var/incoming
# shellcheck disable=SC3067 # dash and busybox have it
if [ -e "$1/var" ] && [ ! -O "$1/var" ]; then place=$1; fi
file=$place/.$$-$3
trap 'rm -f "$file" "$file.sig"' EXIT
trap 'exit 1' HUP INT TERM PIPE
mkdir -p "$place"
cat >"$file"
if [ -n "$5" ]; then printf '%s\n' "$5" >"$file.sig"; fi
"$1/bin/$2" unpack "$file" --sha256 "$4" </dev/null
