package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"
)

// Whoever reads the log must not see who wrote it.
func TestLinesAreThoseOfSlog(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 30, 15, 123456789, time.UTC)
	attrs := []slog.Attr{
		slog.String("door", "rest"), slog.String("path", "/v1/a b=\"c\""), slog.String("empty", ""), slog.String("text", "Zoë <&>\n\x01"),
		slog.Int("status", 200), slog.Int64("bytes_out", -3), slog.Duration("took", 1500*time.Microsecond), slog.Bool("ok", true),
		slog.Float64("share", 0.5), slog.Uint64("n", 1<<63), slog.Any("error", errors.New(`it "broke"`)), slog.Any("list", []string{"a", "b"}),
		slog.Time("until", at), slog.String("bad\xff", "\xff"),
	}
	for _, json := range []bool{false, true} {
		var want, got bytes.Buffer
		var h slog.Handler = slog.NewTextHandler(&want, nil)
		if json {
			h = slog.NewJSONHandler(&want, nil)
		}
		record := slog.NewRecord(at, slog.LevelWarn, "call", 0)
		record.AddAttrs(attrs...)
		if err := h.Handle(context.Background(), record); err != nil {
			t.Fatal(err)
		}
		(&Lines{W: &got, JSON: json}).write(&scratch{attrs: attrs}, at, slog.LevelWarn)
		if got.String() != want.String() {
			t.Errorf("JSON %v:\n got %s\nwant %s", json, got.String(), want.String())
		}
	}
}

func TestLinesKeepTheirLevel(t *testing.T) {
	level := new(slog.LevelVar)
	l := &Lines{Level: level}
	if !l.enabled(slog.LevelInfo) || l.enabled(slog.LevelDebug) {
		t.Error("at Info")
	}
	level.Set(slog.LevelWarn)
	if l.enabled(slog.LevelInfo) || !l.enabled(slog.LevelWarn) {
		t.Error("at Warn")
	}
}
