package tests

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gosssd/kcm/protocol"
)

// codec is libkrb5's own codec of credentials, in a process of its own.
type codec struct {
	in  io.WriteCloser
	out *bufio.Reader
}

func startCodec(t testing.TB, program string) *codec {
	t.Helper()
	cmd := exec.Command(program)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("libkrb5's codec: %v", err)
		}
	})
	return &codec{in, bufio.NewReader(out)}
}

func (c *codec) next() ([]byte, error) {
	var length uint32
	if err := binary.Read(c.out, binary.BigEndian, &length); err != nil {
		return nil, err
	}
	b := make([]byte, length)
	_, err := io.ReadFull(c.out, b)
	return b, err
}

// reading is what somebody makes of bytes: nothing, or a credential.
type reading struct {
	taken          bool
	written        []byte
	client, server string
}

func (c *codec) read(b []byte) (r reading, err error) {
	if _, err := c.in.Write(protocol.AppendData(nil, b)); err != nil {
		return r, err
	}
	word, err := c.next()
	if err != nil || string(word) == "r" {
		return r, err
	}
	var parts [3][]byte
	for i := range parts {
		part, failed := c.next()
		parts[i], err = part, errors.Join(err, failed)
	}
	return reading{true, parts[0], string(parts[1]), string(parts[2])}, err
}

// differ says how the product reads a credential otherwise than libkrb5 does;
// "" if it does not.
func (c *codec) differ(b []byte) (string, error) {
	theirs, err := c.read(b)
	if err != nil {
		return "", err
	}
	r := protocol.NewReader(b)
	own := r.Credential()
	if why := r.Err(); (why == nil) != theirs.taken {
		if why != nil && theirs.taken && mayRefuse(theirs.written) {
			return "", nil
		}
		return fmt.Sprintf("taken by libkrb5: %v, by the product: %v", theirs.taken, why), nil
	}
	if !theirs.taken {
		return "", nil
	}
	if written := protocol.AppendCredential(nil, own); !bytes.Equal(written, theirs.written) {
		return fmt.Sprintf("libkrb5 writes %x, the product %x", theirs.written, written), nil
	}
	for _, names := range [][2]string{{own.Client.String(), theirs.client}, {own.Server.String(), theirs.server}} {
		if names[0] != names[1] {
			return fmt.Sprintf("libkrb5 calls a principal %q, the product %q", names[1], names[0]), nil
		}
	}
	return "", nil
}

// mayRefuse says whether the product's own limit is in the way.
func mayRefuse(written []byte) bool { return len(written) > 4*protocol.MaxItems }

// mutated returns a credential with some of its bytes changed, moved or gone.
// Lengths and counts are changed most, since codecs fail by them.
func mutated(random *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + random.IntN(3) {
		at := random.IntN(len(b))
		switch random.IntN(6) {
		case 0:
			b[at] ^= 1 << random.IntN(8)
		case 1:
			b[at] = byte(random.Uint32())
		case 2:
			b = b[:at+1]
		case 3:
			b = append(b[:at], b[min(len(b), at+1+random.IntN(8)):]...)
			if len(b) == 0 {
				b = []byte{0}
			}
		case 4:
			b = append(b[:at:at], append([]byte{0, 0, 0, byte(random.IntN(4))}, b[at:]...)...)
		case 5:
			copy(b[at:], []byte{0xff, 0xff, 0xff, 0xff})
		}
	}
	return b
}

// credentialSeeds are the credentials of the fuzz corpus of kcm/protocol, and a few
// whose principals have what has to be escaped.
func credentialSeeds(t testing.TB) (seeds [][]byte) {
	t.Helper()
	files, err := filepath.Glob("../kcm/protocol/testdata/fuzz/FuzzCredential/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, literal, _ := strings.Cut(string(text), "[]byte(")
		literal, _, _ = strings.Cut(literal, ")\n")
		if b, err := strconv.Unquote(literal); err == nil && b != "" {
			seeds = append(seeds, []byte(b))
		}
	}
	for _, component := range []string{"", "a/b", "a@b", `a\b`, "a\x00b", "a\nb\tc\b", "\xff", " "} {
		c := ticket(principal("alice", component), component, []byte("ticket"))
		c.Client.Realm = []byte("R" + component)
		c.Addresses = []protocol.Element{{Type: 2, Data: []byte{10, 0, 0, 1}}}
		c.AuthData = []protocol.Element{{Type: 1, Data: nil}, {Type: -1, Data: []byte("x")}}
		seeds = append(seeds, protocol.AppendCredential(nil, c))
	}
	return seeds
}

// TestCredentialsAreReadAsLibkrb5Does compares the codecs of credentials and
// principals with libkrb5's, on seeds and on what becomes of them by chance. The
// number of the seed is fixed: a failure is found again.
func TestCredentialsAreReadAsLibkrb5Does(t *testing.T) {
	t.Parallel()
	c := startCodec(t, compile(t, "codec.c"))
	random := rand.New(rand.NewPCG(15, 7)) //nolint:gosec // repeatable, not secret
	seeds := credentialSeeds(t)
	taken := 0
	for i := range len(seeds) + 20000 {
		b := seeds[i%len(seeds)]
		if i >= len(seeds) {
			b = mutated(random, b)
		}
		how, err := c.differ(b)
		if err != nil {
			t.Fatalf("libkrb5's codec ends at %x: %v", b, err)
		}
		if how != "" {
			t.Fatalf("%x\n%s", b, how)
		}
		if _, err := protocol.ParseCredential(b); err == nil {
			taken++
		}
	}
	if taken < 2000 {
		t.Errorf("only %d credentials are taken by both", taken)
	}
}

// FuzzLibkrb5 is the same with Go's fuzzing.
func FuzzLibkrb5(f *testing.F) {
	program, err := compiled(filepath.Join(f.TempDir(), "codec"), "codec.c")
	if err != nil {
		f.Skip(err)
	}
	for _, seed := range credentialSeeds(f) {
		f.Add(seed)
	}
	c := startCodec(f, program)
	f.Fuzz(func(t *testing.T, b []byte) {
		how, err := c.differ(b)
		if err != nil {
			t.Fatal(err)
		}
		if how != "" {
			t.Fatal(how)
		}
	})
}
