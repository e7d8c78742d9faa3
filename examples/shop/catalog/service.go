package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/transomhq/transom/examples/shop/internal/serve"
	catalogv1 "github.com/transomhq/transom/gen/shop/catalog/v1"
)

const (
	defaultPage = 50
	keptChanges = 1000
)

// service is the catalog, in memory.
type service struct {
	catalogv1.UnimplementedCatalogServiceServer
	env  serve.Env
	feed *serve.Feed[*catalogv1.WatchProductsResponse]

	mu       sync.Mutex
	products map[string]*catalogv1.Product // by name; never changed in place
	images   map[string]*httpbody.HttpBody // by name
}

func newService(env serve.Env) *service {
	s := &service{
		env:      env,
		feed:     serve.NewFeed[*catalogv1.WatchProductsResponse](keptChanges),
		products: map[string]*catalogv1.Product{},
		images:   map[string]*httpbody.HttpBody{},
	}
	for _, product := range seedProducts(env.Seed) {
		s.products[product.GetName()] = product
	}
	return s
}

// find returns the product of a name, also of one below its category.
func (s *service) find(name string) (*catalogv1.Product, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.findLocked(name)
}

func (s *service) findLocked(name string) (*catalogv1.Product, error) {
	category := ""
	if i := strings.LastIndex(name, "/products/"); i >= 0 {
		category, name = name[:i], name[i+1:]
	}
	product, ok := s.products[name]
	if !ok || category != "" && product.GetCategory() != category {
		return nil, serve.NotFound("product", name)
	}
	return product, nil
}

// change replaces a product by what edit makes of a copy of it, and tells the watchers.
func (s *service) change(name string, edit func(*catalogv1.Product) error) (*catalogv1.Product, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.findLocked(name)
	if err != nil {
		return nil, err
	}
	product := proto.CloneOf(old)
	if err := edit(product); err != nil {
		return nil, err
	}
	s.storeLocked(product)
	return product, nil
}

func (s *service) storeLocked(product *catalogv1.Product) {
	product.UpdateTime = timestamppb.Now()
	product.Revision++
	s.products[product.GetName()] = product
	s.feed.Add(func(n uint64) *catalogv1.WatchProductsResponse {
		return &catalogv1.WatchProductsResponse{
			Sequence: n, Time: product.GetUpdateTime(), Change: &catalogv1.WatchProductsResponse_Product{Product: product},
		}
	})
}

func (s *service) GetProduct(_ context.Context, req *catalogv1.GetProductRequest) (*catalogv1.GetProductResponse, error) {
	product, err := s.find(req.GetName())
	if err != nil {
		return nil, err
	}
	product, err = masked(product, req.GetReadMask())
	return &catalogv1.GetProductResponse{Product: product}, err
}

func (s *service) ListProducts(_ context.Context, req *catalogv1.ListProductsRequest) (*catalogv1.ListProductsResponse, error) {
	found := s.filtered(func(p *catalogv1.Product) bool {
		return (req.GetParent() == "" || p.GetCategory() == req.GetParent()) && passes(p, req.GetFilter())
	})
	order(found, req.GetOrder())
	start := 0
	if req.GetPageToken() != "" {
		var err error
		if start, err = strconv.Atoi(req.GetPageToken()); err != nil || start < 0 || start > len(found) {
			return nil, serve.Invalid("page_token", "use the next_page_token of the page before")
		}
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPage
	}
	answer := &catalogv1.ListProductsResponse{TotalSize: int64(len(found))}
	end := min(start+size, len(found))
	if end < len(found) {
		answer.NextPageToken = strconv.Itoa(end)
	}
	for _, p := range found[start:end] {
		p, err := masked(p, req.GetReadMask())
		if err != nil {
			return nil, err
		}
		answer.Products = append(answer.Products, p)
	}
	return answer, nil
}

