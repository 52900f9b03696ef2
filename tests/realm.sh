#!/bin/sh
# Runs a KDC of MIT krb5 for the realm EXAMPLE.TEST in the directory DIR, in
# the foreground, on a loopback port: tests/realm.sh DIR PORT [KRB5_CONF_LINE...]
# DIR/krb5.conf is for its clients; further arguments become lines of its
# [libdefaults]. The principals alice, bob, carol and u1 to u20 and the services
# host/server, other, third, fourth and fifth, HTTP/server and ldap/server, each of
# .example.test, have the password "secret". DIR/services.keytab has the keys of
# the services of server.
# KIND=heimdal has Heimdal's KDC run instead.
# $REALM is the realm's name, if it is another. It and $TRUST, another one, trust
# each other, and it refers those who look for hosts of $TRUST to it.
# The KDC's programs are those that tests/setup.sh has unpacked into build/kdc, or
# $KDC, else this machine's.
set -eu
if [ $# -lt 2 ]; then
  echo "usage: tests/realm.sh DIR PORT [KRB5_CONF_LINE...]" >&2
  exit 2
fi
dir=$1 port=$2
shift 2
realm=${REALM:-EXAMPLE.TEST}
domain=$(echo "$realm" | tr '[:upper:]' '[:lower:]')
kdc=${KDC:-$(cd "$(dirname "$0")/.." && pwd)/build/kdc}
modules=""
if [ "${KIND-}" != heimdal ] && [ -d "$kdc" ]; then
  PATH=$kdc/usr/sbin:$PATH
  for libraries in "$kdc"/usr/lib/*-linux-gnu*; do export LD_LIBRARY_PATH="$libraries"; done
  modules="[dbmodules]
  db_module_dir = $libraries/krb5/plugins/kdb"
fi
PATH=$PATH:/usr/sbin:/sbin
[ "${KIND-}" = heimdal ] || for program in krb5kdc kdb5_util kadmin.local; do
  command -v $program >/dev/null || {
    echo "realm: this machine has no $program; tests/setup.sh kdc unpacks Debian's below build/" >&2
    exit 1
  }
done
# krb5kdc shares a port that is taken, and then answers some of the requests.
if cat /proc/net/tcp /proc/net/udp 2>/dev/null | grep -q "0100007F:$(printf %04X "$port") 00000000:0000 0[7A] "; then
  echo "realm: port $port of 127.0.0.1 is taken; choose another: tests/realm.sh $dir PORT ..." >&2
  exit 1
fi
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
{
  echo "[libdefaults]"
  echo "  default_realm = $realm"
  echo "  dns_lookup_kdc = false"
  echo "  dns_lookup_realm = false"
  echo "  dns_canonicalize_hostname = false"
  echo "  rdns = false"
  for line in "$@"; do echo "  $line"; done
  echo "[realms]"
  echo "  $realm = {"
  echo "    kdc = 127.0.0.1:$port"
  echo "  }"
  echo "[domain_realm]"
  echo "  .$domain = $realm"
  [ -z "${TRUST-}" ] || echo "  .$(echo "$TRUST" | tr '[:upper:]' '[:lower:]') = $TRUST"
} > "$dir/krb5.conf"
chmod 644 "$dir/krb5.conf"
[ "${KIND-}" != heimdal ] || exec "$(dirname "$0")/heimdal-realm.sh" "$dir" "$port" "$realm"
cat > "$dir/kdc.conf" <<EOF
[kdcdefaults]
  kdc_listen = 127.0.0.1:$port
  kdc_tcp_listen = 127.0.0.1:$port
[realms]
  $realm = {
    host_based_services = *
    database_name = $dir/principal
    key_stash_file = $dir/stash
    acl_file = $dir/kadm5.acl
    max_life = 10h
    max_renewable_life = 7d
    supported_enctypes = aes256-cts:normal aes128-cts:normal aes256-sha2:normal aes128-sha2:normal
  }
[logging]
  kdc = FILE:$dir/kdc.log
$modules
EOF
export KRB5_CONFIG="$dir/krb5.conf" KRB5_KDC_PROFILE="$dir/kdc.conf"
if [ ! -e "$dir/principal" ]; then
  kdb5_util create -s -r $realm -P master >/dev/null
  {
    for name in alice bob carol HTTP/server ldap/server host/server host/other host/third host/fourth host/fifth $(seq -f u%g 20); do
      case $name in */*) name=$name.$domain ;; esac
      echo "addprinc -pw secret $name"
    done
    echo "ktadd -norandkey -k $dir/services.keytab host/server.$domain HTTP/server.$domain ldap/server.$domain"
    for other in ${TRUST-}; do
      echo "addprinc -pw trust krbtgt/$other@$realm"
      echo "addprinc -pw trust krbtgt/$realm@$other"
    done
  } | KRB5CCNAME=MEMORY: kadmin.local -r $realm -p admin >/dev/null 2>&1
fi
exec krb5kdc -n -r $realm
