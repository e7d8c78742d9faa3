package upstream

import "time"

// Stats are what a cluster can say about itself.
type Stats struct {
	Name string `json:"name"`
	// State is the best connection's: READY, CONNECTING, IDLE, TRANSIENT_FAILURE.
	State string `json:"state"`
	// Running calls now.
	Running int64 `json:"running"`
	// Calls ever, Attempts for them, the Retries among these, retries that the
	// budget Starved, and calls that were Refused because of a cap.
	Calls    int64 `json:"calls"`
	Attempts int64 `json:"attempts"`
	Retries  int64 `json:"retries"`
	Starved  int64 `json:"starved"`
	Refused  int64 `json:"refused"`
	// Endpoints are known with our own balancers only.
	Endpoints []EndpointStats `json:"endpoints"`
}

// EndpointStats are one address of a cluster.
type EndpointStats struct {
	Address string `json:"address"`
	// State is "ready", "connecting" (nothing is connected), "ejected",
	// "trial" (its ejection is over, the next call shows) or "unhealthy".
	State     string `json:"state"`
	Running   int64  `json:"running"`
	Calls     int64  `json:"calls"`
	Failures  int64  `json:"failures"`
	Ejections int64  `json:"ejections"`
	// EjectedUntil is when the endpoint is tried again.
	EjectedUntil *time.Time `json:"ejected_until,omitempty"`
}

// Stats returns what is known now.
func (c *Cluster) Stats() Stats {
	g := c.guard
	s := Stats{
		Name: c.name, State: c.State().String(), Running: g.running.Load(), Calls: g.calls.Load(), Attempts: g.attempts.Load(),
		Retries: g.retries.Load(), Starved: g.starved.Load(), Refused: g.refused.Load(), Endpoints: []EndpointStats{},
	}
	now := time.Now()
	for _, e := range c.pool.list() {
		one := EndpointStats{
			Address: e.addr, State: e.state(now), Running: e.running.Load(), Calls: e.calls.Load(),
			Failures: e.failures.Load(), Ejections: e.ejections.Load(),
		}
		if until := e.until.Load(); until != 0 {
			at := time.Unix(0, until).UTC()
			one.EjectedUntil = &at
		}
		s.Endpoints = append(s.Endpoints, one)
	}
	return s
}

func (e *endpoint) state(now time.Time) string {
	until := e.until.Load()
	switch {
	case e.connections.Load() == 0:
		return "connecting"
	case e.sick.Load():
		return "unhealthy"
	case until == 0:
		return "ready"
	case until > now.UnixNano():
		return "ejected"
	}
	return "trial"
}
