package main

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/transomhq/transom/examples/shop/internal/serve"
	ordersv1 "github.com/transomhq/transom/gen/shop/orders/v1"
)

func (s *service) ImportOrders(stream grpc.ClientStreamingServer[ordersv1.ImportOrdersRequest, ordersv1.ImportOrdersResponse]) error {
	answer := &ordersv1.ImportOrdersResponse{}
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(answer)
		}
		if err != nil {
			return err
		}
		order := proto.CloneOf(req.GetOrder())
		if order.GetId() == "" {
			return serve.Invalid("order.id", "an imported order needs the id that it had")
		}
		s.mu.Lock()
		if s.orders[order.GetId()] != nil {
			answer.DuplicateIds = append(answer.DuplicateIds, order.GetId())
		} else {
			s.storeLocked(order)
			answer.Imported++
		}
		s.mu.Unlock()
	}
}

func (s *service) WatchOrders(req *ordersv1.WatchOrdersRequest, stream grpc.ServerStreamingServer[ordersv1.WatchOrdersResponse]) error {
	last := req.GetAfterSequence()
	if last == 0 {
		last = s.feed.Last()
	}
	if id := req.GetOrderId(); id != "" {
		if _, err := s.find(id); err != nil {
			return err
		}
	}
	if err := stream.SendHeader(nil); err != nil { // the client knows that it is watching before anything happens
		return err
	}
	for {
		events, more, ok := s.feed.After(last)
		if !ok {
			return serve.Error(codes.OutOfRange, "SEQUENCE_NOT_KEPT", "changes after that number are not kept: list the orders and watch from now on")
		}
		for _, event := range events {
			last = event.GetSequence()
			if req.GetOrderId() != "" && event.GetOrder().GetId() != req.GetOrderId() {
				continue
			}
			if err := stream.Send(event); err != nil {
				return err
			}
		}
		select {
		case <-more:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		case <-s.env.Stopping:
			return serve.Stopped()
		}
	}
}

// Chat answers as a patient person at the support would. The one who answers
// never talks unasked, so a conversation is the same every time.
func (s *service) Chat(stream grpc.BidiStreamingServer[ordersv1.ChatRequest, ordersv1.ChatResponse]) error {
	talk := conversation{service: s}
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.Send(talk.say("Good bye."))
		}
		if err != nil {
			return err
		}
		answers, err := talk.answer(req)
		if err != nil {
			return err
		}
		for _, answer := range answers {
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
	}
}

// conversation is what the support remembers of a chat.
type conversation struct {
	service *service
	name    string
	lines   uint64
}

func (c *conversation) answer(req *ordersv1.ChatRequest) ([]*ordersv1.ChatResponse, error) {
	if req.GetHello() == nil && c.name == "" {
		return nil, serve.FailedPrecondition("HELLO_FIRST", "chat", "say hello first, with a name")
	}
	switch event := req.GetEvent().(type) {
	case *ordersv1.ChatRequest_Hello:
		return c.greet(event.Hello)
	case *ordersv1.ChatRequest_Text:
		return []*ordersv1.ChatResponse{
			c.next(&ordersv1.ChatResponse{Event: &ordersv1.ChatResponse_Typing{Typing: true}}),
			c.say(fmt.Sprintf("%s, you said: %s", c.name, event.Text)),
		}, nil
	case *ordersv1.ChatRequest_Picture:
		return []*ordersv1.ChatResponse{c.say(fmt.Sprintf("A picture of %d bytes, thank you.", len(event.Picture)))}, nil
	}
	return nil, nil // typing needs no answer
}

func (c *conversation) greet(hello *ordersv1.ChatHello) ([]*ordersv1.ChatResponse, error) {
	if hello.GetName() == "" {
		return nil, serve.Invalid("hello.name", "who is talking?")
	}
	c.name = hello.GetName()
	answers := []*ordersv1.ChatResponse{c.say("Hello " + c.name + ".")}
	if hello.GetOrderId() != "" {
		order, err := c.service.find(hello.GetOrderId())
		if err != nil {
			return nil, err
		}
		answers = append(answers, c.next(&ordersv1.ChatResponse{Event: &ordersv1.ChatResponse_Order{Order: order}}))
	}
	return answers, nil
}

func (c *conversation) say(text string) *ordersv1.ChatResponse {
	return c.next(&ordersv1.ChatResponse{Event: &ordersv1.ChatResponse_Text{Text: text}})
}

// next gives an answer its number.
func (c *conversation) next(answer *ordersv1.ChatResponse) *ordersv1.ChatResponse {
	c.lines++
	answer.Sequence = c.lines
	return answer
}
