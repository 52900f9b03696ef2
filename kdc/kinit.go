package kdc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"

	"gosssd/kcm/protocol"
	"gosssd/kdc/profile"
)

// A FILE cache of version 4 begins with its version, the length of a list of
// tags, and for us one tag: the offset of the KDC's clock (krb5's
// doc/formats/ccache_file_format).
const (
	fileVersion  = 0x0504
	tagOffset    = 1
	offsetLength = 8
)

// wantsLibrary reports whether a KDC's refusal says that it wants something
// that libkrb5 can do and this package cannot, above all armor (FAST), which
// Active Directory demands by KDC_ERR_POLICY. So does a krb5.conf that is made
// by a module of libkrb5.
func wantsLibrary(err error) bool {
	if errors.Is(err, profile.ErrModule) {
		return true
	}
	var refused *Refused
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code {
	case errorcode.KDC_ERR_POLICY, errorcode.KDC_ERR_ETYPE_NOSUPP,
		errorcode.KDC_ERR_PADATA_TYPE_NOSUPP, errorcode.KDC_ERR_PREAUTH_REQUIRED:
		return true
	}
	return false
}

// byLibrary gets a ticket for a server by a program of libkrb5's, which can all
// that the library can. tgt lies in a private directory for as long as that takes.
func (r *Realms) byLibrary(ctx context.Context, tgt protocol.Credential, offset time.Duration, server protocol.Principal, command ...string) (_ protocol.Credential, err error) {
	private, err := os.MkdirTemp(r.KinitDir, kinitPrefix)
	if err != nil {
		return protocol.Credential{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(private)) }()
	path := filepath.Join(private, "ccache")
	if err := os.WriteFile(path, encodeFile(tgt, offset), 0o600); err != nil {
		return protocol.Credential{}, err
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "KRB5CCNAME=FILE:"+path)
	if r.Files != nil {
		cmd.Env = append(cmd.Env, "KRB5_CONFIG="+strings.Join(r.Files, ":"))
	}
	cmd.WaitDelay = time.Second
	if output, err := cmd.CombinedOutput(); err != nil {
		return protocol.Credential{}, fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, strings.TrimSpace(string(output[:min(len(output), 1024)])))
	}
	written, err := os.ReadFile(path)
	if err != nil {
		return protocol.Credential{}, err
	}
	got, err := decodeFile(written, tgt.Client, server)
	if err != nil {
		return got, fmt.Errorf("%s: %w", command[0], err)
	}
	return got, nil
}

// kinitPrefix begins the names of the directories with tickets for programs.
const kinitPrefix = "sssd_kcm-renew-"

// Tidy removes the tickets that a process which was killed has left in
// KinitDir. It must not be called while another one uses that.
func (r *Realms) Tidy() error {
	left, err := filepath.Glob(filepath.Join(r.KinitDir, kinitPrefix+"*"))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// encodeFile writes a FILE cache with one credential.
func encodeFile(tgt protocol.Credential, offset time.Duration) []byte {
	b := binary.BigEndian.AppendUint16(nil, fileVersion)
	b = binary.BigEndian.AppendUint16(b, 2+2+offsetLength)
	b = binary.BigEndian.AppendUint16(b, tagOffset)
	b = binary.BigEndian.AppendUint16(b, offsetLength)
	b = binary.BigEndian.AppendUint32(b, uint32(int32(offset/time.Second)))
	b = binary.BigEndian.AppendUint32(b, 0) // microseconds
	b = protocol.AppendPrincipal(b, tgt.Client)
	return protocol.AppendCredential(b, tgt)
}

// decodeFile finds the credential with these names in a FILE cache.
func decodeFile(b []byte, client, server protocol.Principal) (protocol.Credential, error) {
	r := protocol.NewReader(b)
	version := r.Uint16()
	for n := r.Uint16(); n > 0 && r.Err() == nil; n-- {
		r.Uint8()
	}
	r.Principal()
	if r.Err() != nil || version != fileVersion {
		return protocol.Credential{}, errors.New("it wrote a cache that is not of version 4")
	}
	for r.Len() > 0 {
		c := r.Credential()
		if r.Err() != nil {
			return protocol.Credential{}, fmt.Errorf("the cache that it wrote: %w", r.Err())
		}
		if c.Server.Equal(server) && c.Client.Equal(client) {
			return c, nil
		}
	}
	return protocol.Credential{}, errors.New("it wrote a cache without the ticket")
}
