# A release for a host that has none, from standard input: DIRECTORY NAME RELEASE-ID gzip|zstd VERSION TARGET LIMIT SIGNATURE. It comes to
# its place when its own interpreter has found it whole, or not at all. Where this host says whose releases it takes, in
# /etc/underway/allowed_signers, nothing of it is opened before one of them is found to have signed it.
set -eu
umask 022
directory=$1 name=$2 id=$3 tool=$4 version=$5 target=$6 within=$7 signature=$8
signers=${RELEASE_ALLOWED_SIGNERS:-/etc/underway/allowed_signers}
above=${directory%/*} own=${directory##*/}
refuse() { echo "error: $*" >&2 && exit 1; }

# Refuse a file that others than root and this user could change: it, a directory above it, or a link that leads to it.
alone() {
  place=$1 links=0
  while :; do
    step=$place link=''
    while [ -n "$step" ]; do
      one "$step"
      if [ -L "$step" ]; then link=$step; fi
      step=${step%/*}
    done
    one /
    [ -n "$link" ] || return 0
    links=$((links + 1))
    [ "$links" -le 40 ] || refuse "$signers can't be read: too many links"
    to=$(readlink "$link")
    case $to in /*) place=$to${place#"$link"} ;; *) place=${link%/*}/$to${place#"$link"} ;; esac
  done
}
one() {
  where=$1
  # shellcheck disable=SC2012 # of this one file, for its mode and owner: what stat prints is another on each system
  facts=$(ls -ldn "$where" 2>/dev/null) || refuse "$signers can't be read"
  # shellcheck disable=SC2086 # it is words that are wanted
  set -- $facts
  case $3 in 0 | "$(id -u)") ;; *) refuse "$signers is not believed: $where belongs to the user $3" ;; esac
  case $1 in
    l* | d????????[tT]* | ?????-??-*) ;;
    *) refuse "$signers is not believed: others may write to $where" ;;
  esac
}

# Whether an allowed signer has signed what is in the file "statement", by any line for its key and any of its names.
signed() {
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in '' | '#'*) continue ;; esac
    printf '%s\n' "$line" >"$side/line"
    ssh-keygen -Y find-principals -s "$side/signature" -f "$side/line" >"$side/names" 2>/dev/null || continue
    while IFS= read -r who; do
      if ssh-keygen -Y verify -f "$side/line" -I "$who" -n underway-release -s "$side/signature" <"$side/statement" >/dev/null 2>&1; then
        return 0
      fi
    done <"$side/names"
  done <"$signers"
  return 1
}

checked() {
  [ -n "$signature" ] || refuse "this host takes what an allowed signer has signed ($signers), and $name-$version is not signed"
  for needed in ssh-keygen sha256sum; do
    command -v "$needed" >/dev/null 2>&1 ||
      refuse "this host takes what an allowed signer has signed ($signers), and has no $needed to verify it with; install it"
  done
  alone "$signers"
  [ -f "$signers" ] && [ -r "$signers" ] || refuse "$signers can't be read"
  limited "$within" "$side/archive" cat
  arrived || exit 1
  digest=$(sha256sum <"$side/archive")
  printf '%s\n' "$signature" | sed -n 1p >"$side/statement"
  printf '%s\n' "$signature" | sed 1d >"$side/signature"
  printf '{"format":1,"name":"%s","release_id":"%s","sha256":"%s","target":"%s","version":"%s"}\n' \
    "$name" "$id" "${digest%% *}" "$target" "$version" >"$side/expected"
  [ "$(cat "$side/expected")" = "$(cat "$side/statement")" ] ||
    refuse "what has arrived is not what was signed as $name-$version"
  signed || refuse "$name-$version is not signed by anyone whom $signers allows to sign releases now"
}

mkdir -p "$above/"
side=$above/.$own.partial-$$ # after a power cut there may be one already: pids begin again
for left in "$above/.$own.partial-"*; do
  if [ -d "$left" ] && { [ "$left" = "$side" ] || ! kill -0 "${left##*-}" 2>/dev/null; }; then rm -rf "$left"; fi
done
trap 'no_more; rm -rf "$side"' EXIT
trap 'exit 1' HUP INT TERM PIPE
mkdir "$side" "$side/tree"
if [ -e "$signers" ] || [ -L "$signers" ]; then
  checked
  "$tool" -dc <"$side/archive" | tar -xof - -C "$side/tree"
else
  mkfifo "$side/pipe"
  limited "$within" "$side/pipe" "$tool" -dc
  tar -xof "$side/pipe" -C "$side/tree" && unpacked=0 || unpacked=$?
  arrived || exit 1
  [ "$unpacked" = 0 ] || exit 1
fi
"$side/tree/bin/$name" cluster place "$directory" "$id" </dev/null
