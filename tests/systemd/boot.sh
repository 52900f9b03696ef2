#!/bin/sh
# Boots this machine's systemd in namespaces of its own, on a copy-on-write view
# of / with the files of TREE laid over it: tests/systemd/boot.sh TREE [UNPACKED...]
# Each UNPACKED is a directory of Debian packages that lie between the two.
# With BOOT_BELOW=DIR the view is of the system in DIR, with that one's systemd.
# Prints the number of systemd's process, and the next one when it reboots;
# `nsenter -t NUMBER -a` gets in. It lives until the standard input of this script
# ends. Nothing of it reaches the machine: not its files, devices, kernel settings,
# network, processes nor control groups.
set -eu
if [ "${1-}" != --inside ]; then
  # Mounts made here are nobody else's, and go with this process.
  [ "${1-}" = --alone ] || exec unshare -m "$0" --alone "$@"
  trap "" HUP INT TERM # which would leave the control group behind
  shift
  work=$(mktemp -d)
  trap 'umount -l "$work"; rmdir "$work"' EXIT
  mount -t tmpfs -o mode=755 none "$work"
  mkdir "$work/cgroup" "$work/upper" "$work/work" "$work/root"
  mount -t cgroup2 none "$work/cgroup"
  group=$work/cgroup/gosssd-test.$$
  mkdir "$group"
  (
    echo 0 > "$group/cgroup.procs"
    while :; do
      setpriv --pdeathsig KILL unshare -m -p -f --kill-child -n -u -i -C "$0" --inside "$work" "$@" < /dev/null || :
      [ -e "$work/booted" ] || exit 1 # else it reboots
    done
  ) &
  exec > /dev/null # so that the reader sees the end when it does not boot
  cat || :
  kill -KILL $! 2>/dev/null || : # its child, the first process of its namespace, goes with it, and so do all
  wait $! || :
  until find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; do sleep 0.01; done
  exit 0
fi

work=$2 root=$2/root tree=$3
shift 3
mount -t overlay -o "lowerdir=${BOOT_BELOW:-/},upperdir=$work/upper,workdir=$work/work" none "$root"
if [ ! -e "$work/booted" ]; then
  if [ -z "${BOOT_BELOW-}" ]; then
    # None of the machine's own units, mounts or swap, nor of its sssd.
    rm -rf "$root/etc/systemd/system" "$root/etc/fstab" "$root/etc/sssd" "$root/var/lib/sss" \
      "$root/var/log/sssd" "$root/etc/logrotate.d" "$root/etc/krb5.conf.d"
    rm -f "$root"/lib/systemd/system/sssd*
  fi
  for dir in "$@" "$tree"; do cp -a "$dir/." "$root/"; done
fi
for dir in run tmp dev; do mount -t tmpfs -o mode=755 none "$root/$dir"; done
chmod 1777 "$root/tmp"
for name in null zero full random urandom tty; do
  : > "$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 none "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t proc none "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro none "$root/sys"
mount -t cgroup2 none "$root/sys/fs/cgroup"
read -r pid rest < /proc/self/stat # of the machine's /proc still
echo "$pid"
: > "$work/booted"
cd "$root"
pivot_root . . # the machine's / is now over the new one
umount -l .
mount --make-rshared / # as a service's credentials need it
target=${BOOT_TARGET:-gosssd-test.target}
exec env -i container=gosssd-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  setpriv --bounding-set -sys_module,-sys_time,-sys_rawio,-syslog,-mknod,-audit_control,-audit_read,-audit_write \
  /lib/systemd/systemd --unit="$target"
