package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const kcmSocket = ".heim_org.h5l.kcm-socket"

// servers are those that can run here. The peers' programs are those that
// setup.sh in the directory tests has unpacked into build beside it.
func servers(bin, self, tests string) []*server {
	all := []*server{
		ours(bin, "secrets", "caches kept by sssd_secrets, the default"),
		ours(bin, "secdb", "caches kept in a database of sssd_kcm"),
		ours(bin, "memory", "caches in memory only"),
	}
	for _, peer := range []*server{debian(tests), heimdal(tests)} {
		if peer != nil {
			all = append(all, peer)
		}
	}
	return append(all, limit(self))
}

// overlay returns the start of a command that runs with a tree of unpacked
// packages laid over the machine, or says that the peer in it is left out.
func overlay(tests, tree string) []string {
	build := filepath.Join(tests, "../build", tree)
	if _, err := os.Stat(build); err != nil || os.Getuid() != 0 {
		fmt.Fprintf(os.Stderr, "SKIPPED: the server in %s (needs root, and setup.sh)\n", build)
		return nil
	}
	return []string{filepath.Join(tests, "overlay.sh"), build, "sh", "-euc"}
}

const ourConf = `[sssd]
[kcm]
ccache_storage = %s
[secrets/secrets]
max_secrets = 0
max_uid_secrets = 0
`

func ours(bin, storage, what string) *server {
	s := &server{
		name: "gosssd " + storage, what: what, durable: storage != "memory", replace: true, own: true,
		socket: "var/run/" + kcmSocket, pids: []string{"run/sssd_kcm.pid", "run/sssd_secrets.pid"},
	}
	s.command = func(dir string) (*exec.Cmd, error) {
		etc := filepath.Join(dir, "etc/sssd")
		if err := os.MkdirAll(etc, 0o755); err != nil {
			return nil, err
		}
		err := os.WriteFile(etc+"/sssd.conf", append(fmt.Appendf(nil, ourConf, storage), s.conf...), 0o600)
		return exec.Command(filepath.Join(bin, "sssd"), "-i", "--logger=files", "--root", dir), err
	}
	return s
}

const debianConf = `[sssd]
services = kcm
domains = files
[domain/files]
id_provider = files
[kcm]
max_ccache_size = 65536
max_uid_ccaches = 64
`

// debian is SSSD's sssd_kcm in a mount namespace in which its directories,
// on the same disk, are below dir.
func debian(tests string) *server {
	over := overlay(tests, "sssd")
	if over == nil {
		return nil
	}
	return &server{
		name: "SSSD", what: "sssd_kcm of Debian", durable: true, socket: "run/" + kcmSocket,
		command: func(dir string) (*exec.Cmd, error) {
			for _, sub := range []string{"lib/db", "lib/pipes/private", "lib/mc", "lib/secrets", "etc/conf.d", "log", "run"} {
				if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
					return nil, err
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "etc/sssd.conf"), []byte(debianConf), 0o600); err != nil {
				return nil, err
			}
			return exec.Command(over[0], append(over[1:], `
				mount --bind "$0/lib" /var/lib/sss
				mount --bind "$0/etc" /etc/sssd
				mount --bind "$0/log" /var/log/sssd
				mount --bind "$0/run" /run
				/usr/sbin/sssd --genconf-section=kcm
				exec /usr/libexec/sssd/sssd_kcm --uid 0 --gid 0 --logger=files`, dir)...), nil
		},
	}
}

func heimdal(tests string) *server {
	over := overlay(tests, "heimdal")
	if over == nil {
		return nil
	}
	return &server{
		name: "Heimdal", what: "kcm of Heimdal, memory only", socket: "run/" + kcmSocket,
		command: func(dir string) (*exec.Cmd, error) {
			err := os.MkdirAll(filepath.Join(dir, "run"), 0o755)
			return exec.Command(over[0], append(over[1:], `
				mount --bind "$0/run" /run
				exec /usr/sbin/kcm --config-file=/dev/null`, dir)...), err
		},
	}
}

func limit(self string) *server {
	return &server{
		name: "limit", what: "a server in Go that answers from constants", socket: "limit",
		command: func(dir string) (*exec.Cmd, error) {
			return exec.Command(self, "limit", filepath.Join(dir, "limit")), nil
		},
	}
}
