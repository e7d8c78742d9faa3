package verdicts_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/dynamicpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tableFile is where the table goes; without, it is part of the test's log.
var tableFile = flag.String("table", "", "write the table of verdicts to this `file`")

// counter is one of transom_calls_total.
type counter struct{ method, door, code string }

// row is what all doors said to a question.
type row struct {
	question question
	doors    []door
	verdicts []verdict
	counted  []bool // the door counted its call once, under its real code
}

// TestSameVerdicts asks every door every question.
func TestSameVerdicts(t *testing.T) {
	s := setStage(t)
	var rows []row
	for i, q := range questions() {
		rows = append(rows, s.put(i, q))
	}
	text, agree, all := table(rows)
	if *tableFile == "" {
		t.Log("\n" + text)
	} else if err := os.WriteFile(*tableFile, []byte(text), 0o600); err != nil {
		t.Error(err)
	}
	if agree != all {
		t.Errorf("%d of %d verdicts agree", agree, all)
	}
}

// put asks a question at every door that can express it, each as a caller of its own.
func (s *stage) put(number int, q question) row {
	s.t.Helper()
	r := row{question: q}
	for _, d := range doors() {
		if (q.first == nil || d.kind == "Chat") && (q.kinds == "" || strings.Contains(q.kinds, d.kind)) {
			r.doors = append(r.doors, d)
		}
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	var calls []call
	for i, d := range r.doors {
		c := call{service: q.service, kind: d.kind, messages: []ask{q.ask}, caller: fmt.Sprintf("caller-%03d-%02d", number, i)}
		if q.first != nil {
			c.messages = []ask{*q.first, q.ask}
		}
		if q.who != nil {
			name, value := q.who(s.keys, c.caller)
			c.header = [][2]string{{name, value}}
		}
		calls = append(calls, c)
	}
	before := s.counted()
	release := s.prepare(ctx, q, calls)
	defer release()
	if q.before > 0 {
		before = s.await(before, q.before*len(calls))
	}
	r.verdicts = make([]verdict, len(calls))
	var wg sync.WaitGroup
	for i, d := range r.doors {
		wg.Go(func() { r.verdicts[i] = d.send(s, ctx, calls[i]) })
	}
	wg.Wait()
	r.compareCounters(s, before)
	return r
}

// prepare uses up what callers have, or keeps a call of each running until
// release.
func (s *stage) prepare(ctx context.Context, q question, calls []call) (release func()) {
	for _, c := range calls {
		for range q.before {
			first := c
			first.kind, first.messages = "Call", []ask{{Text: "hello"}}
			if v := overGRPC(s, ctx, first); v.code != codes.OK {
				s.t.Fatalf("%s: a call before: %s", q.name, v)
			}
		}
	}
	if !q.hold {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var held []grpc.ClientStream
	for _, c := range calls {
		md := metadata.MD{}
		for _, h := range c.header {
			md.Append(h[0], h[1])
		}
		// A Chat: it counts where the calls that are refused do not.
		ss, err := s.conn.NewStream(metadata.NewOutgoingContext(ctx, md), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/verdicts.v1."+c.service+"/Chat")
		if err == nil {
			err = ss.SendMsg(s.message(ask{Text: "hold"}))
		}
		if err == nil {
			err = ss.RecvMsg(dynamicpb.NewMessage(s.ask))
		}
		if err != nil {
			s.t.Fatalf("%s: a call that stays: %v", q.name, err)
		}
		held = append(held, ss)
	}
	return func() {
		cancel()
		for _, ss := range held {
			for ss.RecvMsg(dynamicpb.NewMessage(s.ask)) == nil {
			}
		}
	}
}

// await waits until n more calls are counted than before, and returns all counts.
func (s *stage) await(before map[counter]int, n int) map[counter]int {
	deadline := time.Now().Add(5 * time.Second)
	for {
		now := s.counted()
		if total(now)-total(before) >= n || time.Now().After(deadline) {
			return now
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// total counts the calls of our services; sockets of many calls are no calls.
func total(counts map[counter]int) int {
	sum := 0
	for c, n := range counts {
		if strings.HasPrefix(c.method, "/verdicts.v1.") {
			sum += n
		}
	}
	return sum
}

// compareCounters says which doors counted what their clients saw: as many
// calls more of each method, door and code as there were verdicts, and nothing else.
func (r *row) compareCounters(s *stage, before map[counter]int) {
	now := s.await(before, len(r.doors))
	more := maps.Clone(now)
	for c, n := range before {
		more[c] -= n
	}
	want, calls := map[counter]int{}, map[counter]int{}
	for i, d := range r.doors {
		c := counter{method: "/verdicts.v1." + r.question.service + "/" + d.kind, door: d.label, code: codeName(r.verdicts[i].code)}
		want[c]++
		c.code = ""
		calls[c]++
	}
	got := map[counter]int{}
	for c, n := range more {
		c.code = ""
		got[c] += n
	}
	for i, d := range r.doors {
		c := counter{method: "/verdicts.v1." + r.question.service + "/" + d.kind, door: d.label, code: codeName(r.verdicts[i].code)}
		every := counter{method: c.method, door: c.door}
		r.counted = append(r.counted, more[c] == want[c] && got[every] == calls[every])
	}
}

// agrees reports whether door i says what is expected, as the first door says it.
func (r *row) agrees(i int) bool {
	v := r.verdicts[i]
	return v == r.verdicts[0] && v.code == r.question.code && v.reason == r.question.reason && r.counted[i]
}

// table renders the verdicts, one question a line, what disagrees below.
func table(rows []row) (text string, agree, all int) {
	var b, wrong strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "question\tverdict\treason\tUnary calls")
	groups := []string{"Call", "Watch", "Chat"}
	fmt.Fprintln(w, "\tServer streams\tConversations\t")
	for _, r := range rows {
		marks := map[string]string{}
		for i, d := range r.doors {
			all++
			mark := "="
			if r.agrees(i) {
				agree++
			} else {
				mark = "X"
				fmt.Fprintf(&wrong, "%s, %s: %s", r.question.name, d.name, r.verdicts[i])
				if !r.counted[i] {
					wrong.WriteString(", counted otherwise")
				}
				fmt.Fprintf(&wrong, "\n    want %s %s, as %s: %s\n", r.question.code, r.question.reason, r.doors[0].name, r.verdicts[0])
			}
			marks[d.kind] += mark
		}
		fmt.Fprintf(w, "%s\t%s\t%s", r.question.name, codeName(r.question.code), r.question.reason)
		for _, g := range groups {
			fmt.Fprintf(w, "\t%s", marks[g])
		}
		fmt.Fprintln(w, "\t")
	}
	_ = w.Flush() // to memory
	b.WriteString(legend(groups))
	if wrong.Len() > 0 {
		b.WriteString("\n" + wrong.String())
	}
	fmt.Fprintf(&b, "\n%d of %d verdicts agree\n", agree, all)
	return b.String(), agree, all
}

// legend names the doors in the order of their marks.
func legend(groups []string) string {
	var b strings.Builder
	for _, g := range groups {
		var names []string
		for _, d := range doors() {
			if d.kind == g {
				names = append(names, d.name)
			}
		}
		fmt.Fprintf(&b, "\n%-5s  %s", g, strings.Join(names, ", "))
	}
	return b.String() + "\n"
}
