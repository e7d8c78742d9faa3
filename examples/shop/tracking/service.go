package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/transomhq/transom/examples/shop/internal/serve"
	trackingv1 "github.com/transomhq/transom/gen/shop/tracking/v1"
)

const (
	kept         = 10_000 // positions of an order that can still be asked for
	defaultLimit = 100
	defaultSize  = 256
	receiptEvery = 10
)

// service follows orders. It keeps nothing: journeys follow from seed and clock.
type service struct {
	trackingv1.UnimplementedTrackingServiceServer
	env      serve.Env
	began    time.Time
	interval time.Duration
}

func newService(env serve.Env, began time.Time, interval time.Duration) *service {
	return &service{env: env, began: began, interval: interval}
}

func (s *service) find(orderID string) (journey, error) {
	j, ok := find(orderID, s.env.Seed, s.began, s.interval)
	if !ok {
		return journey{}, serve.NotFound("journey", orderID)
	}
	return j, nil
}

func (s *service) GetPosition(_ context.Context, req *trackingv1.GetPositionRequest) (*trackingv1.GetPositionResponse, error) {
	j, err := s.find(req.GetOrderId())
	if err != nil {
		return nil, err
	}
	last := j.last(time.Now())
	if last == 0 {
		return nil, serve.FailedPrecondition("NOT_STARTED", req.GetOrderId(), "the journey has not begun")
	}
	event := j.at(last)
	return &trackingv1.GetPositionResponse{Position: event.GetPosition(), Sequence: last, Leg: event.GetLeg()}, nil
}

// oldest returns the number of the oldest position that is kept.
func oldest(last uint64) uint64 {
	if last > kept {
		return last - kept + 1
	}
	return 1
}

// after checks that the positions after number n are kept, and returns the
// first of them. 0 asks for the oldest.
func after(n, last uint64) (uint64, error) {
	first := oldest(last)
	switch {
	case n == 0:
		return first, nil
	case n > last:
		return 0, serve.Error(codes.OutOfRange, "SEQUENCE_AHEAD", fmt.Sprintf("position %d is still to come: the last one is %d", n, last))
	case n+1 < first:
		return 0, serve.Error(codes.OutOfRange, "SEQUENCE_NOT_KEPT", fmt.Sprintf("position %d is no longer kept: the oldest one is %d", n+1, first))
	}
	return n + 1, nil
}

func (s *service) ListPositions(_ context.Context, req *trackingv1.ListPositionsRequest) (*trackingv1.ListPositionsResponse, error) {
	j, err := s.find(req.GetOrderId())
	if err != nil {
		return nil, err
	}
	last := j.last(time.Now())
	n, err := after(req.GetAfterSequence(), last)
	if err != nil {
		return nil, err
	}
	every := req.GetEvery().AsDuration()
	if every < 0 {
		return nil, serve.Invalid("every", "must not be negative")
	}
	step := uint64(max(1, every/s.interval))
	limit := int(cmp.Or(req.GetLimit(), defaultLimit))
	answer := &trackingv1.ListPositionsResponse{LastSequence: last}
	for ; n <= last && len(answer.GetPositions()) < limit; n += step {
		event := j.at(n)
		if req.GetLeg() == 0 || req.GetLeg() == event.GetLeg() {
			answer.Positions = append(answer.Positions, event)
		}
	}
	return answer, nil
}

// TrackOrder sends each position at its time, and those of the past at once.
func (s *service) TrackOrder(req *trackingv1.TrackOrderRequest, stream grpc.ServerStreamingServer[trackingv1.TrackOrderResponse]) error {
	j, err := s.find(req.GetOrderId())
	if err != nil {
		return err
	}
	last := j.last(time.Now())
	n := max(1, last)
	if req.AfterSequence != nil {
		if n, err = after(req.GetAfterSequence(), last); err != nil {
			return err
		}
	}
	if err := stream.SendHeader(nil); err != nil { // the client knows that it is following before anything happens
		return err
	}
	for sent := 0; ; n, sent = n+1, sent+1 {
		if j.kind == arriving && n > shortTrip {
			return nil
		}
		if j.kind == careless && sent == lostEvery {
			return serve.Error(codes.Unavailable, "COURIER_UNREACHABLE", fmt.Sprintf("the courier is out of reach: follow again after position %d", n-1))
		}
		if err := s.wait(stream.Context(), j.time(n)); err != nil {
			return err
		}
		if err := stream.Send(j.at(n)); err != nil {
			return err
		}
	}
}

