package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// addPages adds the pages that there are providers for.
func (s *Server) addPages() {
	s.get("/{$}", "", s.index)
	s.get("/healthz", "the process lives", healthz)
	s.get("/readyz", "requests may be sent here; why not, otherwise", s.readyz)
	s.get("/debug/pprof/", "profiles (see go tool pprof)", pprof.Index)
	s.get("/debug/pprof/cmdline", "", pprof.Cmdline)
	s.get("/debug/pprof/profile", "", pprof.Profile)
	s.get("/debug/pprof/trace", "", pprof.Trace)
	s.mux.HandleFunc("/debug/pprof/symbol", only(pprof.Symbol, "GET", "HEAD", "POST"))
	if s.opts.Gatherer != nil {
		s.get("/metrics", "Prometheus metrics", promhttp.HandlerFor(s.opts.Gatherer, promhttp.HandlerOpts{
			EnableOpenMetrics: true, ErrorLog: slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelWarn),
		}).ServeHTTP)
	}
	if s.opts.Routes != nil {
		s.get("/routes", "what is served (?format=json, or Accept)", s.routes)
	}
	if s.opts.Config != nil {
		s.get("/config", "the effective configuration, secrets masked", s.config)
	}
	if s.opts.Schema != nil {
		s.get("/schema", "the loaded schema, a FileDescriptorSet", s.schema)
	}
	if s.opts.Level != nil {
		s.mux.HandleFunc("/loglevel", only(s.loglevel, "GET", "HEAD", "PUT"))
		s.addIndex("/loglevel", "GET, PUT", "the log level: debug, info, warn, error")
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, 5, "no such page; / lists all")
	})
}

func (s *Server) get(pattern, about string, h http.HandlerFunc) {
	s.mux.HandleFunc(pattern, only(h, "GET", "HEAD"))
	s.addIndex(strings.TrimSuffix(pattern, "{$}"), "GET", about)
}

func (s *Server) addIndex(path, methods, about string) {
	if about == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages = append(s.pages, page{path, methods, about})
}

// only answers 405 to other methods than these, and 204 with Allow to OPTIONS.
func only(h http.HandlerFunc, methods ...string) http.HandlerFunc {
	allow := strings.Join(append(methods, "OPTIONS"), ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case slices.Contains(methods, r.Method):
			h(w, r)
		case r.Method == http.MethodOptions:
			w.Header().Set("Allow", allow)
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Allow", allow)
			fail(w, http.StatusMethodNotAllowed, 12, "method "+r.Method+" is not allowed here; allowed: "+allow)
		}
	}
}

// fail writes an error as google.rpc.Status in JSON. Codes are gRPC's.
func fail(w http.ResponseWriter, status, code int, message string) {
	writeJSON(w, status, struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{code, message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil { // nothing here has a value that JSON lacks
		status, text = http.StatusInternalServerError, []byte(`{"code":13,"message":"internal error"}`)
	}
	write(w, status, "application/json", append(text, '\n'))
}

// write answers with a whole body. net/http leaves it out of answers to HEAD.
func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readiness is the answer of /readyz.
type readiness struct {
	Status string        `json:"status"` // "ready" or "not ready"
	Checks []checkResult `json:"checks"`
}

type checkResult struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	a := s.ready(r.Context())
	status := http.StatusOK
	if a.Status != "ready" {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, a)
}

// ready runs all checks together.
func (s *Server) ready(ctx context.Context) readiness {
	s.mu.RLock()
	checks := slices.Clone(s.check)
	s.mu.RUnlock()
	ctx, cancel := context.WithTimeout(ctx, s.opts.CheckTimeout)
	defer cancel()
	a := readiness{Status: "ready", Checks: make([]checkResult, len(checks))}
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() { a.Checks[i] = run(ctx, c) })
	}
	all.Wait()
	for _, c := range a.Checks {
		if !c.Ready {
			a.Status = "not ready"
		}
	}
	return a
}

// run runs one check. A check that panics is not ready, and does no harm.
func run(ctx context.Context, c Check) (res checkResult) {
	res.Name = c.Name
	defer func() {
		if v := recover(); v != nil {
			res.Ready, res.Reason = false, fmt.Sprint("the check panicked: ", v)
		}
	}()
	if err := c.Ready(ctx); err != nil {
		res.Reason = err.Error()
		return res
	}
	res.Ready = true
	return res
}

