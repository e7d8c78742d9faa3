package gateway

import (
	"log/slog"
	"sync"

	"github.com/transomhq/transom/upstream"
)

// clusters are the connections to backends. They outlive a house: one whose
// description did not change is handed to the next house as it is, with the
// calls that run on it.
type clusters struct {
	log *slog.Logger
	mu  sync.Mutex
	all map[string]*sharedCluster // by description
}

type sharedCluster struct {
	cluster *upstream.Cluster
	refs    int
}

// acquire returns the cluster of a description, opened if no house has it, and
// the function that gives it back.
func (c *clusters) acquire(description string, open func() (*upstream.Cluster, error)) (*upstream.Cluster, func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	shared := c.all[description]
	if shared == nil {
		cluster, err := open()
		if err != nil {
			return nil, nil, err
		}
		if c.all == nil {
			c.all = map[string]*sharedCluster{}
		}
		shared = &sharedCluster{cluster: cluster}
		c.all[description] = shared
	}
	shared.refs++
	return shared.cluster, sync.OnceFunc(func() { c.release(description) }), nil
}

func (c *clusters) release(description string) {
	c.mu.Lock()
	shared := c.all[description]
	shared.refs--
	last := shared.refs == 0
	if last {
		delete(c.all, description)
	}
	c.mu.Unlock()
	if !last {
		return
	}
	if err := shared.cluster.Close(); err != nil {
		c.log.Warn("closing a cluster that is not used any more", "cluster", shared.cluster.Name(), "error", err)
	}
}