// wait returns at the time, or with the reason why the call ends before.
func (s *service) wait(ctx context.Context, until time.Time) error {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	case <-s.env.Stopping:
		return serve.Stopped()
	}
}

func (s *service) GetMap(_ context.Context, req *trackingv1.GetMapRequest) (*httpbody.HttpBody, error) {
	j, err := s.find(req.GetOrderId())
	if err != nil {
		return nil, err
	}
	size := cmp.Or(req.GetSize(), defaultSize)
	// One unit of the picture is a ten-thousandth of a degree of latitude.
	shrink := func(p point) (x, y float64) {
		north, east := point{townLatitude, townLongitude}.flat(p)
		return east / metresPerDegree * 1e4, -north / metresPerDegree * 1e4
	}
	var way strings.Builder
	for step := uint64(0); step < j.length(); step += 4 {
		x, y := shrink(j.place(step))
		fmt.Fprintf(&way, "%.1f,%.1f ", x, y)
	}
	x, y := shrink(j.place((max(1, j.last(time.Now())) - 1) % j.length()))
	svg := fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[1]d" viewBox="-150 -150 300 300">`+
		`<polygon points="%[2]s" fill="none" stroke="#678" stroke-width="3"/><circle cx="%[3].1f" cy="%[4].1f" r="7" fill="#c30"/></svg>`,
		size, strings.TrimSpace(way.String()), x, y)
	return &httpbody.HttpBody{ContentType: "image/svg+xml", Data: svg}, nil
}

func (s *service) ReportPositions(stream grpc.ClientStreamingServer[trackingv1.ReportPositionsRequest, trackingv1.ReportPositionsResponse]) error {
	answer := &trackingv1.ReportPositionsResponse{}
	var first, previous *trackingv1.Position
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if first != nil {
				answer.Covered = durationpb.New(previous.GetTime().AsTime().Sub(first.GetTime().AsTime()))
			}
			return stream.SendAndClose(answer)
		}
		if err != nil {
			return err
		}
		position := req.GetPosition()
		if first == nil {
			first, previous = position, position
		}
		from := point{previous.GetLatitude(), previous.GetLongitude()}
		answer.DistanceM += from.distance(point{position.GetLatitude(), position.GetLongitude()})
		answer.Accepted++
		previous = position
	}
}

// CourierSession hands out one errand after the other.
func (s *service) CourierSession(stream grpc.BidiStreamingServer[trackingv1.CourierSessionRequest, trackingv1.CourierSessionResponse]) error {
	var named bool
	var received, errand uint64
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var answer *trackingv1.CourierSessionResponse
		switch event := req.GetEvent().(type) {
		case *trackingv1.CourierSessionRequest_CourierId:
			named, errand = true, 1
			answer = s.errand(errand)
		case *trackingv1.CourierSessionRequest_Position:
			if received++; received%receiptEvery == 0 {
				answer = &trackingv1.CourierSessionResponse{Event: &trackingv1.CourierSessionResponse_Received{Received: received}}
			}
		case *trackingv1.CourierSessionRequest_Done:
			if event.Done != errand {
				return serve.Invalid("done", fmt.Sprintf("the errand at hand is number %d", errand))
			}
			errand++
			answer = s.errand(errand)
		}
		if !named {
			return serve.FailedPrecondition("COURIER_FIRST", "session", "say who you are first, with courier_id")
		}
		if answer != nil {
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
	}
}

// errand makes the errand of a number.
func (s *service) errand(number uint64) *trackingv1.CourierSessionResponse {
	orderID := fmt.Sprintf("o-%d", firstOrder+(number-1)%(lastOrder-firstOrder+1))
	j, _ := find(orderID, s.env.Seed, s.began, s.interval) // is one of those that are carried
	goal := j.place(j.length() - 1)
	return &trackingv1.CourierSessionResponse{Event: &trackingv1.CourierSessionResponse_Errand{Errand: &trackingv1.Errand{
		Number: number, OrderId: orderID, Destination: &trackingv1.Position{Latitude: goal.latitude, Longitude: goal.longitude},
	}}}
}
