#!/bin/sh
# Gets what the tests need and this machine lacks, all of it Debian packages.
# Those that only add programs and libraries are installed, if root runs this.
# Those whose installation would change PAM, nsswitch or the enabled units, or
# would remove others, are unpacked below build/ instead, for every user:
# SSSD's and Heimdal's KCM servers and clients, SSSD's logins, logind's PAM
# module, a KDC, logrotate, podman, servers that ask for Kerberos tickets.
# What cannot be had is said, and its tests are skipped.
#
#   tests/setup.sh           all of it
#   tests/setup.sh kdc       only the KDC that tests/realm.sh runs
#   tests/setup.sh heimdal   only Heimdal's programs, which tests/heimdal.sh runs
#   tests/setup.sh debian    whole systems in build/debian-SUITE, by debootstrap, for
#                            make test-packages; rpm, linters and shellcheck; takes minutes
set -eu
cd "$(dirname "$0")/.."

packages="gcc libc6-dev pkg-config krb5-user libkrb5-dev libini-config-dev curl
  dbus-bin libglib2.0-bin python3-dbus binutils strace make mandoc bash-completion faketime"

updated=""
# update fetches the lists of packages once, which only root may.
update() {
  [ -z "$updated" ] && [ "$(id -u)" = 0 ] || return 0
  updated=yes
  apt-get update -qq || echo "setup: apt-get update fails; going on with the lists that are here" >&2
}

# install_missing installs packages that change nothing but what they add.
install_missing() {
  missing=""
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
      missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ]; then
    echo "setup: not root, so these packages stay missing and their tests are skipped:$missing" >&2
    return 0
  fi
  update
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    echo "setup: apt-get install fails, so tests that need these packages are skipped:$missing" >&2
}

# unpack lays packages, and what they depend on and this machine lacks, into
# build/TREE as they would lie below /. TREE/packages names them with versions.
unpack() {
  tree=build/$1 new=$PWD/build/$1.new
  shift
  if [ "$(head -n 1 "$tree/packages" 2>/dev/null)" = "# $*" ]; then return 0; fi
  update
  rm -rf "$new"
  mkdir -p "$new/usr/bin" "$new/usr/sbin" "$new/usr/lib"
  # As on the machine, where these are links; else they would hide its own.
  for dir in bin sbin lib; do ln -s "usr/$dir" "$new/$dir"; done
  # What installing them would add. They need not be able to live beside others here.
  depends=$(apt-get install -s --no-install-recommends "$@" 2>/dev/null | sed -n 's/^Inst \([^ ]*\) .*/\1/p')
  # shellcheck disable=SC2046,SC2086
  if (cd "$new" && apt-get download -qq $(printf '%s\n' "$@" $depends | sort -u) 2>apt.log); then
    { echo "# $*"; for deb in "$new"/*.deb; do dpkg-deb -W --showformat='${Package} ${Version}\n' "$deb"; done; } >"$new/packages"
    for deb in "$new"/*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$new" --keep-directory-symlink --no-same-owner; done
    rm -f "$new"/*.deb "$new/apt.log"
    rm -rf "$tree"
    mv "$new" "$tree"
  else
    echo "setup: these packages cannot be downloaded, so their tests are skipped: $*" >&2
    cat "$new/apt.log" >&2
    rm -rf "$new"
  fi
}

# bootstrap makes a Debian system with SSSD and a KDC in build/debian-SUITE.
bootstrap() {
  tree=build/debian-$1 new=$PWD/build/debian-$1.new
  [ ! -e "$tree/usr/sbin/sssd" ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
    echo "setup: only root makes $tree, with debootstrap; its tests are skipped" >&2
    return 0
  fi
  rm -rf "$new"
  mkdir -p build
  if debootstrap --variant=minbase --include="systemd,systemd-sysv,dbus,krb5-user,krb5-kdc,krb5-admin-server,sssd,sssd-kcm,libnss-sss,libpam-sss,logrotate,apparmor" \
    "$1" "$new" "${MIRROR:-http://deb.debian.org/debian}" >"$new.log" 2>&1; then
    rm -f "$new"/var/cache/apt/archives/*.deb
    # To be installed again, after ours.
    (cd "$new/var/cache/apt/archives" && chroot "$new" sh -c 'cd /var/cache/apt/archives && apt-get download -qq sssd-kcm' >>"$new.log" 2>&1) || true
    mv "$new" "$tree"
  else
    echo "setup: debootstrap of $1 fails, so its tests are skipped: $(tail -n 1 "$new.log"); see $new.log" >&2
  fi
}

unpack_kdc() { unpack kdc krb5-kdc krb5-admin-server; }
unpack_heimdal() { unpack heimdal heimdal-clients heimdal-kcm heimdal-kdc; }

if ! command -v apt-get >/dev/null; then
  echo "setup: this machine has no apt-get. The tests need, by Debian's names: $packages krb5-kdc krb5-admin-server;" \
    "those of what is missing are skipped" >&2
  exit 0
fi
case ${1-} in
  kdc) unpack_kdc ;;
  heimdal) unpack_heimdal ;;
  debian)
    install_missing debootstrap
    unpack rpm rpm
    unpack lintian lintian
    unpack rpmlint rpmlint rpm
    unpack shellcheck shellcheck
    bootstrap bookworm
    bootstrap trixie
    ;;
  "")
    # shellcheck disable=SC2086
    install_missing $packages
    unpack_kdc
    unpack_heimdal
    unpack sssd sssd-common sssd-kcm sssd-tools
    unpack logrotate logrotate
    unpack prometheus prometheus
    unpack containers podman crun uidmap catatonit bubblewrap
    unpack logind libpam-systemd dbus dbus-daemon dbus-system-bus-common dbus-session-bus-common
    unpack services apache2-bin libapache2-mod-auth-gssapi slapd ldap-utils libsasl2-modules-gssapi-mit openssh-server openssh-client
    unpack login sssd-common sssd-krb5 sssd-proxy libpam-sss libnss-sss
    ;;
  *)
    echo "usage: tests/setup.sh [kdc | heimdal | debian]" >&2
    exit 2
    ;;
esac
