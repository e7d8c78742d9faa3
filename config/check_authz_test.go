package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/transomhq/transom/config"
)

func TestAuthzAndCorsMistakes(t *testing.T) {
	const base = "schema: {sources: [protos]}\nclusters: [{name: a, targets: [\"a:1\"]}]\n"
	for text, want := range map[string]string{
		`authz: {external: [{name: opa, cluster: b}]}`:                          `authz.external[0].cluster`,
		`authz: {external: [{name: opa, cluster: a}, {name: opa, cluster: a}]}`: `"opa" is the name of authz.external[0].name`,
		`policies: [{selectors: ["*"], policy: {authz: {external: opa}}}]`:      `there is no authorizer "opa" in authz.external`,
		`authz: {default: perhaps}`:                                             `authz.default`,
		`cors: [{selectors: ["*"], origins: ["*"], credentials: true}]`:         `"*" does not go with credentials`,
		`cors: [{selectors: ["*"], origins: ["app.example.com"]}]`:              `want an origin such as`,
		`cors: [{selectors: ["*"], origins: ["https://app.example.com/"]}]`:     `want an origin such as`,
		`cors: [{selectors: ["*"], origins: ["https://App.example.com"]}]`:      `browsers write origins in lower case: "https://app.example.com"`,
		`cors: [{selectors: ["*"], origins: ["https://app.example.com:443"]}]`:  `browsers leave out the port that the scheme implies: "https://app.example.com"`,
		`cors: [{selectors: ["*"], origins: ["https://*.com"]}]`:                `every name below a top-level domain`,
		`cors: [{selectors: ["*"], origins: ["null"]}]`:                         `want an origin such as`,
		`cors: [{selectors: ["*"]}]`:                                            `cors[0].origins: is required`,
		`edge: {response_headers: {Connection: x}}`:                             `Connection is about one connection`,
		`edge: {response_headers: {"a b": x}}`:                                  `"a b" is not the name of a header field`,
		`cors: [{selectors: ["*"], origins: ["https://a.example", "http://localhost:3000", "https://*.a.example", "https://[::1]:8443"]}]`: "",
	} {
		dir := write(t, map[string]string{"transom.yaml": base + text, "protos/a.proto": ""})
		_, err := config.Source{Path: filepath.Join(dir, "transom.yaml")}.Load()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
