package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"gosssd/cmd/responders"
	"gosssd/cmd/sssctl/explain"
	"gosssd/cmd/sssctl/output"
	"gosssd/confdb"
	"gosssd/kcm"
	"gosssd/kcm/client"
	"gosssd/kdc/profile"
	"gosssd/layout"
	"gosssd/responder"
	"gosssd/sbus"
)

func (t *tool) explainCommand() *cobra.Command {
	var of string
	var printing *output.Options
	c := &cobra.Command{
		Use:   "explain",
		Short: "Look for every known cause of a failure, and say what mends it",
		Long: "Look for every known cause of a failure, one by one, and say in words what is wrong and what mends it.\n" +
			"Root is told of the services, and with --user of the tickets of a user; a user is told of the own ones.\n" +
			"The exit status is 1 if anything is not well.",
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			var last error // what is not well does not end --watch
			err := t.show(c, printing, func() (listing output.Listing, err error) {
				listing, last, err = t.explain(of)
				return listing, err
			})
			return errors.Join(err, last)
		},
	}
	printing = output.Add(c)
	c.Flags().StringVar(&of, "user", "", "look at the tickets of `USER`, by name or number")
	return c
}

// explained is what explain --json prints.
type explained struct {
	Well   bool              `json:"well"`
	User   *uint32           `json:"user"`
	Checks []explain.Finding `json:"checks"`
}

// explain makes all checks once. amiss is errFound if one has found something.
func (t *tool) explain(of string) (listing output.Listing, amiss, err error) {
	scene, err := t.scene(of)
	if err != nil {
		return output.Listing{}, nil, err
	}
	findings := explain.Look(scene)
	answer := explained{Well: explain.AllWell(findings), Checks: findings}
	if scene.Of != nil {
		answer.User = &scene.Of.UID
	}
	if !answer.Well {
		amiss = errFound
	}
	return output.Listing{Text: explain.Text(findings), JSON: answer}, amiss, nil
}

// scene gathers what the checks look at.
func (t *tool) scene(of string) (*explain.Scene, error) {
	var named []string
	if of != "" {
		named = []string{of}
	}
	own, err := t.ownOnly(false, named)
	if err != nil {
		return nil, sentence("only root may ask about others; without --user your own tickets are looked at")
	}
	s := &explain.Scene{Now: time.Now(), Tool: layout.Current().Tool, Monitor: layout.Current().Monitor, Units: t.systemdHolds()}
	uid := uint32(os.Geteuid())
	if of != "" {
		if uid, err = uidOf(of); err != nil {
			return nil, err
		}
	}
	if own || of != "" {
		s.Of = &explain.User{UID: uid, Name: cmp.Or(userName(uid), strconv.FormatUint(uint64(uid), 10)), Self: uid == uint32(os.Geteuid())}
	}
	s.Krb5 = explain.ReadKrb5(t.krb5Files(), os.Getenv, uid, userName(uid))
	s.Socket = t.lookAtSocket(s.Krb5.Socket.Value)
	if !own {
		ctx, cancel := context.WithTimeout(context.Background(), callTime)
		defer cancel()
		if s.System, err = t.system(ctx); err != nil {
			return nil, err
		}
	}
	if s.Of != nil && s.Socket.Connect == nil && s.Socket.Stat == nil && s.Socket.Answer == nil {
		s.Of.Caches, s.Of.Err = t.cachesOf(s.Of, own, s.Socket.Path)
	}
	return s, nil
}

// ownerOfRoot is who runs the services: root, or whose directory --root names.
func (t *tool) ownerOfRoot() uint32 {
	if info, err := os.Stat(t.root.Path("/")); err == nil && t.root.Within() {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			return stat.Uid
		}
	}
	return 0
}

// krb5Files are the files that libkrb5 reads, below --root unless KRB5_CONFIG
// names others.
func (t *tool) krb5Files() []string {
	files := profile.Paths(os.Getenv)
	if os.Getenv("KRB5_CONFIG") == "" {
		for i := range files {
			files[i] = t.root.Path(files[i])
		}
	}
	return files
}

// lookAtSocket looks at the server's socket. Those who may not read the
// configuration look where krb5.conf says, and where nobody answers there, at the
// default.
func (t *tool) lookAtSocket(ofClients string) explain.Socket {
	look := func(path string) explain.Socket {
		ctx, cancel := context.WithTimeout(context.Background(), probeTime)
		defer cancel()
		return explain.LookAtSocket(ctx, path, t.ownerOfRoot(), kcm.Descriptor().Probe.Try)
	}
	path, err := t.kcmSocket()
	if err == nil {
		return look(path)
	}
	var last explain.Socket
	for _, path := range t.usualSockets(ofClients) {
		last = look(path)
		if last.Stat == nil && last.Connect == nil && last.Answer == nil {
			break
		}
	}
	return last
}

// systemdHolds reports whether systemd holds the sockets, as far as the caller may
// know.
func (t *tool) systemdHolds() bool {
	schema := responder.Schema(responders.List())
	conf, err := confdb.Open(t.root.Path(layout.Current().Database), schema)
	if err != nil {
		conf, err = confdb.NewSnapshot(schema, nil)
	}
	return err == nil && responder.SystemdHoldsSockets(conf, t.root)
}

