package main

import (
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/examples/shop/internal/serve"
	catalogv1 "github.com/transomhq/transom/gen/shop/catalog/v1"
)

func (s *service) UploadInventory(stream grpc.ClientStreamingServer[catalogv1.UploadInventoryRequest, catalogv1.UploadInventoryResponse]) error {
	answer := &catalogv1.UploadInventoryResponse{Rejected: map[string]string{}}
	for {
		count, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(answer)
		}
		if err != nil {
			return err
		}
		_, err = s.change(count.GetName(), func(product *catalogv1.Product) error {
			if product.Stock == nil {
				product.Stock = map[int32]int64{}
			}
			product.Stock[count.GetWarehouse()] = count.GetCount()
			return nil
		})
		if err != nil {
			answer.Rejected[count.GetName()] = status.Convert(err).Message()
			continue
		}
		answer.Accepted++
	}
}

func (s *service) WatchProducts(req *catalogv1.WatchProductsRequest, stream grpc.ServerStreamingServer[catalogv1.WatchProductsResponse]) error {
	last := req.GetAfterSequence()
	if last == 0 {
		last = s.feed.Last()
	}
	if err := stream.SendHeader(nil); err != nil { // the client knows that it is watching before anything happens
		return err
	}
	for {
		events, more, ok := s.feed.After(last)
		if !ok {
			return serve.Error(codes.OutOfRange, "SEQUENCE_NOT_KEPT", "changes after that number are not kept: list the products and watch from now on")
		}
		for _, event := range events {
			last = event.GetSequence()
			if req.GetCategory() != "" && event.GetProduct().GetCategory() != req.GetCategory() {
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
