package config

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	"github.com/transomhq/transom/rpc"
)

// checkKind checks what a text means.
func (f *File) checkKind(kind configv1.Kind, s, path string) {
	var text string
	switch kind {
	case configv1.Kind_KIND_LISTEN_ADDRESS:
		text = listenMistake(s)
	case configv1.Kind_KIND_FILE:
		text = fileMistake(s, false)
	case configv1.Kind_KIND_NEW_FILE:
		text = folderMistake(s)
	case configv1.Kind_KIND_SCHEMA_SOURCE:
		text = sourceMistake(s)
	case configv1.Kind_KIND_SELECTOR:
		if _, err := rpc.ParseSelector(s); err != nil {
			text = err.Error()
		}
	case configv1.Kind_KIND_CIDR:
		text = cidrMistake(s)
	case configv1.Kind_KIND_PROXY:
		if s != "unix" {
			text = cidrMistake(s)
		}
	case configv1.Kind_KIND_HEADER:
		text = headerMistake(s, s)
	case configv1.Kind_KIND_HEADER_PATTERN:
		text = headerMistake(strings.TrimSuffix(s, "*"), s)
	case configv1.Kind_KIND_TARGET:
		text = targetMistake(s)
	case configv1.Kind_KIND_NAME:
		text = nameMistake(s)
	case configv1.Kind_KIND_HOST:
		text = hostMistake(s)
	}
	if text != "" {
		f.wrong(path, "%s", text)
	}
}

func listenMistake(s string) string {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path == "" {
			return `want "unix:/path", not ` + quote(s)
		}
		return ""
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return `want "host:port" or ":port", not ` + quote(s)
	}
	return portMistake(port, s)
}

func portMistake(port, s string) string {
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "port " + quote(port) + " of " + quote(s) + " is not a number from 0 to 65535"
	}
	return ""
}

// fileMistake checks that something can be read at path; a folder only if folders do.
func fileMistake(path string, folders bool) string {
	info, err := os.Stat(path)
	switch {
	case path == "":
		return "is empty: name a file"
	case err != nil:
		return fileError(path, err)
	case info.IsDir() && !folders:
		return path + " is a folder, not a file"
	case info.IsDir():
		return ""
	}
	in, err := os.Open(path)
	if err != nil {
		return fileError(path, err)
	}
	in.Close()
	return ""
}

// folderMistake checks that there is a folder to make a file in.
func folderMistake(path string) string {
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "there is no folder " + dir + " to make the file in"
	}
	return ""
}

// fileError says where a file was looked for, since relative paths are taken
// from the folder of the configuration.
func fileError(path string, err error) string {
	reason := err.Error()
	if os.IsNotExist(err) {
		reason = "no such file"
		if abs, err := filepath.Abs(path); err == nil && abs != path {
			reason += " (looked for " + abs + ")"
		}
		return path + ": " + reason
	}
	return reason
}

func sourceMistake(s string) string {
	if s == "" {
		return `is empty: name a file, a folder, or a server ("grpc://host:port")`
	}
	for _, scheme := range []string{"grpc://", "grpcs://"} {
		if address, ok := strings.CutPrefix(s, scheme); ok {
			if host, port, err := net.SplitHostPort(address); err != nil || host == "" || portMistake(port, s) != "" {
				return "want " + scheme + "host:port, not " + quote(s)
			}
			return ""
		}
	}
	if strings.HasPrefix(s, "grpc:unix:") {
		return ""
	}
	if scheme, _, ok := strings.Cut(s, "://"); ok {
		return "scheme " + quote(scheme) + " is not known: a server is written grpc://host:port or grpcs://host:port"
	}
	return fileMistake(s, true)
}

func cidrMistake(s string) string {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return ""
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return `want an address or a network such as "10.0.0.0/8", not ` + quote(s)
	case p.Masked() != p:
		return quote(s) + " has bits of a host: the network is " + quote(p.Masked().String())
	}
	return ""
}

// headerMistake checks a field name (RFC 9110, section 5.1).
func headerMistake(name, s string) string {
	for i := range len(name) {
		c := name[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 || c == '*' {
			return quote(s) + " is not the name of a header field"
		}
	}
	if name == "" && s != "*" {
		return "is empty: name a header field"
	}
	return ""
}

// targetMistake checks one target or address; what its scheme's resolver
// makes of it is grpc-go's.
func targetMistake(s string) string {
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		switch scheme {
		case "dns", "xds", "unix", "passthrough":
		case "http", "https", "grpc", "grpcs":
			return "scheme " + quote(scheme) + ` is not one of gRPC: write "host:port" or "dns:///host:port", and tls: {} for TLS`
		default:
			return "scheme " + quote(scheme) + " is not known; known are dns, xds, unix"
		}
		if strings.Trim(rest, "/") == "" {
			return quote(s) + " names no endpoint"
		}
		return ""
	}
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path == "" {
			return `want "unix:/path", not ` + quote(s)
		}
		return ""
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return `want "host:port" or a gRPC target such as "dns:///host:port", not ` + quote(s)
	}
	return portMistake(port, s)
}

func nameMistake(s string) string {
	if s == "" || strings.IndexFunc(s, func(r rune) bool { return !isNameRune(r) }) >= 0 {
		return `want a name of letters, digits, ".", "_" and "-", not ` + quote(s)
	}
	return ""
}

func isNameRune(r rune) bool {
	return r == '.' || r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

func hostMistake(s string) string {
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return ""
	}
	if s == "" || strings.Contains(s, ":") || nameMistake(strings.TrimPrefix(s, "*.")) != "" {
		return "want a host name without scheme and port, not " + quote(s)
	}
	return ""
}
