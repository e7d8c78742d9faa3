package apikey_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/transomhq/transom/interceptors/authn"
	"github.com/transomhq/transom/interceptors/authn/apikey"
	"github.com/transomhq/transom/interceptors/authn/store"
)

func reasonOf(err error) authn.Reason {
	var r *authn.Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

// TestLife is a key from its making to its end, in a file that gateway and
// command line share.
func TestLife(t *testing.T) {
	ctx := t.Context()
	s := store.NewFile(filepath.Join(t.TempDir(), "keys.db"))
	ring, err := apikey.NewRing(nil, true)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(text string) (string, error) {
		t.Helper()
		p, err := ring.Verify(ctx, authn.Credential{Text: text})
		if err != nil {
			return "", err
		}
		return p.Subject, nil
	}
	if _, err := verify("tk_nobody_secret"); err == nil || reasonOf(err) != "" {
		t.Errorf("before the store was read: %v", err)
	}
	k, text, err := apikey.Create(ctx, s, apikey.Key{Consumer: "acme", Scopes: []string{"read"}})
	if err != nil {
		t.Fatal(err)
	}
	load := func() {
		t.Helper()
		if err := ring.Load(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	load()
	if who, err := verify(text); who != "acme" {
		t.Errorf("a new key: %v", err)
	}
	for _, wrong := range []string{"", "tk_", "tk__", "tk_" + k.Prefix, "tk_" + k.Prefix + "_", text + "x", text[:len(text)-1], strings.ToUpper(text), "tk_nobody_secret", " " + text} {
		if _, err := verify(wrong); reasonOf(err) != authn.Invalid {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	records, err := s.All(ctx, apikey.Bucket)
	if err != nil || strings.Contains(string(records[k.Prefix]), text[len(text)-20:]) {
		t.Errorf("the store holds the secret: %s %v", records[k.Prefix], err)
	}

	next, text2, err := apikey.Rotate(ctx, s, k.Prefix, time.Hour)
	if err != nil || next.Follows != k.Prefix || next.Consumer != "acme" {
		t.Fatalf("%+v %v", next, err)
	}
	load()
	for _, one := range []string{text, text2} {
		if who, err := verify(one); who != "acme" {
			t.Errorf("during the overlap: %v", err)
		}
	}
	if err := apikey.Expire(ctx, s, k.Prefix, time.Now().Add(-time.Second), false); err != nil {
		t.Fatal(err)
	}
	load()
	if _, err := verify(text); reasonOf(err) != authn.Expired {
		t.Errorf("after the overlap: %v", err)
	}
	p, err := ring.Verify(ctx, authn.Credential{Text: text2})
	if err != nil || ring.Check(p) != nil {
		t.Fatal(err)
	}
	if err := apikey.Revoke(ctx, s, next.Prefix); err != nil {
		t.Fatal(err)
	}
	load()
	if _, err := verify(text2); reasonOf(err) != authn.Revoked {
		t.Errorf("after a revocation: %v", err)
	}
	if reasonOf(ring.Check(p)) != authn.Revoked {
		t.Error("a stream goes on with a revoked key")
	}
	if err := apikey.Revoke(ctx, s, "nobody"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, _, err := apikey.Rotate(ctx, s, next.Prefix, 0); err == nil || !strings.Contains(err.Error(), "is revoked: make a new one") {
		t.Errorf("got %v", err)
	}
}

func TestFixedKeys(t *testing.T) {
	var k apikey.Key
	text := apikey.Generate(&k)
	prefix, hash, err := apikey.Hash(text)
	if err != nil || prefix != k.Prefix || hash == k.Hash {
		t.Errorf("%q %q %v: a salt is used twice", prefix, hash, err)
	}
	ring, err := apikey.NewRing([]apikey.Key{{Prefix: prefix, Hash: hash, Consumer: "app", Subject: "sam"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ring.Verify(t.Context(), authn.Credential{Text: text})
	if err != nil || p.Subject != "sam" || p.Consumer != "app" || p.CredentialID != prefix || p.Issuer != "apikey" {
		t.Errorf("%+v %v", p, err)
	}
	if _, err := apikey.NewRing([]apikey.Key{{Prefix: "p", Hash: "sha256:zz:zz"}}, false); err == nil {
		t.Error("a hash that is none was accepted")
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("tk_abc_secret")
	f.Add("tk_a_b_c")
	f.Add("tk__")
	f.Fuzz(func(t *testing.T, text string) {
		prefix, secret, err := apikey.Split(text)
		if err == nil && "tk_"+prefix+"_"+secret != text {
			t.Errorf("%q is not %q and %q", text, prefix, secret)
		}
	})
}

func TestHashIsNotShown(t *testing.T) {
	var k apikey.Key
	text := apikey.Generate(&k)
	shown, err := json.Marshal(k)
	_, secret, _ := apikey.Split(text)
	if err != nil || strings.Contains(string(shown), secret) {
		t.Errorf("%s %v", shown, err)
	}
}

func BenchmarkVerify(b *testing.B) {
	var k apikey.Key
	text := apikey.Generate(&k)
	k.Consumer = "c"
	ring, err := apikey.NewRing([]apikey.Key{k}, false)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ring.Verify(b.Context(), authn.Credential{Text: text}); err != nil {
			b.Fatal(err)
		}
	}
}
