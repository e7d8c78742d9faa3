package gateway

import (
	"io"
	"log/slog"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

// newLogger returns the logger that a configuration asks for.
func newLogger(w io.Writer, level slog.Leveler, format configv1.Format) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if format == configv1.Format_FORMAT_JSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

func levelOf(l configv1.Level) slog.Level {
	switch l {
	case configv1.Level_LEVEL_DEBUG:
		return slog.LevelDebug
	case configv1.Level_LEVEL_WARN:
		return slog.LevelWarn
	case configv1.Level_LEVEL_ERROR:
		return slog.LevelError
	case configv1.Level_LEVEL_INFO, configv1.Level_LEVEL_UNSPECIFIED:
	}
	return slog.LevelInfo
}
