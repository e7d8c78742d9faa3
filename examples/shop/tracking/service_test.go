package main

import (
	"errors"
	"io"
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/transomhq/transom/examples/shop/internal/serve"
	"github.com/transomhq/transom/examples/shop/internal/servetest"
	trackingv1 "github.com/transomhq/transom/gen/shop/tracking/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const interval = 2 * time.Millisecond

func start(t *testing.T, began time.Time) (client trackingv1.TrackingServiceClient, stop func()) {
	t.Helper()
	conn, stop := servetest.Start(t, 1, func(server *grpc.Server, env serve.Env) error {
		trackingv1.RegisterTrackingServiceServer(server, newService(env, began, interval))
		return nil
	})
	return trackingv1.NewTrackingServiceClient(conn), stop
}

// A client that was cut off goes on at another copy of the service, and misses
// and repeats nothing.
func TestAnotherCopyResumes(t *testing.T) {
	began := time.Now()
	first, stop := start(t, began)
	stream, err := first.TrackOrder(t.Context(), &trackingv1.TrackOrderRequest{OrderId: "o-1001", AfterSequence: proto.Uint64(0)})
	if err != nil {
		t.Fatal(err)
	}
	var events []*trackingv1.TrackOrderResponse
	for len(events) < 10 {
		event, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, event)
	}
	go stop()
	for {
		event, err := stream.Recv()
		if err != nil {
			if status.Code(err) != codes.Unavailable {
				t.Errorf("at the stop: %v, want UNAVAILABLE", err)
			}
			break
		}
		events = append(events, event)
	}
	second, _ := start(t, began)
	stream, err = second.TrackOrder(t.Context(), &trackingv1.TrackOrderRequest{
		OrderId: "o-1001", AfterSequence: proto.Uint64(events[len(events)-1].GetSequence()),
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		event, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, event)
	}
	j, _ := find("o-1001", 1, began, interval)
	for i, event := range events {
		if event.GetSequence() != uint64(i+1) {
			t.Fatalf("event %d has number %d", i+1, event.GetSequence())
		}
		if want := j.at(event.GetSequence()); !proto.Equal(event, want) {
			t.Errorf("event %d is %v, want %v", i+1, event, want)
		}
	}
}

func TestArrivingOrdersEnd(t *testing.T) {
	client, _ := start(t, time.Now().Add(-time.Hour))
	stream, err := client.TrackOrder(t.Context(), &trackingv1.TrackOrderRequest{OrderId: "o-1005", AfterSequence: proto.Uint64(shortTrip - 2)})
	if err != nil {
		t.Fatal(err)
	}
	var last *trackingv1.TrackOrderResponse
	for n := 0; ; n++ {
		event, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if n != 2 {
				t.Errorf("%d events, want 2", n)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = event
	}
	if last.GetLeg() != trackingv1.Leg_LEG_DELIVERED || last.GetEta().AsDuration() != 0 {
		t.Errorf("the last event is %v", last)
	}
}

func TestNumbersOutOfReach(t *testing.T) {
	client, _ := start(t, time.Now().Add(-time.Hour)) // more positions than are kept
	for _, n := range []uint64{1, math.MaxUint64} {
		_, err := client.ListPositions(t.Context(), &trackingv1.ListPositionsRequest{OrderId: "o-1001", AfterSequence: n})
		if status.Code(err) != codes.OutOfRange {
			t.Errorf("after %d: %v, want OUT_OF_RANGE", n, err)
		}
	}
	answer, err := client.ListPositions(t.Context(), &trackingv1.ListPositionsRequest{OrderId: "o-1001", Limit: 3})
	if err != nil || len(answer.GetPositions()) != 3 {
		t.Errorf("got %v, %v", answer, err)
	}
}

func TestUnknownOrders(t *testing.T) {
	for _, id := range []string{"", "o-", "o-1000", "o-01001", "1001", "o-99999999999999999999"} {
		if _, ok := find(id, 1, time.Now(), interval); ok {
			t.Errorf("%q is carried", id)
		}
	}
}

// Positions follow each other as a courier can travel.
func TestJourneysAreSteady(t *testing.T) {
	j, _ := find("o-1002", 1, time.Now(), time.Second)
	for n := range uint64(3 * round) {
		a, b := j.place(n), j.place(n+1)
		if d := a.distance(b); d > 40 {
			t.Fatalf("from %d to %d are %.0f m", n, n+1, d)
		}
	}
}
