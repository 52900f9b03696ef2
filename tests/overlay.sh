#!/bin/sh
# Runs a command in a mount namespace of its own in which the Debian packages
# that tests/setup.sh has unpacked into TREE lie over the machine's /usr, /etc and
# /var, as if they were installed: tests/overlay.sh TREE COMMAND [ARGUMENT...]
# Needs root. What the command writes there goes with it.
set -eu
if [ "${1-}" != --inside ]; then exec unshare --mount --propagation private "$0" --inside "$@"; fi
tree=$(cd "$2" && pwd)
shift 2
work=$(mktemp -d -p /tmp)
mount -t tmpfs -o mode=755 none "$work"
for dir in usr etc var; do
  [ -d "$tree/$dir" ] || continue
  mkdir "$work/$dir.work"
  lower=$tree/$dir:/$dir
  case $tree in
    "/$dir"/*) lower=/$dir && cp -a "$tree/$dir" "$work/$dir" ;; # no layer may be inside another
    *) mkdir "$work/$dir" ;;
  esac
  mount -t overlay -o "lowerdir=$lower,upperdir=$work/$dir,workdir=$work/$dir.work" none "/$dir"
done
umount -l "$work"
rmdir "$work"
exec "$@"
