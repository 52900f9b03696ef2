#!/bin/sh
# make run: the whole system in a sandbox directory, in the foreground.
set -eu
cd "$(dirname "$0")/.."
dir=${DIR:-/tmp/gosssd-$(id -u)}
if [ -e "$dir" ] && [ ! -O "$dir" ]; then
  echo "run: $dir belongs to somebody else; choose another with make run DIR=..." >&2
  exit 1
fi
mkdir -p "$dir/etc/sssd/conf.d"
chmod 755 "$dir"
if [ ! -e "$dir/etc/sssd/sssd.conf" ]; then
  cp tests/sssd.conf.sample "$dir/etc/sssd/sssd.conf"
  chmod 600 "$dir/etc/sssd/sssd.conf"
fi
socket=$dir/var/run/.heim_org.h5l.kcm-socket

bin/sssd -i --root "$dir" &
pid=$!
trap 'kill $pid 2>/dev/null || :' INT TERM
until [ -S "$socket" ] && bin/sssctl --root "$dir" status >/dev/null 2>&1; do
  kill -0 $pid 2>/dev/null || { wait $pid; exit $?; }
  sleep 0.05
done
cat <<EOF
gosssd serves Kerberos credential caches at
    $socket
Put these two lines into [libdefaults] of the krb5.conf that KRB5_CONFIG names:
    default_ccache_name = KCM:
    kcm_socket = $socket
then kinit, klist, kvno, kswitch and kdestroy use it. Heimdal's programs know no other
place than /var/run; tests/heimdal.sh $dir kinit shows them this one.
A realm to play with, in another terminal: tests/realm.sh /tmp/realm 8888 \\
    'default_ccache_name = KCM:' 'kcm_socket = $socket'
then: KRB5_CONFIG=/tmp/realm/krb5.conf kinit alice    (the password is "secret")
The configuration is $dir/etc/sssd/sssd.conf; Ctrl-C ends everything.
EOF
wait $pid || :
wait $pid
