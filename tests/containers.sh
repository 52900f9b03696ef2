#!/bin/sh
# Makes the mount namespace that it runs in the host of packaging/guides/
# containers.md, and keeps it until its standard input ends: see
# containers_test.go. Programs get in front of them what this machine lacks.
# Needs: ROOT of the system, BIN, its programs, CONF, krb5.conf of its realm.
set -eu
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || { mount -t tmpfs none /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; }
mount -t tmpfs -o mode=755 none /run
mkdir /run/pods "$ROOT/run/pods"
mount --bind "$ROOT/run/pods" /run/pods
: >/run/.heim_org.h5l.kcm-socket
mount --bind "$ROOT/var/run/.heim_org.h5l.kcm-socket" /run/.heim_org.h5l.kcm-socket
mkdir -p /etc/sssd /var/lib/sss /etc/containers /var/lib/containers
mount --bind "$ROOT/etc/sssd" /etc/sssd
mount --bind "$ROOT/var/lib/sss" /var/lib/sss
mount -t tmpfs none /var/lib/containers
sed /kcm_socket/d "$CONF" >/etc/krb5.conf
chmod 644 /etc/krb5.conf

# The image: the host's programs, and an /etc of its own. A container without
# root needs it to be the user's.
mount -t tmpfs -o mode=755 none /mnt
mkdir /mnt/image /mnt/home /mnt/runtime
cd /mnt/image
mkdir -p usr proc sys dev etc tmp run/kcm var srv root # mount points, which users of a container may not make
for file in run/.heim_org.h5l.kcm-socket run/.containerenv etc/hosts etc/hostname etc/resolv.conf etc/mtab; do : >"$file"; done
for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$dir"; done
ln -s ../run var/run
cp /etc/passwd /etc/group /etc/nsswitch.conf /etc/krb5.conf etc/
cd /
cp -a /mnt/image /mnt/home/image
getent passwd 1000 >/dev/null || echo 'reader:x:1000:1000::/mnt/home:/bin/sh' >>/etc/passwd
name=$(getent passwd 1000)
name=${name%%:*}
echo "$name:300000:65536" >/etc/subuid
echo "$name:300000:65536" >/etc/subgid
chown -R 1000:1000 /mnt/home /mnt/runtime
chmod u+s /usr/bin/newuidmap /usr/bin/newgidmap

mv /usr/bin/podman /usr/bin/podman.real
locked=$(($(ulimit -Hl) * 1024))
cat >/usr/bin/podman <<END
#!/bin/sh
# podman run, where there are no control groups, no network but the machine's,
# no rights to raise limits, and no registry.
image=/mnt/image
if [ "\$(id -u)" != 0 ]; then image=/mnt/home/image; cd /mnt/home; export HOME=/mnt/home XDG_RUNTIME_DIR=/mnt/runtime; fi
[ "\$1" = run ]
shift
for argument in "\$@"; do
  shift
  case \$argument in IMAGE) set -- "\$@" --rootfs "\$image" ;; *) set -- "\$@" "\$argument" ;; esac
done
exec podman.real --cgroup-manager=cgroupfs run --cgroups=disabled --network=host -v /usr:/usr:ro \\
  --ulimit memlock=$locked:$locked --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "\$@"
END
cat >/usr/bin/sssctl <<END
#!/bin/sh
exec $BIN/sssctl --root $ROOT "\$@"
END
cat >/usr/bin/systemctl <<END
#!/bin/sh
[ "\$*" = 'restart sssd' ] && exec $BIN/sssctl --root $ROOT restart
END
chmod 755 /usr/bin/podman /usr/bin/sssctl
chmod 755 /usr/bin/systemctl
echo $$
cat >/dev/null
# Rootless podman leaves a process that holds its namespaces.
find /mnt/runtime -name pause.pid -exec cat {} + | xargs -r kill -KILL
