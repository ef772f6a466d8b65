# Another version for a host that has one, from standard input: DIRECTORY NAME FILE SHA256 SIGNATURE. What is there checks and unpacks it.
set -eu
umask 022
file=$1/var/incoming/.$$-$3
trap 'rm -f "$file" "$file.sig"' EXIT
trap 'exit 1' HUP INT TERM PIPE
mkdir -p "${file%/*}"
cat >"$file"
if [ -n "$5" ]; then printf '%s\n' "$5" >"$file.sig"; fi
"$1/bin/$2" unpack "$file" --sha256 "$4" </dev/null