// filtered returns the products that pass, by name.
func (s *service) filtered(pass func(*catalogv1.Product) bool) []*catalogv1.Product {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*catalogv1.Product
	for _, p := range s.products {
		if pass(p) {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b *catalogv1.Product) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return found
}

func order(products []*catalogv1.Product, by catalogv1.ProductOrder) {
	switch by {
	case catalogv1.ProductOrder_PRODUCT_ORDER_PRICE:
		slices.SortStableFunc(products, func(a, b *catalogv1.Product) int { return cmp.Compare(a.GetPriceMinor(), b.GetPriceMinor()) })
	case catalogv1.ProductOrder_PRODUCT_ORDER_NEWEST:
		slices.SortStableFunc(products, func(a, b *catalogv1.Product) int {
			return b.GetCreateTime().AsTime().Compare(a.GetCreateTime().AsTime())
		})
	}
}

func (s *service) SearchProducts(_ context.Context, req *catalogv1.SearchProductsRequest) (*catalogv1.SearchProductsResponse, error) {
	words := strings.Fields(strings.ToLower(req.GetQuery()))
	limit := int(req.GetLimit())
	if limit == 0 {
		limit = 10
	}
	answer := &catalogv1.SearchProductsResponse{}
	for _, p := range s.filtered(func(p *catalogv1.Product) bool { return passes(p, req.GetFilter()) }) {
		text := strings.ToLower(p.GetTitle() + " " + p.GetDescription())
		hits := 0
		for _, word := range words {
			if strings.Contains(text, word) {
				hits++
			}
		}
		if hits > 0 {
			answer.Hits = append(answer.Hits, &catalogv1.SearchHit{Product: p, Score: float64(hits) / float64(len(words))})
		}
	}
	slices.SortStableFunc(answer.GetHits(), func(a, b *catalogv1.SearchHit) int { return cmp.Compare(b.GetScore(), a.GetScore()) })
	answer.Hits = answer.GetHits()[:min(limit, len(answer.GetHits()))]
	return answer, nil
}

func (s *service) BatchGetProducts(_ context.Context, req *catalogv1.BatchGetProductsRequest) (*catalogv1.BatchGetProductsResponse, error) {
	answer := &catalogv1.BatchGetProductsResponse{}
	for _, name := range req.GetNames() {
		product, err := s.find(name)
		if err != nil {
			return nil, err
		}
		answer.Products = append(answer.Products, product)
	}
	return answer, nil
}

func (s *service) CreateProduct(_ context.Context, req *catalogv1.CreateProductRequest) (*catalogv1.CreateProductResponse, error) {
	product := proto.CloneOf(req.GetProduct())
	id := cmp.Or(req.GetProductId(), slug(product.GetTitle()))
	if id == "" {
		return nil, serve.Invalid("product.title", "needs a letter or digit of ASCII, or set product_id")
	}
	product.Name = "products/" + id
	product.Category = cmp.Or(req.GetParent(), product.GetCategory())
	product.CreateTime, product.Revision = timestamppb.Now(), 0
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.products[product.GetName()] != nil {
		return nil, serve.AlreadyExists("product", product.GetName())
	}
	if !req.GetValidateOnly() {
		s.storeLocked(product)
	}
	return &catalogv1.CreateProductResponse{Product: product}, nil
}

func (s *service) UpdateProduct(_ context.Context, req *catalogv1.UpdateProductRequest) (*catalogv1.UpdateProductResponse, error) {
	sent := req.GetProduct()
	product, err := s.change(sent.GetName(), func(product *catalogv1.Product) error {
		if have, want := product.GetRevision(), sent.GetRevision(); want != 0 && have != want {
			return serve.Conflict("product", product.GetName(), have, want)
		}
		name, created, revision := product.GetName(), product.GetCreateTime(), product.GetRevision()
		if err := merge(product, sent, req.GetUpdateMask()); err != nil {
			return err
		}
		product.Name, product.CreateTime, product.Revision = name, created, revision
		return nil
	})
	return &catalogv1.UpdateProductResponse{Product: product}, err
}

func (s *service) DeleteProduct(_ context.Context, req *catalogv1.DeleteProductRequest) (*emptypb.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	product, err := s.findLocked(req.GetName())
	if err != nil {
		return nil, err
	}
	if product.GetStatus() == catalogv1.ProductStatus_PRODUCT_STATUS_ACTIVE {
		return nil, serve.FailedPrecondition("PRODUCT_ON_SALE", product.GetName(), "the product is on sale: archive it first")
	}
	if have, want := product.GetRevision(), req.GetRevision(); want != 0 && have != want {
		return nil, serve.Conflict("product", product.GetName(), have, want)
	}
	delete(s.products, product.GetName())
	s.feed.Add(func(n uint64) *catalogv1.WatchProductsResponse {
		return &catalogv1.WatchProductsResponse{
			Sequence: n, Time: timestamppb.Now(), Change: &catalogv1.WatchProductsResponse_DeletedName{DeletedName: product.GetName()},
		}
	})
	return &emptypb.Empty{}, nil
}

func (s *service) ArchiveProduct(_ context.Context, req *catalogv1.ArchiveProductRequest) (*catalogv1.ArchiveProductResponse, error) {
	product, err := s.change(req.GetName(), func(product *catalogv1.Product) error {
		product.Status = catalogv1.ProductStatus_PRODUCT_STATUS_ARCHIVED
		return nil
	})
	return &catalogv1.ArchiveProductResponse{Product: product}, err
}

func (s *service) GetLabels(_ context.Context, req *catalogv1.GetLabelsRequest) (*catalogv1.GetLabelsResponse, error) {
	product, err := s.find(req.GetName())
	return &catalogv1.GetLabelsResponse{Labels: product.GetLabels()}, err
}

func (s *service) SetLabels(_ context.Context, req *catalogv1.SetLabelsRequest) (*catalogv1.SetLabelsResponse, error) {
	product, err := s.change(req.GetName(), func(product *catalogv1.Product) error {
		product.Labels = req.GetLabels()
		return nil
	})
	return &catalogv1.SetLabelsResponse{Labels: product.GetLabels()}, err
}

func (s *service) SetTags(_ context.Context, req *catalogv1.SetTagsRequest) (*catalogv1.SetTagsResponse, error) {
	product, err := s.change(req.GetName(), func(product *catalogv1.Product) error {
		product.Tags = req.GetTags()
		return nil
	})
	return &catalogv1.SetTagsResponse{Tags: product.GetTags()}, err
}

func (s *service) SetTitle(_ context.Context, req *catalogv1.SetTitleRequest) (*catalogv1.SetTitleResponse, error) {
	product, err := s.change(req.GetName(), func(product *catalogv1.Product) error {
		product.Title = req.GetTitle()
		return nil
	})
	return &catalogv1.SetTitleResponse{Title: product.GetTitle()}, err
}

func (s *service) ListCategories(context.Context, *catalogv1.ListCategoriesRequest) (*catalogv1.ListCategoriesResponse, error) {
	answer := &catalogv1.ListCategoriesResponse{}
	for _, shelf := range shelves {
		name := "categories/" + shelf.id
		count := len(s.filtered(func(p *catalogv1.Product) bool { return p.GetCategory() == name }))
		answer.Categories = append(answer.Categories, &catalogv1.Category{Name: name, Title: shelf.title, ProductCount: int64(count)})
	}
	return answer, nil
}

func (s *service) AdjustStock(_ context.Context, req *catalogv1.AdjustStockRequest) (*catalogv1.AdjustStockResponse, error) {
	product, err := s.change(req.GetName(), func(product *catalogv1.Product) error {
		have := product.GetStock()[req.GetWarehouse()]
		if have+req.GetBy() < 0 || req.GetBy() > 0 && have+req.GetBy() < have {
			return serve.Error(codes.OutOfRange, "STOCK_OUT_OF_RANGE", fmt.Sprintf("warehouse %d has %d pieces, cannot add %d", req.GetWarehouse(), have, req.GetBy()))
		}
		if product.Stock == nil {
			product.Stock = map[int32]int64{}
		}
		product.Stock[req.GetWarehouse()] = have + req.GetBy()
		return nil
	})
	if err != nil {
		return nil, err
	}
	answer := &catalogv1.AdjustStockResponse{Count: product.GetStock()[req.GetWarehouse()]}
	for _, count := range product.GetStock() {
		answer.Total += count
	}
	return answer, nil
}
