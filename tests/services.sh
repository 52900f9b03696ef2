#!/bin/sh
# Runs servers that ask for Kerberos tickets, and a command as a user beside them:
#   tests/services.sh KEYTAB KRB5_CONF UID COMMAND [ARGUMENT...]
# A web server (mod_auth_gssapi), an LDAP server (SASL GSSAPI) and sshd answer at
# server.example.test, in namespaces of their own: there is no way to a KDC, nor to
# any other host. The user is alice, with this UID, whose login shell is sh.
# Needs root, and what tests/setup.sh has unpacked into build/services.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "${1-}" != --inside ]; then
  exec unshare --net "$here/overlay.sh" "$here/../build/services" "$here/services.sh" --inside "$@"
fi
keytab=$2 conf=$3 uid=$4
shift 4
ip link set lo up
echo "127.0.0.1 server.example.test server localhost" >/etc/hosts
echo "hosts: files" >/etc/nsswitch.conf
for database in passwd group shadow; do echo "$database: files" >>/etc/nsswitch.conf; done
echo server >/proc/sys/kernel/hostname 2>/dev/null || true

dir=$(mktemp -d -p /tmp)
chmod 755 "$dir"
trap 'kill $servers 2>/dev/null || true; wait; rm -rf "$dir"' EXIT
servers=""
install -m 600 "$keytab" "$dir/services.keytab"
cat "$dir/services.keytab" >"$dir/web.keytab" # the web server's processes are its own user's
mkdir -p /run/sshd "$dir/home" "$dir/www" "$dir/ldap"
{
  echo "alice:x:$uid:$uid::$dir/home:/bin/sh"
  echo "sshd:x:64001:65534::/run/sshd:/usr/sbin/nologin"
  echo "webserver:x:64002:64002::/:/usr/sbin/nologin"
} >>/etc/passwd
printf 'alice:x:%s:\nwebserver:x:64002:\n' "$uid" >>/etc/group
echo 'alice:*:19000::::::' >>/etc/shadow
chown "$uid:$uid" "$dir/home"
chown 64002:64002 "$dir/web.keytab"
chmod 400 "$dir/web.keytab"
# The servers know the realm of their users; the command's krb5.conf need not.
printf '[libdefaults]\n  default_realm = EXAMPLE.TEST\n  dns_lookup_kdc = false\n  rdns = false\n' >"$dir/krb5.conf"
export KRB5_CONFIG="$dir/krb5.conf"

ssh-keygen -q -t ed25519 -N '' -f "$dir/host"
cat >"$dir/sshd_config" <<EOF
HostKey $dir/host
GSSAPIAuthentication yes
GSSAPIStrictAcceptorCheck no
PasswordAuthentication no
UsePAM no
EOF
echo "server.example.test $(cut -d' ' -f1,2 "$dir/host.pub")" >/etc/ssh/ssh_known_hosts
KRB5_KTNAME="$dir/services.keytab" /usr/sbin/sshd -D -e -f "$dir/sshd_config" 2>"$dir/sshd.log" &
servers="$servers $!"

modules=/usr/lib/apache2/modules
cat >"$dir/apache.conf" <<EOF
ServerRoot $dir
ServerName server.example.test
Listen 80
PidFile $dir/apache.pid
ErrorLog $dir/apache.log
User webserver
Group webserver
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authn_core_module $modules/mod_authn_core.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule authz_user_module $modules/mod_authz_user.so
LoadModule auth_gssapi_module $modules/mod_auth_gssapi.so
DocumentRoot $dir/www
<Location />
  AuthType GSSAPI
  AuthName "GSSAPI"
  GssapiCredStore keytab:$dir/web.keytab
  Require valid-user
</Location>
EOF
echo "a page for those who have a ticket" >"$dir/www/index.html"
/usr/sbin/apache2 -D FOREGROUND -f "$dir/apache.conf" 2>"$dir/apache.err" &
servers="$servers $!"

cat >"$dir/slapd.conf" <<EOF
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile $dir/slapd.pid
sasl-host server.example.test
sasl-realm EXAMPLE.TEST
database mdb
suffix dc=example,dc=test
directory $dir/ldap
EOF
KRB5_KTNAME="$dir/services.keytab" /usr/sbin/slapd -d 0 -h ldap://server.example.test -f "$dir/slapd.conf" 2>"$dir/slapd.log" &
servers="$servers $!"

for port in 22 80 389; do
  tries=0
  until bash -c "exec 3<>/dev/tcp/127.0.0.1/$port" 2>/dev/null; do
    tries=$((tries + 1))
    if [ $tries -gt 600 ]; then
      echo "services: nobody answers at port $port:" >&2
      tail -n 20 "$dir"/*.log "$dir"/*.err >&2
      exit 1
    fi
    sleep 0.1
  done
done
if setpriv --reuid "$uid" --regid "$uid" --clear-groups env HOME="$dir/home" KRB5_CONFIG="$conf" "$@"; then
  exit 0
fi
tail -n 20 "$dir"/*.log "$dir"/*.err >&2
exit 1
