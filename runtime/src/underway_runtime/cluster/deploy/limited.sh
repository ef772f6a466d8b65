# Put in front of scripts that read a file from standard input. `limited SECONDS FILE COMMAND...` has a command read it, and write
# into a file, until it ends or the seconds are over; `arrived` waits for that. A host that is cut off hears nothing by itself, and
# would wait for hours with half of it.
exec 3<&0 </dev/null
reader='' watch=''
limited() {
  limit=$1 into=$2
  shift 2
  "$@" <&3 >"$into" &
  reader=$!
  (
    trap 'kill "$rest" 2>/dev/null; exit' TERM
    sleep "$limit" &
    rest=$!
    wait "$rest" && kill -PIPE "$reader" 2>/dev/null # no shell says a word of that one
  ) 3<&- >/dev/null 2>&1 &
  watch=$!
}
arrived() {
  wait "$reader" && all=0 || all=$?
  reader=''
  no_more
  if [ "$all" -gt 128 ]; then echo "error: it has not come in $limit s" >&2; fi
  return "$all"
}
no_more() {
  for pid in $reader $watch; do kill "$pid" 2>/dev/null || :; done
  reader='' watch=''
}
