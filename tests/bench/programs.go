package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// programs measures how long kinit, kvno, klist and kdestroy of MIT krb5 take
// with a real KDC, on a FILE cache and on each of the servers in turn.
func (b *bench) programs(rounds int) error {
	stop, err := b.startRealm()
	if err != nil {
		return err
	}
	defer stop()
	type kept struct {
		name string
		env  []string
		ours bool
	}
	file := kept{"FILE", b.krb5Env("FILE", "FILE:"+filepath.Join(b.dir, "users", "ccache"), ""), true}
	kinds := []kept{file}
	for _, s := range b.servers {
		if s.name != "limit" {
			kinds = append(kinds, kept{s.name, b.krb5Env(s.name, "KCM:", s.path()), s.own})
		}
	}
	times := map[string]map[string][]time.Duration{}
	for round := range rounds {
		for _, k := range kinds {
			for _, step := range []string{"kinit alice", "kvno -q host/server.example.test", "klist", "kdestroy -q"} {
				took, err := b.program(k.env, step)
				if err != nil && !k.ours {
					fmt.Fprintf(os.Stderr, "%s with %s: %v\n", step, k.name, err)
					continue
				}
				if err != nil {
					return fmt.Errorf("%s with %s: %w", step, k.name, err)
				}
				program, _, _ := strings.Cut(step, " ")
				if times[program] == nil {
					times[program] = map[string][]time.Duration{}
				}
				if round > 0 { // the first finds nothing in memory
					times[program][k.name] = append(times[program][k.name], took)
				}
			}
		}
	}
	for _, program := range []string{"kinit", "kvno", "klist", "kdestroy"} {
		for _, k := range kinds {
			if all := times[program][k.name]; len(all) > 0 {
				slices.Sort(all)
				b.note(program+", ms", k.name, milliseconds(all[len(all)/2]))
			}
		}
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// program runs one of them as the first user.
func (b *bench) program(env []string, line string) (time.Duration, error) {
	cmd := exec.Command(strings.Fields(line)[0], strings.Fields(line)[1:]...)
	cmd.Env, cmd.Dir = env, "/"
	cmd.Stdin = strings.NewReader("secret\n")
	if uid := (load{}).uid(0); uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return time.Since(start), err
}

// krb5Env is the environment of a program that keeps its tickets in ccache.
func (b *bench) krb5Env(name, ccache, socket string) []string {
	base, _ := os.ReadFile(filepath.Join(b.dir, "realm", "krb5.conf"))
	text := string(base)
	if socket != "" {
		text = strings.Replace(text, "[libdefaults]\n", "[libdefaults]\n  kcm_socket = "+socket+"\n", 1)
	}
	conf := filepath.Join(b.dir, strings.ReplaceAll(name, " ", "-")+".krb5.conf")
	_ = os.WriteFile(conf, []byte(text), 0o644)
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "KRB5_CONFIG=" + conf, "KRB5CCNAME=" + ccache}
}

// startRealm runs the KDC of the tests.
func (b *bench) startRealm() (stop func(), err error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	users := filepath.Join(b.dir, "users")
	if err := os.MkdirAll(users, 0o777); err != nil {
		return nil, err
	}
	if err := os.Chmod(users, 0o777); err != nil {
		return nil, err
	}
	kdc := exec.Command(filepath.Join(b.tests, "realm.sh"), filepath.Join(b.dir, "realm"), fmt.Sprint(port))
	if err := kdc.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = kdc.Process.Kill()
		_ = kdc.Wait()
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return stop, c.Close()
		}
		if time.Now().After(deadline) {
			stop()
			return nil, fmt.Errorf("the KDC does not come up: %w", err)
		}
	}
}
