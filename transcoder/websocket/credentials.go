package websocket

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
)

// Browsers cannot set header fields on a handshake. These subprotocols, which
// are never the answer, and query parameters carry what they would say there.
const (
	bearerProtocol   = "transom.bearer."   // + the token, as it is
	bearer64Protocol = "transom.bearer64." // + the token in base64url, for one that is no HTTP token
	authProtocol     = "transom.auth"      // the first message is {"auth": ...}
	ticketQuery      = "ticket"
	methodQuery      = "$method"
	methodQueryProxy = "method" // of grpc-websocket-proxy
)

// negotiate chooses the subprotocol and takes the credential out of wherever it
// is: afterwards it stands in the Authorization field, and nowhere else.
func (h *handshake) negotiate() *rpc.Error {
	bearer, offered, err := h.offers()
	if err != nil {
		return err
	}
	if offered && h.echo == "" {
		return rpc.Errorf(codes.InvalidArgument, "none of the subprotocols is known here: offer %s, %s or %s", protocolJSON, protocolProto, protocolBare)
	}
	ticket, err := h.takeQuery()
	if err != nil {
		return err
	}
	header := h.r.Header
	for _, name := range []string{"Sec-Websocket-Protocol", ":protocol"} {
		delete(header, name)
	}
	sources := 0
	for _, there := range []bool{bearer != "", ticket != "", len(header["Authorization"]) > 0, h.authFirst} {
		if there {
			sources++
		}
	}
	switch {
	case sources > 1:
		return rpc.Errorf(codes.InvalidArgument, "the handshake has more than one credential: send one")
	case bearer != "":
		header["Authorization"] = []string{"Bearer " + bearer}
	case ticket != "":
		authorization, ok := h.d.opts.Sockets.tickets.take(ticket)
		if !ok {
			return rpc.Errorf(codes.Unauthenticated, "the ticket is unknown, used or too old: ask for a new one")
		}
		header["Authorization"] = []string{authorization}
	case sources == 0:
		h.cookie()
	}
	return nil
}

// offers reads Sec-WebSocket-Protocol: the first of ours is the answer.
func (h *handshake) offers() (bearer string, offered bool, err *rpc.Error) {
	var list []string
	for _, v := range h.r.Header["Sec-Websocket-Protocol"] {
		for p := range strings.SplitSeq(v, ",") {
			list = append(list, strings.TrimSpace(p))
		}
	}
	if h.d.opts.GRPCGateway && len(list) == 2 && list[0] == "Bearer" {
		h.echo = "Bearer" // as grpc-websocket-proxy has it
		return list[1], true, nil
	}
	for _, p := range list {
		token, plain := strings.CutPrefix(p, bearerProtocol)
		coded, base64ed := strings.CutPrefix(p, bearer64Protocol)
		switch {
		case p == authProtocol:
			h.authFirst = true
		case !plain && !base64ed:
			if h.echo == "" && (p == protocolJSON || p == protocolProto || p == protocolBare) {
				h.protocol, h.echo = p, p
			}
		case bearer != "":
			return "", true, rpc.Errorf(codes.InvalidArgument, "the subprotocols have more than one bearer token")
		case plain:
			bearer = token
		default:
			b, e := base64.RawURLEncoding.DecodeString(coded)
			if bearer = string(b); e != nil || !printable(bearer) {
				return "", true, rpc.Errorf(codes.InvalidArgument, "the bearer token among the subprotocols is not base64url without padding")
			}
		}
	}
	if h.protocol == protocolBare {
		h.protocol = ""
	}
	if h.authFirst && h.protocol == "" {
		return "", true, rpc.Errorf(codes.InvalidArgument, "subprotocol %s needs %s or %s", authProtocol, protocolJSON, protocolProto)
	}
	return bearer, len(list) > 0, nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}

// takeQuery takes our own parameters out of the query, so that they are neither
// fields of the request nor seen by anyone who looks at the URL later.
func (h *handshake) takeQuery() (ticket string, err *rpc.Error) {
	if h.r.URL.RawQuery == "" {
		return "", nil
	}
	var rest []string
	for pair := range strings.SplitSeq(h.r.URL.RawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		switch name {
		case ticketQuery:
			if ticket != "" || value == "" {
				return "", rpc.Errorf(codes.InvalidArgument, "query parameter %q must be there once, with a ticket", ticketQuery)
			}
			ticket = value
		case methodQuery, "%24method":
		case methodQueryProxy:
			if !h.d.opts.GRPCGateway {
				rest = append(rest, pair)
			}
		default:
			rest = append(rest, pair)
		}
	}
	u := *h.r.URL
	u.RawQuery = strings.Join(rest, "&")
	h.r.URL = &u
	return ticket, nil
}

// HTTPMethod returns the HTTP method of the binding that r asks for, "" where
// it leaves that to the gateway: a browser always sends GET.
func (d *Door) HTTPMethod(r *http.Request) string {
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, _ = url.QueryUnescape(name)
		if name == methodQuery || d.opts.GRPCGateway && name == methodQueryProxy {
			return strings.ToUpper(value)
		}
	}
	return ""
}

// cookie makes the configured cookie the credential. Browsers send it along
// whatever page asks, so it counts only together with an Origin, which was
// checked.
func (h *handshake) cookie() {
	name := h.d.opts.Cookie
	if name == "" || len(h.r.Header["Origin"]) != 1 {
		return
	}
	if c := h.r.CookiesNamed(name); len(c) == 1 && printable(c[0].Value) {
		h.r.Header["Authorization"] = []string{"Bearer " + c[0].Value}
	}
}
