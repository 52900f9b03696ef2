package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gosssd/kcm/client"
	"gosssd/kcm/protocol"
)

// A soak is the day of a login node in an hour: 200 users whose tickets last a
// minute or two, a KDC that renews those of some, rotations, reloads.
const (
	soakUID      = 42001
	soakUsers    = 200
	soakRenewing = 4 // users with tickets of a real KDC
	soakClients  = 8 // at a time
	soakWarmUp   = 5 * time.Minute
	soakFlat     = 0.05                   // what a measure may grow by after the warm-up
	soakSettles  = 200 * time.Millisecond // the time to close what clients have left
)

const soakConf = `[kcm]
ccache_storage = secrets
purge_expired_credentials_interval = 10
purge_expired_grace = 5
tgt_renewal = true
krb5_renew_interval = 5s
debug_level = %d
`

// measure is one thing that must stay flat.
type measure struct {
	name, unit string
	floor      float64 // a growth by less is none
	values     []float64
}

// soak is such a run.
type soak struct {
	*server
	began    time.Time
	lasts    time.Duration
	requests atomic.Int64
	failures atomic.Int64
	first    atomic.Pointer[string]
	kinits   int
	times    []float64 // of the samples, in seconds
	measures []*measure
	done     map[string]float64 // what sssd_kcm says that it did

	resting sync.RWMutex // held by sessions to read, and to write while they rest
}

func (b *bench) runSoak(lasts time.Duration, plot string) error {
	i := slices.IndexFunc(b.sides, func(sd *side) bool { return sd.name == "gosssd" })
	s, err := b.start(b.sides[i], options{conf: fmt.Sprintf(soakConf, 2)})
	if err != nil {
		return err
	}
	k := &soak{server: s, began: time.Now(), lasts: lasts, done: map[string]float64{}}
	b.soak = k
	realm, err := k.startRealm(filepath.Join(b.dir, "realm"), b.tests)
	if err != nil {
		return err
	}
	defer realm()
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range soakClients {
		all.Go(func() { k.live(stop) })
	}
	all.Go(func() { k.every(stop, lasts/30+time.Second, k.logins) })
	all.Go(func() { k.every(stop, 20*time.Second, k.rotate) })
	all.Go(func() { k.every(stop, lasts/6, k.reload) })
	all.Go(func() { k.every(stop, max(lasts/600, time.Second), k.sample) })
	time.Sleep(lasts)
	close(stop)
	all.Wait()
	k.collect()
	if plot != "" {
		if err := os.WriteFile(plot, []byte(k.plot()), 0o644); err != nil {
			return err
		}
	}
	return k.verdict()
}

// every calls f again and again until stop is closed.
func (k *soak) every(stop <-chan struct{}, pause time.Duration, f func()) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(pause):
			f()
		}
	}
}

// live is one client after another: a login with a new cache, tickets for
// services, a look, now and then a logout.
func (k *soak) live(stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(20+rand.IntN(40)) * time.Millisecond):
		}
		uid := uint32(soakUID + soakRenewing + rand.IntN(soakUsers-soakRenewing))
		k.resting.RLock()
		c := k.client(uid, patience)
		k.note("a session", k.session(c, uid))
		_ = c.Close()
		k.resting.RUnlock()
	}
}

func (k *soak) session(c *client.Client, uid uint32) error {
	name := fmt.Sprintf("%d:%d", uid, rand.IntN(6))
	until := uint32(time.Now().Add(time.Duration(30+rand.IntN(90)) * time.Second).Unix())
	tgt := ticket("krbtgt", 1200)
	tgt.Times.End = until
	b := append(protocol.AppendName(nil, name), 0, 0, 0, 0)
	list := [][]byte{protocol.AppendCredential(nil, tgt)}
	if _, err := c.Call(protocol.OpReplace, protocol.AppendCredentialList(protocol.AppendPrincipal(b, principal("g")), list)); err != nil {
		return fmt.Errorf("replace: %w", err)
	}
	for i := range 3 {
		service := ticket(fmt.Sprint("host", rand.IntN(20)+i), 1000)
		service.Times.End = until
		if err := c.Store(name, service); notAbsent(err) != nil { // another client of the user may have logged out
			return fmt.Errorf("store: %w", err)
		}
	}
	_, err := c.Credentials(name)
	if err = notAbsent(err); err == nil && rand.IntN(4) == 0 {
		_, err = c.Call(protocol.OpDestroy, protocol.AppendName(nil, name))
	}
	return notAbsent(err)
}

