package vault

// changes are records that are put (a value) or deleted (nil), by the bucket
// and the owner they belong to. What concerns the file itself belongs to no
// owner.
type changes map[group]map[string][]byte

// group is the records of one bucket that begin with the same owner.
type group struct {
	bucket string
	owner  string
}

func groupOf(bucket, name []byte) group {
	g := group{bucket: string(bucket)}
	if g.bucket != string(headBucket) {
		g.owner = string(name[:len(ownerName(0))])
	}
	return g
}

func (c changes) set(bucket, name, value []byte) {
	g := groupOf(bucket, name)
	if c[g] == nil {
		c[g] = map[string][]byte{}
	}
	c[g][string(name)] = value
}

// get returns what a record was changed to.
func (c changes) get(bucket, name []byte) (value []byte, changed bool) {
	value, changed = c[groupOf(bucket, name)][string(name)]
	return value, changed
}

// merge takes over later changes.
func (c changes) merge(later changes) {
	for g, records := range later {
		if c[g] == nil {
			c[g] = records
			continue
		}
		for name, value := range records {
			c[g][name] = value
		}
	}
}
