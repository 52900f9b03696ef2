package kdc

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// closedPort returns an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// behave listens on TCP, reads the request, and lets f go on.
func behave(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 64<<10))
				f(conn)
			}()
		}
	}()
	return l.Addr().String()
}

func TestEveryTransportReachesTheKDC(t *testing.T) {
	for name, address := range map[string]func(*testing.T, *Realms) []string{
		"TCP only, chosen by nobody": func(t *testing.T, _ *Realms) []string { return []string{listenTCP(t, newKDC(t))} },
		"UDP only, chosen by nobody": func(t *testing.T, _ *Realms) []string { return []string{listenUDP(t, newKDC(t))} },
		"TCP, chosen":                func(t *testing.T, _ *Realms) []string { return []string{"tcp/" + listenTCP(t, newKDC(t))} },
		"UDP, chosen":                func(t *testing.T, _ *Realms) []string { return []string{"udp/" + listenUDP(t, newKDC(t))} },
		"the second of two":          func(t *testing.T, _ *Realms) []string { return []string{closedPort(t), listenTCP(t, newKDC(t))} },
		"by kdcinfo before krb5.conf": func(t *testing.T, r *Realms) []string {
			write(t, filepath.Join(r.KDCInfo, "kdcinfo."+testRealm), "# SSSD\n\n"+listenTCP(t, newKDC(t))+"\n")
			return []string{"not a server:x:y"}
		},
		"by DNS": func(t *testing.T, r *Realms) []string {
			address := listenTCP(t, newKDC(t))
			r.SRV = func(_ context.Context, network, realm string) ([]Server, error) {
				if network == "tcp" && realm == testRealm {
					return []Server{{TCP, address}}, nil
				}
				return nil, nil
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := realmsOf(t)
			servers := address(t, r)
			r.Files = realmsOf(t, servers...).Files
			if r.SRV != nil {
				write(t, r.Files[0], "[libdefaults]\n")
			}
			if _, err := r.Renew(t.Context(), newTGT(t, newKDC(t), 18), 0); err != nil {
				t.Error(err)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A KDC that misbehaves costs one attempt, and the next KDC answers.
func TestAKDCThatMisbehavesIsPassedOver(t *testing.T) {
	released := make(chan struct{})
	defer close(released)
	for name, f := range map[string]func(net.Conn){
		"it closes at once":        func(net.Conn) {},
		"it announces 2 GiB":       func(c net.Conn) { _, _ = c.Write([]byte{0x7f, 0xff, 0xff, 0xff, 1}); <-released },
		"it announces 4 GiB":       func(c net.Conn) { _, _ = c.Write([]byte{0xff, 0xff, 0xff, 0xff}) },
		"it sends half a length":   func(c net.Conn) { _, _ = c.Write([]byte{0, 0}) },
		"it sends half a reply":    func(c net.Conn) { _, _ = c.Write([]byte{0, 0, 4, 0, 1, 2, 3}) },
		"it is silent":             func(net.Conn) { <-released },
		"it sends a byte a second": func(c net.Conn) { _, _ = c.Write([]byte{0, 0, 4, 0, 1}); <-released },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKDC(t)
			r := realmsOf(t, "tcp/"+behave(t, f), "tcp/"+listenTCP(t, k))
			if _, err := r.Renew(t.Context(), newTGT(t, k, 18), 0); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheDeadlineIsKept(t *testing.T) {
	released := make(chan struct{})
	defer close(released)
	silent := behave(t, func(net.Conn) { <-released })
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	r := realmsOf(t, "tcp/"+silent, "udp/"+socket.LocalAddr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = r.Renew(ctx, newTGT(t, newKDC(t), 18), 0)
	var away *Unreachable
	if !errors.As(err, &away) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want one that is Unreachable and DeadlineExceeded", err)
	}
}

func TestNoKDCsAtAll(t *testing.T) {
	for name, test := range map[string]struct {
		conf string
		want string
	}{
		"none is named":        {"[libdefaults]\ndns_lookup_kdc = no\n", "no KDC of EXAMPLE.TEST answers: krb5.conf, SSSD's kdcinfo and DNS name none"},
		"a name that is none":  {"[realms]\nEXAMPLE.TEST = {\nkdc = a:b:c\n}\n", `kdc of realm EXAMPLE.TEST in krb5.conf: "a:b:c" is not a server`},
		"a proxy that is none": {"[realms]\nEXAMPLE.TEST = {\nkdc = https:///x\n}\n", `"https:///x" is not the URL of a KDC proxy`},
		"a broken krb5.conf":   {"[realms\n", "krb5.conf:1: expected [SECTION]"},
	} {
		t.Run(name, func(t *testing.T) {
			r := realmsOf(t)
			write(t, r.Files[0], test.conf)
			if _, err := r.Renew(t.Context(), newTGT(t, newKDC(t), 18), 0); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestServersAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]Server{
		"kdc.example.org":              {Any, "kdc.example.org:88"},
		"kdc.example.org:750":          {Any, "kdc.example.org:750"},
		"192.0.2.1":                    {Any, "192.0.2.1:88"},
		"192.0.2.1:750":                {Any, "192.0.2.1:750"},
		"2001:db8::1":                  {Any, "[2001:db8::1]:88"},
		"[2001:db8::1]":                {Any, "[2001:db8::1]:88"},
		"[2001:db8::1]:750":            {Any, "[2001:db8::1]:750"},
		"tcp/kdc.example.org":          {TCP, "kdc.example.org:88"},
		"https://kdc.example.org/Kdc":  {HTTPS, "https://kdc.example.org/Kdc"},
		"kdc.example.org  # the first": {Any, "kdc.example.org:88"},
	} {
		if got, err := parseServer(text); err != nil || got != want {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", ":88", "host:", "host:0", "host:65536", "host:x", "[::1", "a:b:c", "https://", strings.Repeat("x", 300)} {
		if got, err := parseServer(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// proxy is a KDC proxy in front of a KDC.
func proxy(t *testing.T, answer func(request []byte) []byte) (url, authority string) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		request, err := decodeProxyMessage(body)
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/kerberos" {
			http.Error(w, "not for me", http.StatusBadRequest)
			return
		}
		_, _ = w.Write(answer(request))
	}))
	t.Cleanup(server.Close)
	authority = filepath.Join(t.TempDir(), "ca.pem")
	write(t, authority, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return server.URL + "/KdcProxy", authority
}

func TestAKDCProxy(t *testing.T) {
	k := newKDC(t)
	wrap := func(reply []byte) []byte {
		message, err := encodeProxyMessage("", reply)
		if err != nil {
			t.Error(err)
		}
		return message
	}
	url, authority := proxy(t, func(request []byte) []byte { return wrap(k.Answer(request)) })
	tgt := newTGT(t, k, 18)
	r := realmsOf(t, url+"\n\t\thttp_anchors = FILE:"+authority)
	if _, err := r.Renew(t.Context(), tgt, 0); err != nil {
		t.Error(err)
	}
	r = realmsOf(t, url+"\n\t\thttp_anchors = DIR:"+filepath.Dir(authority))
	if _, err := r.Renew(t.Context(), tgt, 0); err != nil {
		t.Error(err)
	}
	if _, err := realmsOf(t, url).Renew(t.Context(), tgt, 0); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a proxy that nobody vouches for: %v", err)
	}
	if _, err := realmsOf(t, url+"\n\t\thttp_anchors = PKCS11:x").Renew(t.Context(), tgt, 0); err == nil || !strings.Contains(err.Error(), "is not FILE:PATH, DIR:PATH or ENV:NAME") {
		t.Error(err)
	}
	url, authority = proxy(t, func([]byte) []byte { return []byte("busy") })
	if _, err := realmsOf(t, url+"\n\t\thttp_anchors = FILE:"+authority).Renew(t.Context(), tgt, 0); err == nil || !strings.Contains(err.Error(), "no KDC-PROXY-MESSAGE") {
		t.Error(err)
	}
}

func FuzzProxyMessage(f *testing.F) {
	message, err := encodeProxyMessage(testRealm, []byte("message"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(message)
	f.Fuzz(func(t *testing.T, b []byte) {
		if inner, err := decodeProxyMessage(b); err == nil && len(inner) == 0 {
			t.Error("an empty message was taken")
		}
	})
}