// notAbsent takes the loss of a cache that others may remove for no error.
func notAbsent(err error) error {
	if isAbsent(err) {
		return nil
	}
	return err
}

func (k *soak) note(what string, err error) {
	k.requests.Add(1)
	if err != nil {
		k.failures.Add(1)
		said := fmt.Sprintf("after %v: %s: %v", time.Since(k.began).Round(time.Second), what, err)
		k.first.CompareAndSwap(nil, &said)
	}
}

// logins has users get tickets that are renewed.
func (k *soak) logins() {
	for i := range soakRenewing {
		uid := uint32(soakUID + i)
		cmd := exec.Command("kinit", "-l", "20s", "-r", "10m", "alice")
		cmd.Stdin, cmd.Dir = strings.NewReader("secret\n"), "/"
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "KRB5_CONFIG=" + k.dir + "/etc/krb5.conf", "KRB5CCNAME=KCM:"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if out, err := cmd.CombinedOutput(); err != nil {
			k.note("kinit", fmt.Errorf("%w: %s", err, out))
		}
		k.kinits++
	}
}

// rotate does what logrotate does.
func (k *soak) rotate() {
	logs, _ := filepath.Glob(k.dir + "/var/log/sssd/*.log")
	for _, path := range logs {
		_ = os.Rename(path, path+".1")
	}
	_ = k.process.Process.Signal(syscall.SIGHUP)
}

// reload puts another configuration in force.
func (k *soak) reload() {
	k.collect()
	level := 2 + int(k.requests.Load())%2
	err := os.WriteFile(k.dir+"/etc/sssd/sssd.conf", fmt.Appendf(nil, soakConf, level), 0o600)
	if err == nil {
		var out []byte
		if out, err = k.sssctl("restart"); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
	}
	k.note("sssctl restart", err)
}

func (k *soak) sssctl(words ...string) ([]byte, error) {
	return exec.Command(filepath.Join(k.bin, "sssctl"), append([]string{"--root", k.dir}, words...)...).CombinedOutput()
}

// collect adds up what the present sssd_kcm has purged and renewed. Counters
// begin anew with each process.
func (k *soak) collect() {
	out, _ := k.sssctl("metrics")
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil && n > 0 &&
			(strings.HasPrefix(name, "gosssd_kcm_purged") || strings.HasPrefix(name, "gosssd_kcm_renewals_total")) {
			k.done[name] += n
		}
	}
}

// startRealm runs the KDC of the tests, and tells sssd_kcm and clients of it.
func (k *soak) startRealm(dir, tests string) (stop func(), err error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	kdc := exec.Command(filepath.Join(tests, "realm.sh"), dir, strconv.Itoa(port), "default_ccache_name = KCM:", "kcm_socket = "+k.socket())
	kdc.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := kdc.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = kdc.Process.Kill()
		_ = kdc.Wait()
	}
	up := k.await(30*time.Second, func() error {
		if !listening(port) {
			return errors.New("not yet")
		}
		return nil
	})
	text, err := os.ReadFile(dir + "/krb5.conf")
	if err == nil && up < 0 {
		err = errors.New("the KDC does not come up")
	}
	if err == nil {
		err = os.WriteFile(k.dir+"/etc/krb5.conf", text, 0o644)
	}
	if err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}