// cachesOf reads the caches of a user; own of the caller.
func (t *tool) cachesOf(u *explain.User, own bool, socket string) (list []explain.Cache, err error) {
	kept := caches{client.New(socket, moveTime)}
	defer func() { _ = kept.Close() }()
	if own {
		mine, err := kept.mine()
		for _, x := range mine {
			list = append(list, ticketsIn(x))
		}
		return list, err
	}
	m, err := t.openMover()
	if err != nil {
		return nil, err
	}
	defer m.Close()
	var problems []error
	err = m.eachCache([]uint32{u.UID}, func(l kcm.Listed) {
		x, err := kept.read(l.Name)
		if isGone(err) {
			return // it was destroyed meanwhile, or has no principal yet
		} else if err != nil {
			problems = append(problems, err)
			return
		}
		x.Listed = l
		list = append(list, ticketsIn(x))
	})
	return list, errors.Join(append(problems, err)...)
}

// ticketsIn leaves out of a cache what is of no account, keys among it.
func ticketsIn(x contents) explain.Cache {
	c := explain.Cache{Listed: x.Listed, Offset: time.Duration(x.offset) * time.Second}
	for i := range x.credentials {
		if cred := &x.credentials[i]; c.TGT == nil && cred.Server.IsTGS() && string(cred.Server.Realm) == string(cred.Client.Realm) {
			c.TGT = &cred.Times
		}
	}
	return c
}

// system asks the services, and reads the configuration.
func (t *tool) system(ctx context.Context) (*explain.System, error) {
	y := &explain.System{Snippets: t.sources().SnippetDir}
	config, err := responder.LoadConfig(t.sources(), t.root, responders.List())
	y.Err = err
	if err == nil {
		for _, f := range config.Findings {
			if f.Kind.Stops() {
				y.Findings = append(y.Findings, f)
			}
		}
	}
	y.Pending = t.inForce() == "files are newer"
	list, err := t.describe(ctx)
	if errors.Is(err, errNotRunning) {
		y.Down = true
		list = t.orphans()
	} else if err != nil {
		return nil, err
	}
	for _, d := range list {
		y.Services = append(y.Services, t.serviceOf(d))
	}
	if y.Down {
		return y, nil
	}
	return y, t.addCounted(y)
}

// serviceOf tells of a service, and whether it answers.
func (t *tool) serviceOf(d description) explain.Service {
	s := explain.Service{ServiceStatus: d.status}
	for _, r := range responders.List() {
		if r.Name != d.Name {
			continue
		}
		s.Log = t.root.Path(responder.LogDir + "/" + r.Program() + ".log")
		if s.State == sbus.StateBackOff {
			s.Reason = lastGrave(s.Log)
		}
		if s.State == sbus.StateRunning {
			ctx, cancel := context.WithTimeout(context.Background(), probeTime)
			s.Broken = r.Probe.Try(ctx, s.Socket)
			cancel()
		}
	}
	return s
}

// grave is a line of a log that tells why a program cannot go on.
var grave = regexp.MustCompile(`\(0x00[1-4]0\): (.*)`)

// logTail is how many bytes of a log are looked at.
const logTail = 16 << 10

// lastGrave returns the text of the last such line of a log, or "".
func lastGrave(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > logTail {
		if _, err := f.Seek(-logTail, io.SeekEnd); err != nil {
			return ""
		}
	}
	tail, err := io.ReadAll(io.LimitReader(f, logTail))
	found := grave.FindAllStringSubmatch(string(tail), -1)
	if err != nil || len(found) == 0 {
		return ""
	}
	return strings.TrimSpace(found[len(found)-1][1])
}

// addCounted adds what the metrics tell of stores and limits.
func (t *tool) addCounted(y *explain.System) error {
	h, err := t.health()
	if err != nil {
		return err
	}
	for _, sample := range h.families.named("gosssd_store_free_bytes").Samples {
		name := sample.Labels["service"]
		y.Stores = append(y.Stores, explain.Store{Service: name, Dir: t.root.Path(responder.SecretsDir), Free: uint64(sample.Value),
			Full: h.families.sum("gosssd_store_full", "service", name) > 0})
	}
	conf, err := confdb.Open(t.root.Path(layout.Current().Database), responder.Schema(responders.List()))
	if err != nil {
		return nil // which sssd says, and mends
	}
	for _, u := range h.Fullest {
		if u.Part >= nearFull {
			y.Fullest = append(y.Fullest, explain.Full{UID: u.UID, Name: cmp.Or(userName(u.UID), strconv.FormatUint(uint64(u.UID), 10)),
				Part: u.Part, Limit: u.Limit, Value: conf.Section("kcm").Int(u.Limit), Spare: t.spare(u.UID)})
		}
	}
	return nil
}

// spare is a cache of a user whose tickets have expired, or "".
func (t *tool) spare(uid uint32) (name string) {
	m, err := t.openMover()
	if err != nil {
		return ""
	}
	defer m.Close()
	now := time.Now().Unix()
	err = m.eachCache([]uint32{uid}, func(c kcm.Listed) {
		if name == "" && !c.Default && c.End != 0 && c.End <= now {
			name = c.Name
		}
	})
	if err != nil {
		return ""
	}
	return name
}
