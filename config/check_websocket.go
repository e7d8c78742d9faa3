package config

import (
	"net/url"
	"strings"
)

// checkWebSocket checks the paths and origins of sockets.
func (f *File) checkWebSocket() {
	c := f.Config.GetWebsocket()
	for _, p := range []struct{ name, path string }{{"path", c.GetPath()}, {"ticket_path", c.GetTicketPath()}} {
		if p.path != "" && (!strings.HasPrefix(p.path, "/") || strings.ContainsAny(p.path, "?#{}* ")) {
			f.wrong(join("websocket", p.name), "want a path like /ws, not %s", quote(p.path))
		}
	}
	if c.GetPath() != "" && c.GetPath() == c.GetTicketPath() {
		f.wrong("websocket.ticket_path", "is the path of the sockets already")
	}
	if strings.ContainsAny(c.GetCookie(), " ,;=\"\\\t") {
		f.wrong("websocket.cookie", "want the name of a cookie, not %s", quote(c.GetCookie()))
	}
	for i, o := range c.GetOrigins() {
		if o != "*" && o != "null" && !isOrigin(o) {
			f.wrong(element("websocket.origins", i), `want an origin like "https://app.example.com", "https://*.example.com", "null" or "*", not %s`, quote(o))
		}
	}
}

// isOrigin reports whether s is a scheme and a host, the first label of which
// may be "*".
func isOrigin(s string) bool {
	u, err := url.Parse(strings.Replace(s, "://*.", "://any.", 1))
	return err == nil && u.Scheme != "" && u.Host != "" && u.Path == "" && u.RawQuery == "" && u.Fragment == "" && u.User == nil &&
		!strings.Contains(u.Host, "*")
}
