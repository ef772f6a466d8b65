# Another version for a host that has one, from standard input: DIRECTORY NAME FILE SHA256. What is there checks and unpacks it.
set -eu
umask 022
file=$1/var/incoming/.$$-$3
trap 'rm -f "$file"' EXIT
trap 'exit 1' HUP INT TERM PIPE
mkdir -p "${file%/*}"
cat >"$file"
"$1/bin/$2" unpack "$file" --sha256 "$4" </dev/null
