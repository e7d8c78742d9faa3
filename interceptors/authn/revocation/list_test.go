package revocation_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/transomhq/transom/interceptors/authn"
	"github.com/transomhq/transom/interceptors/authn/revocation"
	"github.com/transomhq/transom/interceptors/authn/store"
	"github.com/transomhq/transom/rpc"
)

func TestList(t *testing.T) {
	ctx := t.Context()
	s := store.NewFile(filepath.Join(t.TempDir(), "authn.db"))
	for _, e := range []revocation.Entry{
		{Token: "t1"},
		{Token: "t2", Issuer: "i2"},
		{Token: "t3", Until: time.Now().Add(-time.Second)},
		{Subject: "ann", At: time.Unix(1000, 0)},
		{Key: "k1"},
	} {
		if err := revocation.Add(ctx, s, e); err != nil {
			t.Fatal(err)
		}
	}
	if err := revocation.Add(ctx, s, revocation.Entry{Token: "a", Subject: "b"}); err == nil {
		t.Error("an entry about two things was accepted")
	}
	var list revocation.List
	var r *authn.Refusal
	if err := list.Check(&rpc.Principal{Subject: "x"}); err == nil || errors.As(err, &r) {
		t.Errorf("before it was read: %v", err)
	}
	if err := list.Load(ctx, s); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		p    rpc.Principal
		want bool
	}{
		{"token", rpc.Principal{Issuer: "i", CredentialID: "t1", Method: "jwt"}, true},
		{"another token", rpc.Principal{Issuer: "i", CredentialID: "t9", Method: "jwt"}, false},
		{"token of the issuer", rpc.Principal{Issuer: "i2", CredentialID: "t2", Method: "jwt"}, true},
		{"token of another issuer", rpc.Principal{Issuer: "i", CredentialID: "t2", Method: "jwt"}, false},
		{"forgotten", rpc.Principal{Issuer: "i", CredentialID: "t3", Method: "jwt"}, false},
		{"subject", rpc.Principal{Issuer: "i", Subject: "ann", Claims: map[string]any{"iat": 900.0}}, true},
		{"subject, unknown age", rpc.Principal{Issuer: "i", Subject: "ann"}, true},
		{"subject, signed in again", rpc.Principal{Issuer: "i", Subject: "ann", Claims: map[string]any{"iat": 1100.0}}, false},
		{"key", rpc.Principal{Issuer: "apikey", CredentialID: "k1", Method: "apikey"}, true},
		{"token named as a key", rpc.Principal{Issuer: "i", CredentialID: "k1", Method: "jwt"}, false},
		{"key named as a token", rpc.Principal{Issuer: "apikey", CredentialID: "t1", Method: "apikey"}, false},
		{"nobody", rpc.Principal{}, false},
	} {
		if got := list.Check(&tt.p) != nil; got != tt.want {
			t.Errorf("%s: revoked %v", tt.name, got)
		}
	}
	if err := revocation.Remove(ctx, s, revocation.Entry{Token: "t1"}); err != nil {
		t.Error(err)
	}
	if all, err := revocation.All(ctx, s); err != nil || len(all) != 3 {
		t.Errorf("%v %v", all, err)
	}
}
