package main

import (
	"bytes"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/transomhq/transom/examples/shop/internal/serve"
	catalogv1 "github.com/transomhq/transom/gen/shop/catalog/v1"
)

// passes reports whether all parts of the filter that are set hold for p.
func passes(p *catalogv1.Product, filter *catalogv1.ProductFilter) bool {
	if filter == nil {
		return true
	}
	inStock := false
	for _, count := range p.GetStock() {
		inStock = inStock || count > 0
	}
	for key, value := range filter.GetLabels() {
		if p.GetLabels()[key] != value {
			return false
		}
	}
	for _, tag := range filter.GetTags() {
		if !slices.Contains(p.GetTags(), tag) {
			return false
		}
	}
	return (len(filter.GetStatuses()) == 0 || slices.Contains(filter.GetStatuses(), p.GetStatus())) &&
		(filter.MinPriceMinor == nil || p.GetPriceMinor() >= filter.GetMinPriceMinor()) &&
		(filter.MaxPriceMinor == nil || p.GetPriceMinor() <= filter.GetMaxPriceMinor()) &&
		(filter.GetInStock() == nil || filter.GetInStock().GetValue() == inStock) &&
		(filter.GetCreatedAfter() == nil || p.GetCreateTime().AsTime().After(filter.GetCreatedAfter().AsTime())) &&
		(len(filter.GetImageDigest()) == 0 || bytes.Equal(filter.GetImageDigest(), p.GetImageDigest())) &&
		fits(p.GetDimensions(), filter.GetFitsIn())
}

// fits reports whether a package fits; a measure that the limit leaves at 0 is any.
func fits(d, limit *catalogv1.Dimensions) bool {
	within := func(have, most float64) bool { return most == 0 || have <= most }
	return within(d.GetLengthMm(), limit.GetLengthMm()) && within(d.GetWidthMm(), limit.GetWidthMm()) &&
		within(d.GetHeightMm(), limit.GetHeightMm()) && within(float64(d.GetWeightKg()), float64(limit.GetWeightKg()))
}

// masked returns p with only the fields of mask; all if it is empty. Masks are
// of top-level fields.
func masked(p *catalogv1.Product, mask *fieldmaskpb.FieldMask) (*catalogv1.Product, error) {
	if len(mask.GetPaths()) == 0 {
		return p, nil
	}
	only := &catalogv1.Product{}
	if err := copyFields(only, p, mask, "read_mask"); err != nil {
		return nil, err
	}
	return only, nil
}

// merge sets the fields of mask in p to what they are in sent; all if it is empty.
func merge(p, sent *catalogv1.Product, mask *fieldmaskpb.FieldMask) error {
	if len(mask.GetPaths()) == 0 {
		proto.Reset(p)
		proto.Merge(p, sent)
		return nil
	}
	return copyFields(p, sent, mask, "update_mask")
}

// copyFields sets the masked fields of dst to those of src.
func copyFields(dst, src *catalogv1.Product, mask *fieldmaskpb.FieldMask, field string) error {
	for _, path := range mask.GetPaths() {
		if !copyField(dst.ProtoReflect(), src.ProtoReflect(), path) {
			return serve.Invalid(field, "a product has no field "+path)
		}
	}
	return nil
}

func copyField(dst, src protoreflect.Message, path string) bool {
	name, rest, nested := bytes.Cut([]byte(path), []byte("."))
	fd := dst.Descriptor().Fields().ByName(protoreflect.Name(name))
	if fd == nil {
		return false
	}
	if nested {
		return fd.Message() != nil && fd.Cardinality() != protoreflect.Repeated &&
			copyField(dst.Mutable(fd).Message(), src.Get(fd).Message(), string(rest))
	}
	if !src.Has(fd) {
		dst.Clear(fd)
		return true
	}
	dst.Set(fd, src.Get(fd))
	return true
}
