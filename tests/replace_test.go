package tests

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

// TestAReplaceIsWholeWhateverIsKilled kills a process with SIGKILL while it
// works on a REPLACE, again and again. Without a monitor, which would take its
// time before it starts a process again that dies so often.
func TestAReplaceIsWholeWhateverIsKilled(t *testing.T) {
	t.Parallel()
	for storage, programs := range map[string][]string{"secdb": {"sssd_kcm"}, "secrets": {"sssd_kcm", "sssd_secrets"}} {
		t.Run(storage, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, kept(storage))
			if out, err := exec.Command(s.bin+"/sssd", "--genconf", "--root", s.root).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			replaceAndKill(t, s, programs)
		})
	}
}

// sockets of the responders below the root.
var sockets = map[string]string{"sssd_kcm": "/var/run/.heim_org.h5l.kcm-socket", "sssd_secrets": "/var/run/secrets.socket"}

// alone starts a responder without a monitor and returns when it listens.
func (s *system) alone(program string) *exec.Cmd {
	s.t.Helper()
	_ = os.Remove(s.path(sockets[program]))
	cmd := exec.Command(s.bin+"/"+program, "--root", s.root)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if c, err := net.Dial("unix", s.path(sockets[program])); err == nil {
			c.Close()
			return cmd
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s does not listen", program)
		}
	}
}

// version is a content of the cache that tells one REPLACE from the next.
func version(name string, n int) []byte {
	params := binary.BigEndian.AppendUint32(protocol.AppendName(nil, name), uint32(n))
	client := principal(fmt.Sprintf("version%d", n))
	var list [][]byte
	for i := range 50 {
		list = append(list, protocol.AppendCredential(nil, protocol.Credential{
			Client: client, Server: principal("host", fmt.Sprintf("%d-%d", n, i)), Times: protocol.Times{End: 0x7fffffff},
			Ticket: bytes.Repeat([]byte{byte(n)}, 3000),
		}))
	}
	return protocol.AppendCredentialList(protocol.AppendPrincipal(params, client), list)
}

// isVersion says what of the cache is not of a version, "" if all is.
func isVersion(c *kcmClient, name string, n int) (string, error) {
	owner, err := c.Call(protocol.OpGetPrincipal, protocol.AppendName(nil, name))
	if err != nil {
		return "", err
	}
	offset, err := c.Call(protocol.OpGetKDCOffset, protocol.AppendName(nil, name))
	if err != nil {
		return "", err
	}
	list, err := c.Call(protocol.OpGetCredList, protocol.AppendName(nil, name))
	if err != nil {
		return "", err
	}
	got := slices.Concat(protocol.AppendName(nil, name), offset, owner, list)
	if !bytes.Equal(got, version(name, n)) {
		return fmt.Sprintf("%d bytes, principal %q, offset %x", len(got), owner, offset), nil
	}
	return "", nil
}

func replaceAndKill(t *testing.T, s *system, programs []string) {
	const rounds = 24
	random := rand.New(rand.NewPCG(3, 7))
	running := map[string]*exec.Cmd{}
	for _, program := range slices.Backward(programs) {
		running[program] = s.alone(program)
	}
	end := func(program string) {
		_ = running[program].Process.Kill()
		_ = running[program].Wait()
	}
	defer func() {
		for _, program := range programs {
			end(program)
		}
	}()
	name, c := fmt.Sprint(os.Getuid()), s.kcm()
	if _, err := c.Call(protocol.OpReplace, version(name, 0)); err != nil {
		t.Fatal(err)
	}
	pause := 4 * time.Millisecond // follows what is needed for both outcomes
	kept, news, olds := 0, 0, 0
	for n := 1; n <= rounds; n++ {
		victim := programs[n%len(programs)]
		if err := c.Send(protocol.OpReplace, version(name, n)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(pause + time.Duration(random.Int64N(int64(pause))))
		end(victim)
		_, replyErr := c.Results(protocol.OpReplace)
		running[victim] = s.alone(victim)
		c.reset()
		wrong, err := isVersion(c, name, n)
		if err != nil {
			t.Fatalf("round %d: %v", n, err)
		}
		if wrong == "" {
			kept, news, pause = n, news+1, pause*2/3
			continue
		}
		if replyErr == nil {
			t.Fatalf("round %d: acknowledged, and then lost: %s", n, wrong)
		}
		if wrong, err := isVersion(c, name, kept); wrong != "" || err != nil {
			t.Fatalf("round %d: neither old nor new: %s, %v", n, wrong, err)
		}
		olds++
		pause = pause*4/3 + time.Microsecond
	}
	t.Logf("%d kills while a REPLACE was on its way: %d times the new cache is there, %d times the old one", rounds, news, olds)
	if news == 0 || olds == 0 {
		t.Error("the kills have always been too early or too late; that shows nothing")
	}
}
