#!/bin/sh
# make run: the whole system in the sandbox directory $DIR, in the foreground.
set -eu
cd "$(dirname "$0")/.."
dir=${DIR:-/tmp/gosssd-$(id -u)}
if [ -e "$dir" ] && [ ! -O "$dir" ]; then
  echo "run: $dir belongs to somebody else; choose another directory with make run DIR=..." >&2
  exit 1
fi
mkdir -p "$dir/etc/sssd/conf.d"
dir=$(cd "$dir" && pwd)
chmod 755 "$dir"
socket=$dir/var/run/.heim_org.h5l.kcm-socket
if [ "$(printf %s "$socket" | wc -c)" -gt 107 ]; then
  echo "run: $dir is too long: the name of a socket may have 107 bytes, and $socket has more" >&2
  exit 1
fi
if [ ! -e "$dir/etc/sssd/sssd.conf" ]; then
  cp tests/sssd.conf.sample "$dir/etc/sssd/sssd.conf"
  chmod 600 "$dir/etc/sssd/sssd.conf"
fi

# offer asks whether to get what is missing, where somebody can answer, and
# says how to get it otherwise: offer WHAT COMMAND
offer() {
  if [ -t 0 ] && [ -t 1 ]; then
    printf '%s Run "%s" now? [y/N] ' "$1" "$2"
    read -r answer || answer=""
    case $answer in
      [yY]*) sh -c "$2" || echo "run: that fails; going on without" >&2 ;;
    esac
  else
    echo "$1 To have it: $2"
  fi
}
if ! command -v kinit >/dev/null; then
  offer "This machine has no kinit and klist." "${SUDO-$([ "$(id -u)" = 0 ] || echo "sudo ")}apt-get install --no-install-recommends krb5-user"
fi
if [ ! -d build/kdc ] && ! PATH=$PATH:/usr/sbin:/sbin command -v krb5kdc >/dev/null; then
  offer "This machine has no KDC for a realm to play with. Debian's krb5-kdc can be unpacked below build/, without installing it." tests/setup.sh\ kdc
fi

# quoted prints a word as a shell reads it.
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"; }

bin/sssd -i --root "$dir" &
pid=$!
trap 'kill $pid 2>/dev/null || :' INT TERM
# A system that runs in this directory already would answer, too.
until [ "$(cat "$dir/run/sssd.pid" 2>/dev/null)" = $pid ] && bin/sssctl --root "$dir" status >/dev/null 2>&1; do
  kill -0 $pid 2>/dev/null || {
    wait $pid || code=$?
    echo "run: sssd has ended. Where one runs in $dir already, end that with Ctrl-C in its terminal," \
      "or choose another directory with make run DIR=..." >&2
    exit "${code:-1}"
  }
  sleep 0.05
done
cat <<END
gosssd serves Kerberos credential caches at
    $socket
Put these two lines into [libdefaults] of the krb5.conf that KRB5_CONFIG names:
    default_ccache_name = KCM:
    kcm_socket = $socket
then kinit, klist, kvno, kswitch and kdestroy use it. Heimdal's programs know no other
place than /var/run; tests/heimdal.sh $(quoted "$dir") kinit shows them this one.
A realm to play with, in another terminal: tests/realm.sh /tmp/realm 8888 \\
    'default_ccache_name = KCM:' $(quoted "kcm_socket = $socket")
then: KRB5_CONFIG=/tmp/realm/krb5.conf kinit alice    (the password is "secret")
The configuration is $dir/etc/sssd/sssd.conf; Ctrl-C ends everything.
END
wait $pid || :
wait $pid
