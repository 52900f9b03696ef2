#!/bin/sh
# Runs one of Heimdal's programs from build/heimdal against the system below
# the root DIR: tests/heimdal.sh DIR kinit alice
# Heimdal's library knows one place for the socket, /var/run; a mount namespace
# puts DIR's there, and leaves the user who he is.
set -eu
if [ $# -lt 2 ]; then
  echo "usage: tests/heimdal.sh DIR PROGRAM [ARGUMENT...]" >&2
  exit 2
fi
root=$1 program=$2
shift 2
heimdal=${HEIMDAL:-$(cd "$(dirname "$0")/.." && pwd)/build/heimdal/usr}
if [ ! -d "$heimdal" ]; then
  echo "heimdal: there is no $heimdal; tests/setup.sh heimdal unpacks Debian's" >&2
  exit 1
fi
case $program in
  klist | kswitch) set -- "$heimdal/bin/heimtools" "$program" "$@" ;;
  kgetcred) set -- "$heimdal/bin/kgetcred" "$@" ;;
  *) set -- "$heimdal/bin/$program.heimdal" "$@" ;;
esac
for libraries in "$heimdal"/lib/*-linux-gnu*; do export LD_LIBRARY_PATH="$libraries"; done
export KRB5CCNAME="${KRB5CCNAME:-KCM:}"
# One namespace in which the user is root, to mount; one in it where he is himself.
# shellcheck disable=SC2016
exec unshare --map-root-user --mount sh -c '
  mount --bind "$0" /run
  uid=$1 gid=$2
  shift 2
  exec unshare --map-user="$uid" --map-group="$gid" "$@"
' "$root/var/run" "$(id -u)" "$(id -g)" "$@"
