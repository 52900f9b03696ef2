#!/bin/sh
# Shows that nothing has changed PAM, nsswitch, the enabled units or the users of
# this machine: tests/unchanged.sh before FILE notes them in FILE, and
# tests/unchanged.sh after FILE fails, and says what it is, if one is different
# then. ROOT is the machine's root directory if it is not /.
set -eu
root=${ROOT:-}
case ${1-} in before | after) [ $# = 2 ] ;; *) false ;; esac || {
  echo "usage: tests/unchanged.sh before|after FILE" >&2
  exit 2
}

note() {
  for file in "$root/etc/nsswitch.conf" "$root"/etc/pam.d/* "$root/etc/passwd" "$root/etc/group"; do
    if [ -f "$file" ]; then cksum "$file"; fi
  done
  for dir in "$root/etc/systemd" "$root"/etc/rc?.d "$root/etc/init.d"; do
    if [ -d "$dir" ]; then find "$dir" \( -type l -o -type f \) -printf '%p -> %l\n' | sort; fi
  done
}

if [ "$1" = before ]; then
  note >"$2"
elif ! note | diff "$2" - >&2; then
  echo "unchanged: this differs from what was noted before; < is before, > is now" >&2
  exit 1
fi
