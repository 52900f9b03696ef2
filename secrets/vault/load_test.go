package vault

import "context"

// Load returns every record of one user by its key.
func (h *Hive) Load(ctx context.Context, uid uint32) (map[string][]byte, error) {
	all := map[string][]byte{}
	err := h.Each(ctx, uid, func(key string, value []byte) error {
		all[key] = value
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}
