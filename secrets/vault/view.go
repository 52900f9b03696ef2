package vault

// View is what the condition of a change sees: one user's records and the
// sums of their hive, with every change before this one. It is valid during
// the call it is given to.
type View struct {
	batch *batch
	owner *owner
	rule  Rule
}

// Has reports whether there is a record.
func (v *View) Has(key string) bool {
	id := v.owner.id
	return v.batch.sealed(id, v.batch.file.names.of(id.hive, id.uid, key)) != nil
}

// Size returns the size of a record's value in bytes, 0 if there is none.
func (v *View) Size(key string) int64 {
	id := v.owner.id
	sealed := v.batch.sealed(id, v.batch.file.names.of(id.hive, id.uid, key))
	if sealed == nil {
		return 0
	}
	return valueSize(key, sealed)
}

// Keys returns the keys of all of the user's records, in no order.
func (v *View) Keys() ([]string, error) {
	var keys []string
	err := v.batch.all(v.owner.id, v.owner.summary, func(key string, value []byte) {
		clear(value)
		keys = append(keys, key)
	})
	return keys, err
}

// Counted returns how many counted records the user has.
func (v *View) Counted() int { return int(v.owner.summary.counted) }

// HiveCounted returns how many counted records all users of the hive have.
func (v *View) HiveCounted() int { return int(v.batch.total(v.owner.id.hive).counted) }

// UnitSize returns the size in bytes of all values of one unit.
func (v *View) UnitSize(unit string) (int64, error) {
	return v.batch.unitSize(v.owner, v.rule, unit)
}
