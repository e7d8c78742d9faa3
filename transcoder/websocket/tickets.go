package websocket

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
)

// tickets are credentials that wait for their socket, each for a moment and
// for one use. They live in this process: the socket must come to the same one.
type tickets struct {
	life time.Duration

	mu      sync.Mutex
	open    map[string]ticket
	clients map[netip.Addr]int
}

type ticket struct {
	authorization string
	client        netip.Addr
	expires       time.Time
}

const (
	maxTickets          = 1 << 16
	maxTicketsPerClient = 256
	maxAuthorization    = 16 << 10
)

// issue returns a new ticket for authorization, "" when there are too many.
func (t *tickets) issue(authorization string, client netip.Addr, now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open, t.clients = map[string]ticket{}, map[netip.Addr]int{}
	}
	if len(t.open) >= maxTickets || t.clients[client] >= maxTicketsPerClient {
		t.expire(now)
	}
	if len(t.open) >= maxTickets || t.clients[client] >= maxTicketsPerClient {
		return ""
	}
	id := rand.Text() + rand.Text()
	t.open[id] = ticket{authorization, client, now.Add(t.life)}
	t.clients[client]++
	return id
}

// take returns the authorization of a ticket, which is void from then on.
func (t *tickets) take(id string) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	found, ok := t.open[id]
	if !ok {
		return "", false
	}
	t.drop(id, found)
	return found.authorization, time.Now().Before(found.expires)
}

func (t *tickets) expire(now time.Time) {
	for id, k := range t.open {
		if !now.Before(k.expires) {
			t.drop(id, k)
		}
	}
}

func (t *tickets) drop(id string, k ticket) {
	delete(t.open, id)
	if t.clients[k.client]--; t.clients[k.client] == 0 {
		delete(t.clients, k.client)
	}
}

// ServeTicket answers a POST with a ticket for the request's Authorization: a
// page opens its socket with "?ticket=..." then. The credential itself is
// proved when a call is made with it.
func (d *Door) ServeTicket(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
	call.Door = "websocket"
	if err := d.ticket(w, r, call); err != nil {
		d.opts.Refuse(w, r, call, err)
	}
}

func (d *Door) ticket(w http.ResponseWriter, r *http.Request, call *rpc.Call) error {
	if r.Method != http.MethodPost {
		e := rpc.Errorf(codes.Unimplemented, "tickets are given for POST").WithHTTPStatus(http.StatusMethodNotAllowed)
		e.Header = []string{"Allow", http.MethodPost}
		return e
	}
	if err := d.origins.check(r); err != nil {
		return err
	}
	auth := r.Header["Authorization"]
	if len(auth) != 1 || auth[0] == "" || len(auth[0]) > maxAuthorization {
		return rpc.Errorf(codes.Unauthenticated, "a ticket stands for a credential: send one in Authorization")
	}
	all := d.opts.Sockets
	id := all.tickets.issue(auth[0], call.Client, time.Now())
	if id == "" {
		return all.reopen(codes.ResourceExhausted, "too many tickets wait for their sockets")
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = []string{"application/json"}, []string{"no-store"}
	call.Update(func(o *rpc.Outcome) { o.HTTPStatus = http.StatusOK })
	_ = json.NewEncoder(w).Encode(struct { // a client that has gone needs no ticket
		Ticket    string `json:"ticket"`
		ExpiresMS int64  `json:"expires_in_ms"`
	}{id, all.tickets.life.Milliseconds()})
	return nil
}
