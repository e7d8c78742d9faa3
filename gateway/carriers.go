package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/transomhq/transom/rpc"
)

// credentialCarriers are the places beside metadata where credentials are.
type credentialCarriers struct {
	queries      []string // names of query parameters
	subprotocols []string // prefixes of WebSocket subprotocols
}

// take moves the credentials of a request that are not in its metadata to the
// call's record, before a door takes them for fields of a message, or anybody
// writes them down.
func (c *credentialCarriers) take(r *http.Request, call *rpc.Call) {
	if len(c.queries) > 0 && r.URL.RawQuery != "" {
		c.takeQuery(r, call)
	}
	if len(c.subprotocols) > 0 && len(r.Header["Sec-Websocket-Protocol"]) > 0 {
		c.takeSubprotocols(r, call)
	}
}

func (c *credentialCarriers) takeQuery(r *http.Request, call *rpc.Call) {
	var kept []string
	taken := false
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil || !slices.Contains(c.queries, name) {
			kept = append(kept, pair)
			continue
		}
		taken = true
		text, err := url.QueryUnescape(value)
		if err != nil {
			text = "" // it is a credential all the same, and a wrong one
		}
		call.Carried = append(call.Carried, rpc.Carried{Carrier: "query:" + name, Text: text})
	}
	if taken {
		r.URL.RawQuery = strings.Join(kept, "&")
		r.RequestURI = r.URL.RequestURI()
	}
}

func (c *credentialCarriers) takeSubprotocols(r *http.Request, call *rpc.Call) {
	var kept []string
	for _, line := range r.Header["Sec-Websocket-Protocol"] {
		for protocol := range strings.SplitSeq(line, ",") {
			protocol = strings.TrimSpace(protocol)
			i := slices.IndexFunc(c.subprotocols, func(prefix string) bool { return strings.HasPrefix(protocol, prefix) })
			if i < 0 {
				kept = append(kept, protocol)
				continue
			}
			prefix := c.subprotocols[i]
			call.Carried = append(call.Carried, rpc.Carried{Carrier: "subprotocol:" + prefix, Text: protocol[len(prefix):]})
		}
	}
	if len(kept) == 0 {
		delete(r.Header, "Sec-Websocket-Protocol")
		return
	}
	r.Header["Sec-Websocket-Protocol"] = []string{strings.Join(kept, ", ")}
}