// routes answers as a table, or as JSON for ?format=json or where Accept asks
// for JSON and not for text.
func (s *Server) routes(w http.ResponseWriter, r *http.Request) {
	routes := s.opts.Routes()
	w.Header().Set("Vary", "Accept")
	format, accept := r.URL.Query().Get("format"), r.Header.Get("Accept")
	if format == "json" || format == "" && strings.Contains(accept, "application/json") {
		if routes == nil {
			routes = []Route{}
		}
		writeJSON(w, http.StatusOK, map[string][]Route{"routes": routes})
		return
	}
	var b bytes.Buffer
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "METHOD\tPATH\tRPC\tKIND\tBODY\tCLUSTER\tORIGIN")
	for _, rt := range routes {
		fmt.Fprintln(tw, strings.Join([]string{rt.HTTPMethod, rt.Template, rt.RPC, rt.Kind, rt.Body, rt.Cluster, rt.Origin}, "\t"))
	}
	_ = tw.Flush() // to a buffer
	write(w, http.StatusOK, "text/plain; charset=utf-8", b.Bytes())
}

func (s *Server) config(w http.ResponseWriter, _ *http.Request) {
	text, contentType, err := s.opts.Config()
	if err != nil {
		fail(w, http.StatusInternalServerError, 13, err.Error())
		return
	}
	write(w, http.StatusOK, contentType, text)
}

func (s *Server) schema(w http.ResponseWriter, _ *http.Request) {
	set, err := s.opts.Schema()
	if err != nil {
		fail(w, http.StatusInternalServerError, 13, err.Error())
		return
	}
	w.Header().Set("Content-Disposition", `attachment; filename="schema.binpb"`)
	write(w, http.StatusOK, "application/x-protobuf", set)
}

// loglevel shows the level, or sets it to the body's: a word, or {"level": word}.
func (s *Server) loglevel(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 256))
		if err != nil {
			fail(w, http.StatusBadRequest, 3, "the body is larger than 256 bytes, or ended early")
			return
		}
		text := strings.TrimSpace(string(body))
		var asJSON struct {
			Level string `json:"level"`
		}
		if json.Unmarshal(body, &asJSON) == nil && asJSON.Level != "" {
			text = asJSON.Level
		}
		old := s.opts.Level.Level()
		if err := s.opts.Level.UnmarshalText([]byte(text)); err != nil {
			fail(w, http.StatusBadRequest, 3, fmt.Sprintf("level %q: want debug, info, warn or error", text))
			return
		}
		s.opts.Logger.Info("log level set", "from", old.String(), "to", s.opts.Level.Level().String())
	}
	writeJSON(w, http.StatusOK, map[string]string{"level": strings.ToLower(s.opts.Level.Level().String())})
}

const indexHTML = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Transom admin</title>
<h1>Transom admin</h1>{{with .Version}}<p>{{.}}</p>{{end}}
<table>{{range .Pages}}
<tr><td><a href="{{.Path}}">{{.Path}}</a></td><td>{{.Methods}}</td><td>{{.About}}</td></tr>{{end}}
</table></html>
`

// index lists all pages, as HTML for browsers and as text for others.
func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	s.mu.RLock()
	pages := slices.Clone(s.pages)
	s.mu.RUnlock()
	slices.SortFunc(pages, func(a, b page) int { return strings.Compare(a.Path, b.Path) })
	w.Header().Set("Vary", "Accept")
	var b bytes.Buffer
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, p := range pages {
			fmt.Fprintf(tw, "%s\t%s\t%s\n", p.Path, p.Methods, p.About)
		}
		_ = tw.Flush() // to a buffer
		write(w, http.StatusOK, "text/plain; charset=utf-8", b.Bytes())
		return
	}
	data := struct {
		Version string
		Pages   []page
	}{s.opts.Version, pages}
	if err := template.Must(template.New("index").Parse(indexHTML)).Execute(&b, data); err != nil {
		fail(w, http.StatusInternalServerError, 13, "internal error")
		return
	}
	write(w, http.StatusOK, "text/html; charset=utf-8", b.Bytes())
}
