package oracle

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Outcome is what came of a case at one gateway: the answer, and the calls
// that reached upstream.
type Outcome struct {
	Status  int
	Header  http.Header
	Trailer http.Header
	Body    []byte
	Broken  error // the answer ended before its end
	Calls   []Call
}

// String returns the outcome as text.
func (o *Outcome) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %v %q", o.Status, o.Header, o.Body)
	if len(o.Trailer) > 0 {
		fmt.Fprintf(&b, " trailer %v", o.Trailer)
	}
	if o.Broken != nil {
		fmt.Fprintf(&b, " broken: %v", o.Broken)
	}
	for _, call := range o.Calls {
		fmt.Fprintf(&b, "\n    upstream %s %v %v", call.Method, call.Messages, call.Metadata)
		if call.Timeout > 0 {
			fmt.Fprintf(&b, " within %s", call.Timeout)
		}
		if call.Err != nil {
			fmt.Fprintf(&b, " ended by %v", call.Err)
		}
	}
	return b.String()
}

// JSON returns the body's JSON values, one for each line of a stream, nil if
// the body is something else.
func (o *Outcome) JSON() []any {
	var values []any
	d := json.NewDecoder(bytes.NewReader(o.Body))
	d.UseNumber()
	for {
		var v any
		err := d.Decode(&v)
		if err == io.EOF {
			return values
		}
		if err != nil {
			return nil
		}
		values = append(values, v)
	}
}

// mappedHeader returns the header fields that come from the call, not from the
// connection or the HTTP server.
func (o *Outcome) mappedHeader() http.Header {
	mapped := http.Header{}
	for name, values := range o.Header {
		if strings.HasPrefix(name, "Grpc-") || name == "Content-Type" || name == "Www-Authenticate" {
			mapped[name] = slices.Sorted(slices.Values(values))
		}
	}
	return mapped
}

// Send sends a case to the gateway at baseURL and gathers what came of it.
func Send(ctx context.Context, client *http.Client, baseURL string, upstream *Upstream, c *Case) (*Outcome, error) {
	upstream.Script(c.Reply)
	req, err := request(ctx, baseURL, c)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c, err)
	}
	defer resp.Body.Close()
	o := &Outcome{Status: resp.StatusCode, Header: resp.Header}
	o.Body, o.Broken = io.ReadAll(resp.Body)
	o.Trailer = resp.Trailer
	o.Calls = upstream.Calls()
	return o, nil
}

func request(ctx context.Context, baseURL string, c *Case) (*http.Request, error) {
	base, err := url.Parse(baseURL)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, c.Method, baseURL, bytes.NewReader(c.Body))
	if err != nil {
		return nil, err
	}
	if c.Body == nil {
		req.Body, req.GetBody, req.ContentLength = http.NoBody, nil, 0
	}
	// Opaque keeps the path as it is, whatever is wrong with it.
	req.URL = &url.URL{Scheme: base.Scheme, Host: base.Host, Opaque: c.Path, RawQuery: c.Query}
	if strings.HasPrefix(c.Path, "//") {
		req.URL.Opaque = "//" + base.Host + c.Path
	}
	req.Header = c.Header.Clone()
	return req, nil
}
