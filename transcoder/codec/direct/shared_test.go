package direct

import (
	"bytes"
	"sync"
	"testing"

	"github.com/transomhq/transom/transcoder/codec"
)

// TestShared uses one plan from many goroutines at once, from the first call
// on, when the tables are made. Run it with -race.
func TestShared(t *testing.T) {
	text := []byte(`{"fSub":{"fInt32":1,"rLeaf":[{"name":"a"}]},"wAny":{"@type":"x/transom.codectest.v1.Leaf","name":"x"},"mSub":{"k":{"wTime":"2020-01-01T00:00:00Z"}},"f_string":"s"}`)
	plan, err := New().Compile(codec.Root{Message: everything()}, codec.Options{EmitUnpopulated: true})
	if err != nil {
		t.Fatal(err)
	}
	results := make([][]byte, 16)
	var group sync.WaitGroup
	for i := range results {
		group.Go(func() {
			for range 20 {
				wire, err := plan.AppendWire(nil, text)
				if err != nil {
					t.Error(err)
					return
				}
				if results[i], err = plan.AppendJSON(nil, wire); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	for _, r := range results {
		if !bytes.Equal(r, results[0]) {
			t.Fatalf("got %s\nand %s", r, results[0])
		}
	}
}
