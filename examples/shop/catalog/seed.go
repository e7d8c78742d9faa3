package main

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	catalogv1 "github.com/transomhq/transom/gen/shop/catalog/v1"
)

// shelves are the categories with what stands on them at the start.
var shelves = []struct { //nolint:gochecknoglobals // a table of constants
	id, title string
	products  []string
}{
	{"kitchen", "Kitchen", []string{"Teapot", "Bread Knife", "Enamel Mug", "Café Crème Cup", "Pasta Pot", "Egg Timer"}},
	{"workshop", "Workshop", []string{"Claw Hammer", "Hand Plane", "Spirit Level", "Bench Vice", "Ratchet 3/8"}},
	{"garden", "Garden", []string{"Watering Can", "Pruning Shears", "Bird House", "Wheelbarrow"}},
	{"study", "Study", []string{"Fountain Pen", "Desk Lamp", "Paper Knife", "Globe", "Ledger"}},
}

// opened is when the shop opened: the time of the first data.
var opened = time.Date(2026, time.January, 2, 9, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

// seedProducts makes the products that the shop starts with.
func seedProducts(seed uint64) []*catalogv1.Product {
	random := rand.New(rand.NewPCG(seed, 1))
	var products []*catalogv1.Product
	for _, shelf := range shelves {
		for _, title := range shelf.products {
			products = append(products, seedProduct(random, shelf.id, title, len(products)))
		}
	}
	return products
}

func seedProduct(random *rand.Rand, category, title string, n int) *catalogv1.Product {
	id := slug(title)
	digest := sha256.Sum256(picture(id, 256))
	created := opened.Add(time.Duration(n) * 26 * time.Hour)
	price := 490 + 10*random.Int64N(2000)
	product := &catalogv1.Product{
		Name:         "products/" + id,
		Title:        title,
		Description:  fmt.Sprintf("A %s for people who use one every day.", strings.ToLower(title)),
		Category:     "categories/" + category,
		Status:       catalogv1.ProductStatus_PRODUCT_STATUS_ACTIVE,
		PriceMinor:   price,
		CurrencyCode: "EUR",
		Labels:       map[string]string{"origin": pick(random, "NL", "DE", "PT", "JP"), "season": pick(random, "all", "spring", "winter")},
		Stock:        map[int32]int64{1: random.Int64N(50), 2: random.Int64N(500)},
		Tags:         []string{category, pick(random, "steel", "wood", "enamel", "glass")},
		Variants: []*catalogv1.Variant{
			{Sku: id + "-1", Options: map[string]string{"colour": "red"}, Available: true},
			{Sku: id + "-2", Options: map[string]string{"colour": "blue"}, PriceDifferenceMinor: -50},
		},
		Dimensions:  &catalogv1.Dimensions{LengthMm: float64(50 + random.IntN(400)), WidthMm: 120.5, HeightMm: 88, WeightKg: 0.25 * float32(1+random.IntN(12))},
		CreateTime:  timestamppb.New(created),
		UpdateTime:  timestamppb.New(created),
		LeadTime:    durationpb.New(time.Duration(1+random.IntN(5)) * 12 * time.Hour),
		ImageDigest: digest[:],
		Revision:    1,
	}
	seedRest(random, product, n)
	return product
}

// seedRest sets what only some products have.
func seedRest(random *rand.Rand, product *catalogv1.Product, n int) {
	product.Attributes, _ = structpb.NewStruct(map[string]any{ // cannot fail: all values are JSON
		"warranty_years": 2, "dishwasher": n%2 == 0, "materials": []any{product.GetTags()[1]}, "manual": nil,
	})
	if n%2 == 0 {
		product.Rating = wrapperspb.Double(1 + float64(random.IntN(41))/10)
		product.Gtin = proto.String(fmt.Sprintf("87100000%05d", n))
	}
	if n%3 == 0 {
		product.MaxPerOrder = wrapperspb.Int32(int32(n % 4))                                     //nolint:gosec // 0 to 3
		second, _ := anypb.New(&catalogv1.Dimensions{LengthMm: 300, WidthMm: 200, HeightMm: 10}) // cannot fail: a valid message
		product.Extras = append(product.Extras, second)
	}
	switch n % 3 {
	case 0:
		product.Packaging = &catalogv1.Product_BoxType{BoxType: uint32(n)} //nolint:gosec // small
	case 1:
		product.Packaging = &catalogv1.Product_OriginalPackage{OriginalPackage: "carton with sleeve"}
	case 2:
		product.Packaging = &catalogv1.Product_Handling{Handling: &catalogv1.Handling{Upright: true, MinCelsius: proto.Int32(-10)}}
	}
}

func pick(random *rand.Rand, words ...string) string { return words[random.IntN(len(words))] }

// slug makes the last part of a resource name from a title.
func slug(title string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(title) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.TrimSuffix(b.String(), "-")
}
