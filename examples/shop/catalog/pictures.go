package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/examples/shop/internal/serve"
	catalogv1 "github.com/transomhq/transom/gen/shop/catalog/v1"
)

const (
	chunkBytes    = 32 << 10 // what one message of a download carries
	maxKeptBytes  = 1 << 20  // larger pictures are digested, not kept
	maxNoiseBytes = 4 << 30
)

// picture draws a square whose colour follows from name.
func picture(name string, size uint32) []byte {
	sum := sha256.Sum256([]byte(name))
	return fmt.Appendf(nil,
		`<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[1]d" viewBox="0 0 8 8"><rect width="8" height="8" fill="#%[2]x"/><circle cx="4" cy="4" r="%[3]d" fill="#fff"/></svg>`,
		size, sum[:3], 1+sum[3]%3)
}

func (s *service) GetThumbnail(_ context.Context, req *catalogv1.GetThumbnailRequest) (*httpbody.HttpBody, error) {
	if _, err := s.find(req.GetName()); err != nil {
		return nil, err
	}
	size := req.GetSize()
	if size == 0 {
		size = 64
	}
	return &httpbody.HttpBody{ContentType: "image/svg+xml", Data: picture(strings.TrimPrefix(req.GetName(), "products/"), size)}, nil
}

func (s *service) PutImage(_ context.Context, req *catalogv1.PutImageRequest) (*catalogv1.PutImageResponse, error) {
	product, _, ok := strings.Cut(req.GetName(), "/images/")
	if !ok {
		return nil, serve.Invalid("name", `want "products/PRODUCT/images/PATH"`)
	}
	if _, err := s.find(product); err != nil {
		return nil, err
	}
	data := req.GetImage().GetData()
	if len(data) > maxKeptBytes {
		return nil, serve.Error(codes.ResourceExhausted, "IMAGE_TOO_LARGE", fmt.Sprintf("the picture has %d bytes, %d are kept at most", len(data), maxKeptBytes))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.images[req.GetName()] = req.GetImage()
	digest := sha256.Sum256(data)
	return &catalogv1.PutImageResponse{Name: req.GetName(), Digest: digest[:], SizeBytes: int64(len(data))}, nil
}

// DownloadImage knows, besides the pictures that were stored, two that every
// product has: "main.svg", and "noise/N": N bytes that look random and are
// always the same, for tests of large downloads.
func (s *service) DownloadImage(req *catalogv1.DownloadImageRequest, stream grpc.ServerStreamingServer[httpbody.HttpBody]) error {
	product, path, _ := strings.Cut(req.GetName(), "/images/")
	if _, err := s.find(product); err != nil {
		return err
	}
	if size, ok := strings.CutPrefix(path, "noise/"); ok {
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil || n < 0 || n > maxNoiseBytes {
			return serve.Invalid("name", fmt.Sprintf("noise/N needs a number of bytes from 0 to %d", int64(maxNoiseBytes)))
		}
		return send(stream, "application/octet-stream", noise(n))
	}
	if path == "main.svg" {
		return send(stream, "image/svg+xml", strings.NewReader(string(picture(strings.TrimPrefix(product, "products/"), 256))))
	}
	s.mu.Lock()
	image, ok := s.images[req.GetName()]
	s.mu.Unlock()
	if !ok {
		return serve.NotFound("image", req.GetName())
	}
	return send(stream, image.GetContentType(), strings.NewReader(string(image.GetData())))
}

// noise is n bytes that look random and are always the same.
func noise(n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{}), n)
}

// send sends r in chunks; the first message, and only it, has the content type.
func send(stream grpc.ServerStreamingServer[httpbody.HttpBody], contentType string, r io.Reader) error {
	buf := make([]byte, chunkBytes)
	for first := true; ; first = false {
		n, err := io.ReadFull(r, buf)
		if n > 0 || first {
			body := &httpbody.HttpBody{Data: buf[:n]}
			if first {
				body.ContentType = contentType
			}
			if err := stream.Send(body); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *service) UploadImage(stream grpc.ClientStreamingServer[httpbody.HttpBody, catalogv1.UploadImageResponse]) error {
	digest := sha256.New()
	answer := &catalogv1.UploadImageResponse{}
	kept := &httpbody.HttpBody{}
	for {
		body, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if answer.GetChunks() == 0 {
			kept.ContentType = body.GetContentType()
		}
		answer.Chunks++
		answer.SizeBytes += int64(len(body.GetData()))
		digest.Write(body.GetData())
		if answer.GetSizeBytes() <= maxKeptBytes {
			kept.Data = append(kept.GetData(), body.GetData()...)
		}
	}
	answer.Digest = digest.Sum(nil)
	if answer.GetSizeBytes() <= maxKeptBytes {
		s.mu.Lock()
		s.images["images/"+hex.EncodeToString(answer.GetDigest())] = kept
		s.mu.Unlock()
	}
	return stream.SendAndClose(answer)
}
