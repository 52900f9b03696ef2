package secrets

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"

	"gosssd/confdb"
	"gosssd/responder"
)

// checkProxies says which users' Custodia servers cannot be asked, and why.
func checkProxies(conf *confdb.Snapshot) []responder.Remark {
	var mistakes []responder.Remark
	proxies := Resolve(conf).Proxies
	for _, uid := range slices.Sorted(maps.Keys(proxies)) {
		p, section := proxies[uid], userPrefix+strconv.FormatUint(uint64(uid), 10)
		if _, err := p.Target(); err != nil {
			key := "provider"
			if at, ok := errors.AsType[*optionError](err); ok && conf.Section(section).IsSet(at.key) {
				key = at.key
			}
			mistakes = append(mistakes, responder.Remark{Section: section, Key: key, Text: fmt.Sprintf("no request of this user can be served: %v", err)})
		}
		for _, file := range []struct{ key, path string }{{"capath", p.CAPath}, {"cacert", p.CACert}, {"cert", p.Cert}, {"key", p.Key}} {
			if file.path == "" {
				continue
			}
			at := section
			if !conf.Section(section).IsSet(file.key) {
				at = "secrets" // whose options are defaults
			}
			if text := responder.CheckFile(file.path); text != "" {
				mistakes = append(mistakes, responder.Remark{Section: at, Key: file.key, Text: text})
			}
		}
	}
	return mistakes
}

// optionError is what is wrong with an option of a proxy.
type optionError struct{ key, text string }

// Error names the option.
func (e *optionError) Error() string { return e.key + " " + e.text }

// Target returns the URL of the server, or which option is missing or wrong.
// The error does not quote the URL, in which a password may be.
func (p Proxy) Target() (*url.URL, error) {
	target, err := url.Parse(p.URL)
	switch {
	case p.URL == "":
		return nil, &optionError{"proxy_url", "is not set; it must be the URL of the Custodia server"}
	case err != nil:
		return nil, &optionError{"proxy_url", "is not a URL"}
	case target.Scheme != "http" && target.Scheme != "https" || target.Host == "":
		return nil, &optionError{"proxy_url", "is neither an http nor an https URL"}
	case target.RawQuery != "" || target.Fragment != "":
		return nil, &optionError{"proxy_url", "has a query or a fragment"}
	case p.AuthType == "basic_auth" && (p.Username == "" || p.Password == ""):
		return nil, &optionError{"auth_type", "is basic_auth, but username or password is not set"}
	case p.AuthType == "header" && (p.HeaderName == "" || p.HeaderValue == ""):
		return nil, &optionError{"auth_type", "is header, but auth_header_name or auth_header_value is not set"}
	}
	return target, nil
}
