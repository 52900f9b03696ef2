package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const kcmSocket = ".heim_org.h5l.kcm-socket"

// The programs of the peers, where Debian has them.
const (
	debianKCM  = "/usr/libexec/sssd/sssd_kcm"
	heimdalKCM = "/usr/sbin/kcm"
)

// servers are those that can run here.
func servers(bin, self string) []*server {
	all := []*server{
		ours(bin, "secrets", "caches kept by sssd_secrets, the default"),
		ours(bin, "secdb", "caches kept in a database of sssd_kcm"),
		ours(bin, "memory", "caches in memory only"),
	}
	for _, peer := range []*server{debian(), heimdal()} {
		if os.Getuid() == 0 && installed(peer.what) {
			all = append(all, peer)
		} else {
			fmt.Fprintf(os.Stderr, "SKIPPED: %s (needs root and its package)\n", peer.name)
		}
	}
	return append(all, limit(self))
}

func installed(what string) bool {
	program := debianKCM
	if what == heimdal().what {
		program = heimdalKCM
	}
	_, err := os.Stat(program)
	return err == nil
}

const ourConf = `[sssd]
[kcm]
ccache_storage = %s
[secrets/secrets]
max_secrets = 0
max_uid_secrets = 0
`

func ours(bin, storage, what string) *server {
	return &server{
		name: "gosssd " + storage, what: what, durable: storage != "memory", replace: true, own: true,
		socket: "var/run/" + kcmSocket, pids: []string{"run/sssd_kcm.pid", "run/sssd_secrets.pid"},
		command: func(dir string) (*exec.Cmd, error) {
			etc := filepath.Join(dir, "etc/sssd")
			if err := os.MkdirAll(etc, 0o755); err != nil {
				return nil, err
			}
			err := os.WriteFile(etc+"/sssd.conf", fmt.Appendf(nil, ourConf, storage), 0o600)
			return exec.Command(filepath.Join(bin, "sssd"), "-i", "--logger=files", "--root", dir), err
		},
	}
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
func debian() *server {
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
			return exec.Command("unshare", "--mount", "sh", "-euc", `
				mount --bind "$0/lib" /var/lib/sss
				mount --bind "$0/etc" /etc/sssd
				mount --bind "$0/log" /var/log/sssd
				mount --bind "$0/run" /run
				/usr/sbin/sssd --genconf-section=kcm
				exec `+debianKCM+` --uid 0 --gid 0 --logger=files`, dir), nil
		},
	}
}

func heimdal() *server {
	return &server{
		name: "Heimdal", what: "kcm of Heimdal, memory only", socket: "run/" + kcmSocket,
		command: func(dir string) (*exec.Cmd, error) {
			err := os.MkdirAll(filepath.Join(dir, "run"), 0o755)
			return exec.Command("unshare", "--mount", "sh", "-euc", `
				mount --bind "$0/run" /run
				exec `+heimdalKCM+` --config-file=/dev/null`, dir), err
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
