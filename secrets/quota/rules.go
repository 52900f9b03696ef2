package quota

import (
	"strings"
	"time"
)

// containers is the unit that all containers of a user are part of. No secret
// has this name. Since each of them has the same size, that of the unit is
// their number.
const containers = "/"

// Container returns the value of the record of a container that is made now.
func Container(now time.Time) []byte { return now.UTC().AppendFormat(nil, time.RFC3339) }

// ContainerSize is the size of such a value, in bytes.
const ContainerSize = int64(len("2006-01-02T15:04:05Z"))

// IsContainer reports whether a key is that of a container.
func IsContainer(key string) bool { return strings.HasSuffix(key, "/") }

// Users is the rule of the hive of the users' own secrets: every record is one
// secret, but for containers.
func Users(key string) (unit string, counted bool) {
	if IsContainer(key) {
		return containers, false
	}
	return key, true
}

// KCM is the rule of the hive of credential caches. A cache, ccache/NAME, is
// one secret with all records below it; the name of the default cache is none.
func KCM(key string) (unit string, counted bool) {
	if IsContainer(key) {
		return containers, false
	}
	if name, isCache := strings.CutPrefix(key, "ccache/"); isCache {
		cache, _, isPart := strings.Cut(name, "/")
		if isPart && cache != "" {
			return "ccache/" + cache, false
		}
	}
	return key, key != "default"
}
