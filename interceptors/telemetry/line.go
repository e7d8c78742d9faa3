package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// Lines writes the lines of calls itself, in the form that slog's text and JSON
// handlers give them, at a fraction of their cost.
type Lines struct {
	// W takes each line in one Write, from any goroutine.
	W io.Writer
	// JSON writes objects instead of key=value.
	JSON bool
	// Level is the lowest level that is written; nil: Info.
	Level slog.Leveler
}

func (l *Lines) enabled(level slog.Level) bool {
	if l.Level == nil {
		return level >= slog.LevelInfo
	}
	return level >= l.Level.Level()
}

// scratch is the memory that one line needs, kept between calls.
type scratch struct {
	attrs []slog.Attr
	line  []byte
}

type scratchPool struct{ pool sync.Pool }

func (p *scratchPool) get() *scratch {
	if s, ok := p.pool.Get().(*scratch); ok {
		return s
	}
	return &scratch{attrs: make([]slog.Attr, 0, 32), line: make([]byte, 0, 1024)}
}

func (p *scratchPool) put(s *scratch) {
	clear(s.attrs)
	s.attrs, s.line = s.attrs[:0], s.line[:0]
	if cap(s.line) <= 16<<10 && cap(s.attrs) <= 128 {
		p.pool.Put(s)
	}
}

func (l *Lines) write(s *scratch, at time.Time, level slog.Level) {
	if l.JSON {
		s.line = appendJSONLine(s.line, at, level, s.attrs)
	} else {
		s.line = appendTextLine(s.line, at, level, s.attrs)
	}
	_, _ = l.W.Write(s.line) // there is nowhere to complain
}

// textTime is how slog's text handler writes times.
const textTime = "2006-01-02T15:04:05.000Z07:00"

func appendTextLine(b []byte, at time.Time, level slog.Level, attrs []slog.Attr) []byte {
	b = append(b, "time="...)
	b = at.AppendFormat(b, textTime)
	b = append(b, " level="...)
	b = append(b, level.String()...)
	b = append(b, " msg=call"...)
	for _, a := range attrs {
		b = append(b, ' ')
		b = appendTextString(b, a.Key)
		b = append(b, '=')
		b = appendTextValue(b, a.Value.Resolve())
	}
	return append(b, '\n')
}

func appendTextValue(b []byte, v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindString:
		return appendTextString(b, v.String())
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindTime:
		return v.Time().AppendFormat(b, textTime)
	}
	return appendTextString(b, v.String())
}

// appendTextString appends s, quoted where a reader could not tell its end.
func appendTextString(b []byte, s string) []byte {
	if s == "" {
		return append(b, `""`...)
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '"' || c == '=' || c >= utf8.RuneSelf || c == 0x7f {
			return strconv.AppendQuote(b, s)
		}
	}
	return append(b, s...)
}

func appendJSONLine(b []byte, at time.Time, level slog.Level, attrs []slog.Attr) []byte {
	b = append(b, `{"time":"`...)
	b = at.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"`...)
	b = append(b, level.String()...)
	b = append(b, `","msg":"call"`...)
	for _, a := range attrs {
		b = append(b, ',')
		b = appendJSONString(b, a.Key)
		b = append(b, ':')
		b = appendJSONValue(b, a.Value.Resolve())
	}
	return append(b, '}', '\n')
}

func appendJSONValue(b []byte, v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindString:
		return appendJSONString(b, v.String())
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindDuration:
		return strconv.AppendInt(b, int64(v.Duration()), 10)
	case slog.KindGroup:
		b = append(b, '{')
		for i, a := range v.Group() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSONString(b, a.Key)
			b = append(b, ':')
			b = appendJSONValue(b, a.Value.Resolve())
		}
		return append(b, '}')
	}
	if err, ok := v.Any().(error); ok {
		return appendJSONString(b, err.Error())
	}
	return appendJSONAny(b, v.Any())
}

func appendJSONString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendJSONAny(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendJSONAny(b []byte, v any) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return appendJSONString(b, fmt.Sprintf("!ERROR:%v", err))
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}
