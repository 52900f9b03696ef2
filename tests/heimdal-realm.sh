#!/bin/sh
# Runs Heimdal's KDC for a realm in the directory DIR, in the foreground:
#   tests/heimdal-realm.sh DIR PORT REALM
# tests/realm.sh calls it, which has written DIR/krb5.conf. It has the principals
# u1 to u20 and the services host/server, other, third, fourth and fifth, with the
# password "secret".
set -eu
dir=$1 port=$2 realm=$3
heimdal=${HEIMDAL:-$(cd "$(dirname "$0")/.." && pwd)/build/heimdal/usr}
if [ ! -x "$heimdal/lib/heimdal-servers/kdc" ]; then
  echo "realm: there is no $heimdal/lib/heimdal-servers/kdc; tests/setup.sh heimdal unpacks Debian's" >&2
  exit 1
fi
for libraries in "$heimdal"/lib/*-linux-gnu*; do export LD_LIBRARY_PATH="$libraries"; done
domain=$(echo "$realm" | tr '[:upper:]' '[:lower:]')
cat >"$dir/kdc.conf" <<EOF
[libdefaults]
  default_realm = $realm
[kdc]
  database = {
    dbname = $dir/heimdal
    realm = $realm
    mkey_file = $dir/mkey
    acl_file = $dir/kadm5.acl
    log_file = $dir/log
  }
[kadmin]
  default_keys = aes256-cts-hmac-sha1-96:pw-salt aes128-cts-hmac-sha1-96:pw-salt
[logging]
  kdc = FILE:$dir/kdc.log
EOF
if [ ! -e "$dir/heimdal.db" ]; then
  {
    echo "init --realm-max-ticket-life=1d --realm-max-renewable-life=7d $realm"
    for name in host/server host/other host/third host/fourth host/fifth $(seq -f u%g 20); do
      case $name in */*) name=$name.$domain ;; esac
      echo "add --password=secret --use-defaults $name"
    done
  } | "$heimdal/bin/kadmin.heimdal" --config-file="$dir/kdc.conf" -l >/dev/null
fi
exec "$heimdal/lib/heimdal-servers/kdc" --config-file="$dir/kdc.conf" --ports="$port" --addresses=127.0.0.1
