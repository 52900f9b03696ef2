package secrets

// Damaged tells of records of one user that cannot be read as a whole. It is
// what the service says to GET /vault/damaged.
type Damaged struct {
	Hive string `json:"hive"` // "secrets", or "kcm" for credential caches
	UID  uint32 `json:"uid"`
	What string `json:"what"`
}

// Repaired tells what became of a user's records: the answer to a POST of
// /vault/repair/HIVE/UID.
type Repaired struct {
	Kept    int `json:"kept"`
	Deleted int `json:"deleted"`
}
