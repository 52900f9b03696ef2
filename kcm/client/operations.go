package client

import (
	"fmt"
	"strings"

	"gosssd/kcm/protocol"
)

// Initialize makes an empty cache for a principal, or empties the one there is.
func (c *Client) Initialize(cache string, principal protocol.Principal) error {
	_, err := c.Call(protocol.OpInitialize, protocol.AppendPrincipal(protocol.AppendName(nil, cache), principal))
	return err
}

// Store puts a credential into a cache.
func (c *Client) Store(cache string, credential protocol.Credential) error {
	_, err := c.Call(protocol.OpStore, protocol.AppendCredential(protocol.AppendName(nil, cache), credential))
	return err
}

// Credentials returns what a cache holds, in order.
func (c *Client) Credentials(cache string) ([]protocol.Credential, error) {
	results, err := c.Call(protocol.OpGetCredList, protocol.AppendName(nil, cache))
	if err != nil {
		return nil, err
	}
	r := protocol.NewReader(results)
	var credentials []protocol.Credential
	for _, raw := range r.CredentialList() {
		credential, err := protocol.ParseCredential(raw)
		if err != nil {
			return nil, fmt.Errorf("%v: credential %d: %w", protocol.OpGetCredList, len(credentials), err)
		}
		credentials = append(credentials, credential)
	}
	return credentials, r.Err()
}

// Default returns the name of the user's default cache.
func (c *Client) Default() (string, error) {
	results, err := c.Call(protocol.OpGetDefaultCache)
	return strings.TrimSuffix(string(results), "\x00"), err
}
