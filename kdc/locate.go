package kdc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gosssd/kdc/profile"
)

// SSSDsKDCInfo is where SSSD leaves the KDCs that it uses itself, for the locator
// plugin of libkrb5 (sssd_krb5_locator_plugin(8)).
const SSSDsKDCInfo = "/var/lib/sss/pubconf"

const (
	kerberosPort    = 88
	maxKDCInfo      = 64 << 10 // bytes that are read of such a file
	maxServers      = 64       // of a realm; more are not asked
	maxNameOfServer = 255
)

// Transport is how a server wants to be spoken to.
type Transport int

// The transports. Any is TCP or UDP, whichever suits the request.
const (
	Any Transport = iota
	TCP
	UDP
	HTTPS // the KDC proxy protocol, MS-KKDCP
)

// Server is a KDC, or a proxy for one.
type Server struct {
	Transport Transport
	Address   string // host:port, or the URL of a proxy
}

func (s Server) String() string { return s.Address }

func (r *Realms) profile() (*profile.Profile, error) {
	files := r.Files
	if files == nil {
		files = profile.Paths(os.Getenv)
	}
	return profile.Load(files...)
}

// locate returns the KDCs of a realm in the order in which they are asked:
// those of SSSD's kdcinfo file, or else of krb5.conf, or else of DNS.
func (r *Realms) locate(ctx context.Context, conf *profile.Profile, realm string) ([]Server, error) {
	servers, err := r.fromKDCInfo(realm)
	if len(servers) > 0 || err != nil {
		return servers, err
	}
	for _, value := range conf.Values("realms", realm, "kdc") {
		server, err := parseServer(value)
		if err != nil {
			return nil, fmt.Errorf("kdc of realm %s in krb5.conf: %w", realm, err)
		}
		servers = append(servers, server)
	}
	if len(servers) > 0 || !conf.Bool(conf.Bool(true, "libdefaults", "dns_fallback"), "libdefaults", "dns_lookup_kdc") {
		return servers[:min(len(servers), maxServers)], nil
	}
	return r.fromDNS(ctx, realm)
}

// fromKDCInfo reads kdcinfo.REALM: a server on each line.
func (r *Realms) fromKDCInfo(realm string) ([]Server, error) {
	if strings.ContainsAny(realm, "/\x00") || realm == "" {
		return nil, nil // never the name of a file
	}
	dir := r.KDCInfo
	if dir == "" {
		dir = SSSDsKDCInfo
	}
	file, err := os.Open(filepath.Join(dir, "kdcinfo."+realm))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxKDCInfo))
	if err != nil {
		return nil, err
	}
	var servers []Server
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		server, err := parseServer(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name(), err)
		}
		servers = append(servers, server)
	}
	return servers[:min(len(servers), maxServers)], nil
}

// parseServer reads host, host:port, address, [address]:port, or the URL of a
// proxy, which a transport may stand in front of: tcp/ or udp/.
func parseServer(text string) (Server, error) {
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return Server{}, errors.New("a server without a name")
	}
	text = fields[0]
	if len(text) > maxNameOfServer && !strings.HasPrefix(text, "https://") {
		return Server{}, fmt.Errorf("a server's name of %d bytes", len(text))
	}
	if strings.HasPrefix(text, "https://") {
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" {
			return Server{}, fmt.Errorf("%q is not the URL of a KDC proxy", text)
		}
		return Server{HTTPS, u.String()}, nil
	}
	server := Server{}
	if host, isTCP := strings.CutPrefix(text, "tcp/"); isTCP {
		server.Transport, text = TCP, host
	} else if host, isUDP := strings.CutPrefix(text, "udp/"); isUDP {
		server.Transport, text = UDP, host
	}
	host, port := text, strconv.Itoa(kerberosPort)
	bare := text
	if inside, bracketed := strings.CutPrefix(text, "["); bracketed && strings.HasSuffix(inside, "]") {
		bare = strings.TrimSuffix(inside, "]")
	}
	switch {
	case net.ParseIP(bare) != nil:
		host = bare
	case strings.Contains(text, ":"):
		var err error
		if host, port, err = net.SplitHostPort(text); err != nil {
			return Server{}, fmt.Errorf("%q is not a server, expected HOST or HOST:PORT", text)
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return Server{}, fmt.Errorf("%q is not a server, expected HOST or HOST:PORT", text)
	}
	server.Address = net.JoinHostPort(host, port)
	return server, nil
}

// fromDNS asks for the SRV records of RFC 4120 §7.2.3.2.
func (r *Realms) fromDNS(ctx context.Context, realm string) ([]Server, error) {
	lookup := r.SRV
	if lookup == nil {
		lookup = lookupSRV
	}
	servers, err := lookup(ctx, "udp", realm)
	overTCP, errTCP := lookup(ctx, "tcp", realm)
	servers = append(servers, overTCP...)
	if len(servers) == 0 && (err != nil || errTCP != nil) {
		return nil, errors.Join(err, errTCP)
	}
	return servers[:min(len(servers), maxServers)], nil
}

func lookupSRV(ctx context.Context, network, realm string) ([]Server, error) {
	_, records, err := net.DefaultResolver.LookupSRV(ctx, "kerberos", network, realm+".")
	var none *net.DNSError
	if errors.As(err, &none) && none.IsNotFound {
		return nil, nil
	}
	transport := TCP
	if network == "udp" {
		transport = UDP
	}
	var servers []Server
	for _, record := range records {
		host := strings.TrimSuffix(record.Target, ".")
		if host == "" {
			continue // "." says that there is no such service (RFC 2782)
		}
		servers = append(servers, Server{transport, net.JoinHostPort(host, strconv.Itoa(int(record.Port)))})
	}
	return servers, err
}
