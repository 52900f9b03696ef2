#!/bin/sh
# Runs a KDC of MIT krb5 for the realm EXAMPLE.TEST in the directory DIR, in
# the foreground, on a loopback port: tests/realm.sh DIR PORT [KRB5_CONF_LINE...]
# DIR/krb5.conf is for its clients; further arguments become lines of its
# [libdefaults]. The principals alice, bob, carol and u1 to u20 and the services
# host/server, other, third, fourth and fifth, each of .example.test, have the
# password "secret".
# The KDC's programs are those that tests/setup.sh has unpacked into build/kdc, or
# $KDC, else this machine's.
set -eu
if [ $# -lt 2 ]; then
  echo "usage: tests/realm.sh DIR PORT [KRB5_CONF_LINE...]" >&2
  exit 2
fi
dir=$1 port=$2
shift 2
kdc=${KDC:-$(cd "$(dirname "$0")/.." && pwd)/build/kdc}
modules=""
if [ -d "$kdc" ]; then
  PATH=$kdc/usr/sbin:$PATH
  for libraries in "$kdc"/usr/lib/*-linux-gnu*; do export LD_LIBRARY_PATH="$libraries"; done
  modules="[dbmodules]
  db_module_dir = $libraries/krb5/plugins/kdb"
fi
PATH=$PATH:/usr/sbin:/sbin
for program in krb5kdc kdb5_util kadmin.local; do
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
  echo "  default_realm = EXAMPLE.TEST"
  echo "  dns_lookup_kdc = false"
  echo "  dns_lookup_realm = false"
  echo "  dns_canonicalize_hostname = false"
  echo "  rdns = false"
  for line in "$@"; do echo "  $line"; done
  echo "[realms]"
  echo "  EXAMPLE.TEST = {"
  echo "    kdc = 127.0.0.1:$port"
  echo "  }"
  echo "[domain_realm]"
  echo "  .example.test = EXAMPLE.TEST"
} > "$dir/krb5.conf"
cat > "$dir/kdc.conf" <<EOF
[kdcdefaults]
  kdc_listen = 127.0.0.1:$port
  kdc_tcp_listen = 127.0.0.1:$port
[realms]
  EXAMPLE.TEST = {
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
chmod 644 "$dir/krb5.conf"
export KRB5_CONFIG="$dir/krb5.conf" KRB5_KDC_PROFILE="$dir/kdc.conf"
if [ ! -e "$dir/principal" ]; then
  kdb5_util create -s -r EXAMPLE.TEST -P master >/dev/null
  for name in alice bob carol host/server.example.test host/other.example.test host/third.example.test host/fourth.example.test host/fifth.example.test $(seq -f u%g 20); do
    echo "addprinc -pw secret $name"
  done | KRB5CCNAME=MEMORY: kadmin.local -r EXAMPLE.TEST -p admin >/dev/null 2>&1
fi
exec krb5kdc -n -r EXAMPLE.TEST
