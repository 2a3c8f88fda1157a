package collection_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/runnel-io/runnel/internal/collection"
	"github.com/runnel-io/runnel/internal/store"
)

// BenchmarkPut is what decided up to which size a content is in the store: 16
// writers replace files on a disk.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 1 << 20} {
		for where, small := range map[string]int{"store": 1 << 20, "blob": -1} {
			b.Run(fmt.Sprintf("%s/%dKiB", where, size>>10), func(b *testing.B) {
				dir := b.TempDir()
				s, err := store.Open(dir, store.Options{})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				set, err := collection.Open(s, collection.Options{Dir: dir + "/blobs", FS: store.Disk, Small: small})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := set.Create(b.Context(), things, collection.Private); err != nil {
					b.Fatal(err)
				}
				content := make([]byte, size)
				_, _ = rand.Read(content) // never fails
				b.SetBytes(int64(size))
				b.SetParallelism(8)
				var n atomic.Int64
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						name := fmt.Sprint("f", n.Add(1)%1000)
						if _, err := set.Put(b.Context(), things, name, collection.Content{Reader: bytes.NewReader(content), Size: int64(size)}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}
