package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// FuzzPages asserts that the engine can walk, and change, every file that
// checkPages finds nothing wrong with.
func FuzzPages(f *testing.F) {
	seeds := 0
	for _, records := range []int{0, 3, 80} {
		path := filepath.Join(f.TempDir(), "seed.db")
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 1024, NoSync: true})
		if err != nil {
			f.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("a bucket"))
			for i := range records {
				if err == nil {
					err = bucket.Put([]byte{byte(i), byte(i >> 8)}, make([]byte, i))
				}
			}
			return err
		})
		if err != nil {
			f.Fatal(err)
		}
		db.Close()
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		used, err := checkPages(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:int64(used.pages)*used.pageSize])
		seeds++
	}
	if seeds == 0 {
		f.Fatal("there are no seeds")
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := checkPages(bytes.NewReader(data), int64(len(data))); err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "fuzz.db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, NoGrowSync: true, FreelistType: bbolt.FreelistMapType})
		if err != nil {
			return
		}
		defer db.Close()
		err = db.View(func(tx *bbolt.Tx) error {
			return tx.ForEach(func(_ []byte, bucket *bbolt.Bucket) error {
				return bucket.ForEach(func(key, value []byte) error {
					_ = bytes.Clone(key)
					_ = bytes.Clone(value)
					return nil
				})
			})
		})
		if err != nil {
			t.Log(err)
		}
	})
}

func TestTheStructureOfEveryFileTheEngineWritesIsRight(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for round := range 30 {
		err := db.Update(func(tx *bbolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte{byte(round % 3)})
			if err != nil {
				return err
			}
			for i := range 100 {
				key := []byte{byte(i * 7), byte(round * 11), byte(i)}
				if (i+round)%3 == 0 {
					err = bucket.Delete([]byte{byte(i * 7), byte((round - 3) * 11), byte(i)})
				} else {
					err = bucket.Put(key, make([]byte, i*i))
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		used, err := checkPages(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if used.used > used.pages || used.used < 4 {
			t.Errorf("round %d: %+v", round, used)
		}
	}
}
