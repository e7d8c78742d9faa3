package main

import (
	"crypto/sha256"
	"errors"
	"io"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/transomhq/transom/examples/shop/internal/servetest"
	catalogv1 "github.com/transomhq/transom/gen/shop/catalog/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) (client catalogv1.CatalogServiceClient, stop func()) {
	t.Helper()
	conn, stop := servetest.Start(t, 1, register)
	return catalogv1.NewCatalogServiceClient(conn), stop
}

func TestErrorsCarryDetails(t *testing.T) {
	client, _ := start(t)
	_, err := client.GetProduct(t.Context(), &catalogv1.GetProductRequest{Name: "products/unicorn"})
	if status.Code(err) != codes.NotFound {
		t.Fatalf("got %v, want NOT_FOUND", err)
	}
	resource := detail[*errdetails.ResourceInfo](t, err)
	if resource.GetResourceName() != "products/unicorn" {
		t.Errorf("resource is %v", resource)
	}

	_, err = client.ListProducts(t.Context(), &catalogv1.ListProductsRequest{PageSize: -1})
	bad := detail[*errdetails.BadRequest](t, err)
	if got := bad.GetFieldViolations()[0].GetField(); got != "page_size" {
		t.Errorf("violation of %q, want page_size", got)
	}

	_, err = client.DeleteProduct(t.Context(), &catalogv1.DeleteProductRequest{Name: "products/teapot"})
	if got := detail[*errdetails.PreconditionFailure](t, err).GetViolations()[0].GetSubject(); got != "products/teapot" {
		t.Errorf("subject is %q", got)
	}
}

func detail[D any](t *testing.T, err error) D {
	t.Helper()
	for _, d := range status.Convert(err).Details() {
		if d, ok := d.(D); ok {
			return d
		}
	}
	var none D
	t.Fatalf("no %T in %v", none, err)
	return none
}

func TestSameSeedSameShop(t *testing.T) {
	a, b := seedProducts(7), seedProducts(7)
	for i := range a {
		if !proto.Equal(a[i], b[i]) {
			t.Errorf("%v\n%v", a[i], b[i])
		}
	}
}

func TestUpdateChangesWhatTheMaskNames(t *testing.T) {
	client, _ := start(t)
	answer, err := client.UpdateProduct(t.Context(), &catalogv1.UpdateProductRequest{
		Product:    &catalogv1.Product{Name: "products/teapot", Title: "Samovar", Description: "not masked", Dimensions: &catalogv1.Dimensions{LengthMm: 1}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"title", "dimensions.length_mm"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := answer.GetProduct()
	if p.GetTitle() != "Samovar" || p.GetDimensions().GetLengthMm() != 1 || p.GetDimensions().GetWidthMm() == 0 || p.GetDescription() == "not masked" {
		t.Errorf("got %v", p)
	}
	_, err = client.UpdateProduct(t.Context(), &catalogv1.UpdateProductRequest{
		Product: &catalogv1.Product{Name: "products/teapot", Revision: 1}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"title"}},
	})
	if status.Code(err) != codes.Aborted {
		t.Errorf("an old revision: %v, want ABORTED", err)
	}
}

func TestWatchersSeeEveryChange(t *testing.T) {
	client, stop := start(t)
	watch, err := client.WatchProducts(t.Context(), &catalogv1.WatchProductsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Header(); err != nil { // it is watching now
		t.Fatal(err)
	}
	for _, title := range []string{"A", "B", "C"} {
		if _, err := client.SetTitle(t.Context(), &catalogv1.SetTitleRequest{Name: "products/globe", Title: title}); err != nil {
			t.Fatal(err)
		}
	}
	for n, title := range []string{"A", "B", "C"} {
		event, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if event.GetSequence() != uint64(n+1) || event.GetProduct().GetTitle() != title {
			t.Errorf("event %d is %d, %q", n+1, event.GetSequence(), event.GetProduct().GetTitle())
		}
	}
	stop()
	if _, err := watch.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("at the stop: %v, want UNAVAILABLE", err)
	}
}

func TestImagesInPieces(t *testing.T) {
	client, _ := start(t)
	const size = 3*chunkBytes + 5
	down, err := client.DownloadImage(t.Context(), &catalogv1.DownloadImageRequest{Name: "products/globe/images/noise/98309"})
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for {
		body, err := down.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, body.GetData()...)
	}
	if len(got) != size {
		t.Fatalf("got %d bytes, want %d", len(got), size)
	}
	up, err := client.UploadImage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range [][]byte{got[:1], got[1:50_000], got[50_000:]} {
		if err := up.Send(&httpbody.HttpBody{ContentType: "image/png", Data: piece}); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := up.CloseAndRecv()
	if err != nil {
		t.Fatal(err)
	}
	if answer.GetChunks() != 3 || answer.GetSizeBytes() != size || [32]byte(answer.GetDigest()) != sha256.Sum256(got) {
		t.Errorf("got %v", answer)
	}
}
