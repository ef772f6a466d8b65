# A release for a host that has none, from standard input: DIRECTORY NAME RELEASE-ID gzip|zstd. It comes to its place when
# its own interpreter has found it whole, or not at all.
set -eu
umask 022
above=${1%/*} own=${1##*/}
mkdir -p "$above/"
for left in "$above/.$own.partial-"*; do
  if [ -d "$left" ] && ! kill -0 "${left##*-}" 2>/dev/null; then rm -rf "$left"; fi
done
side=$above/.$own.partial-$$
trap 'rm -rf "$side"' EXIT
trap 'exit 1' HUP INT TERM PIPE
mkdir "$side"
"$4" -dc | tar -xof - -C "$side"
"$side/bin/$2" cluster place "$1" "$3" </dev/null
