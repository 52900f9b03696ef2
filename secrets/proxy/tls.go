package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"gosssd/secrets"
)

// tlsConfig turns the options about certificates into Go's, for a server's host.
func tlsConfig(config secrets.Proxy, host string) (*tls.Config, error) {
	roots, err := authorities(config)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if !config.VerifyPeer || !config.VerifyHost {
		c.InsecureSkipVerify = true // in place of it, what is left to check:
		c.VerifyConnection = func(state tls.ConnectionState) error {
			return verify(state.PeerCertificates, roots, config, host)
		}
	}
	if config.Cert != "" {
		key := config.Key
		if key == "" {
			key = config.Cert
		}
		pair, err := tls.LoadX509KeyPair(config.Cert, key)
		if err != nil {
			return nil, fmt.Errorf("load cert and key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// verify checks the authority of a server's certificate, or the host it is
// for, or neither.
func verify(chain []*x509.Certificate, roots *x509.CertPool, config secrets.Proxy, host string) error {
	if len(chain) == 0 {
		return errors.New("the server has no certificate")
	}
	leaf := chain[0]
	if config.VerifyHost {
		if err := leaf.VerifyHostname(host); err != nil {
			return err
		}
	}
	if !config.VerifyPeer {
		return nil
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, certificate := range chain[1:] {
		options.Intermediates.AddCert(certificate)
	}
	_, err := leaf.Verify(options)
	return err
}

// authorities reads cacert and the files in capath; nil stands for the
// system's authorities.
func authorities(config secrets.Proxy) (*x509.CertPool, error) {
	var files []string
	if config.CACert != "" {
		files = append(files, config.CACert)
	}
	if config.CAPath != "" {
		entries, err := os.ReadDir(config.CAPath)
		if err != nil {
			return nil, fmt.Errorf("read capath: %w", err)
		}
		for _, entry := range entries {
			if path := filepath.Join(config.CAPath, entry.Name()); isFile(path) {
				files = append(files, path)
			}
		}
	}
	if files == nil && config.CAPath == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	for _, path := range files {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read authorities: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) && path == config.CACert {
			return nil, fmt.Errorf("cacert %s holds no certificate", path)
		}
	}
	return pool, nil
}

// isFile follows the symbolic links that c_rehash makes.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
