#!/bin/sh
# Installs what the tests need and is missing: Debian packages, and Heimdal's
# clients, which cannot be installed beside MIT's, unpacked into build/heimdal.
set -eu
cd "$(dirname "$0")/.."

packages="gcc libc6-dev pkg-config krb5-user krb5-kdc libkrb5-dev
  libini-config-dev curl dbus-bin libglib2.0-bin python3-dbus systemd
  binutils procps util-linux strace logrotate make sssd-kcm heimdal-kcm sssd-tools man-db mandoc bash-completion"
heimdal="heimdal-clients libasn1-8-heimdal libgssapi3-heimdal
  libhcrypto5-heimdal libhdb9-heimdal libheimbase1-heimdal
  libheimntlm0-heimdal libhx509-5-heimdal libkadm5clnt7-heimdal
  libkadm5srv8-heimdal libkafs0-heimdal libkrb5-26-heimdal libotp0-heimdal
  libroken19-heimdal libsl0-heimdal libwind0-heimdal"

missing=""
for package in $packages; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
    missing="$missing $package"
done
if [ -n "$missing" ] || [ ! -e build/heimdal/usr/bin/kinit.heimdal ]; then
  if [ "$(id -u)" = 0 ]; then apt-get update -qq; fi
fi
if [ -n "$missing" ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "setup: not root, so these packages stay missing and their tests are skipped:$missing" >&2
  else
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
  fi
fi

if [ ! -e build/heimdal/usr/bin/kinit.heimdal ]; then
  rm -rf build/heimdal.new
  mkdir -p build/heimdal.new
  # shellcheck disable=SC2086
  if (cd build/heimdal.new && apt-get download -qq $heimdal 2>/dev/null && for deb in *.deb; do dpkg-deb -x "$deb" . && rm "$deb"; done); then
    rm -rf build/heimdal
    mv build/heimdal.new build/heimdal
  else
    echo "setup: Heimdal's clients could not be downloaded; their tests are skipped" >&2
    rm -rf build/heimdal.new
  fi
fi
