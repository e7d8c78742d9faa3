package schema

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// maxImage bounds an image, decompressed, in bytes.
const maxImage = 1 << 30

// readImage reads the files of an image: a FileDescriptorSet, or the same with
// buf's additions.
func readImage(name string) ([]*file, []Problem) {
	data, err := readCompressed(name)
	if err != nil {
		return nil, []Problem{{name, plainError(err, name)}}
	}
	base := strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
	var files []*file
	var problems []Problem
	switch first := bytes.TrimLeft(data, " \t\r\n"); {
	case filepath.Ext(base) == ".json", len(first) > 0 && first[0] == '{':
		files, problems = decodeJSON(data, name)
	case filepath.Ext(base) == ".txtpb", filepath.Ext(base) == ".textproto":
		files, problems = decodeText(data, name)
	default:
		files, problems = decodeBinary(data, name)
	}
	if len(files) == 0 && len(problems) == 0 {
		problems = []Problem{{name, "the image holds no files"}}
	}
	return files, problems
}

// readCompressed returns the content of a file, decompressed if its first bytes say so.
func readCompressed(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 4)
	n, _ := io.ReadFull(f, head)
	r := io.MultiReader(bytes.NewReader(head[:n]), f)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}): // RFC 1952 section 2.3.1
		if r, err = gzip.NewReader(r); err != nil {
			return nil, err
		}
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}): // RFC 8878 section 3.1.1
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	}
	data, err := io.ReadAll(io.LimitReader(r, maxImage+1))
	if err == nil && len(data) > maxImage {
		err = fmt.Errorf("larger than %d bytes", maxImage)
	}
	return data, err
}

// decodeBinary reads file by file, so that one bad file has a name and the
// others survive.
func decodeBinary(data []byte, source string) (files []*file, problems []Problem) {
	for i := 0; len(data) > 0; i++ {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil, []Problem{{source, "not an image: the bytes are no FileDescriptorSet"}}
		}
		body, m := protowire.ConsumeBytes(data[n:])
		if num != 1 || typ != protowire.BytesType || m < 0 {
			if m = protowire.ConsumeFieldValue(num, typ, data[n:]); m < 0 || num == 1 {
				return nil, []Problem{{source, "not an image: the bytes are no FileDescriptorSet"}}
			}
			data = data[n+m:]
			continue
		}
		data = data[n+m:]
		f, err := decodeFile(body, source)
		if err != nil {
			problems = append(problems, Problem{source, fmt.Sprintf("file %d of the image: %s", i, plainError(err, ""))})
			continue
		}
		files = append(files, f)
	}
	return files, problems
}

// decodeFile reads one FileDescriptorProto. Options that came as unknown
// fields become known where their types are linked.
func decodeFile(data []byte, source string) (*file, error) {
	fd := &descriptorpb.FileDescriptorProto{}
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(data, fd); err != nil {
		return nil, err
	}
	if fd.GetName() == "" {
		return nil, fmt.Errorf("it has no name")
	}
	f := &file{proto: fd, source: source, imported: bufImport(fd.ProtoReflect().GetUnknown())}
	fd.ProtoReflect().SetUnknown(nil)
	return f, nil
}

// bufImport reports whether buf's addition to a file (buf_extension = 8042 with
// is_import = 1, buf.alpha.image.v1) marks it as a mere import.
func bufImport(unknown []byte) bool {
	const bufExtension, isImport = 8042, 1
	for len(unknown) > 0 {
		num, typ, n := protowire.ConsumeField(unknown)
		if n < 0 {
			return false
		}
		_, _, tag := protowire.ConsumeTag(unknown)
		if num == bufExtension && typ == protowire.BytesType {
			ext, _ := protowire.ConsumeBytes(unknown[tag:])
			for len(ext) > 0 {
				num, typ, n := protowire.ConsumeTag(ext)
				if n < 0 {
					return false
				}
				if v, m := protowire.ConsumeVarint(ext[n:]); num == isImport && typ == protowire.VarintType && m > 0 {
					return v != 0
				}
				m := protowire.ConsumeFieldValue(num, typ, ext[n:])
				if m < 0 {
					return false
				}
				ext = ext[n+m:]
			}
		}
		unknown = unknown[n:]
	}
	return false
}

// decodeJSON reads the JSON form of an image. Options of the image's own kinds
// are names in JSON, so a second pass reads them with the first pass's types.
func decodeJSON(data []byte, source string) ([]*file, []Problem) {
	set, err := twice(func(r codecResolver, set *descriptorpb.FileDescriptorSet) error {
		return protojson.UnmarshalOptions{DiscardUnknown: true, AllowPartial: true, Resolver: r}.Unmarshal(data, set)
	})
	if err != nil {
		return nil, []Problem{{source, "not an image in JSON: " + plainError(err, "")}}
	}
	var marks struct {
		File []struct {
			BufExtension struct {
				IsImport bool `json:"isImport"`
			} `json:"bufExtension"`
		} `json:"file"`
	}
	_ = json.Unmarshal(data, &marks) // protojson has accepted it; without marks, nothing is an import
	files, problems := retype(set, source)
	if len(files) == len(marks.File) {
		for i, f := range files {
			f.imported = marks.File[i].BufExtension.IsImport
		}
	}
	return files, problems
}

// decodeText reads the text form of an image.
func decodeText(data []byte, source string) ([]*file, []Problem) {
	set, err := twice(func(r codecResolver, set *descriptorpb.FileDescriptorSet) error {
		return prototext.UnmarshalOptions{DiscardUnknown: true, AllowPartial: true, Resolver: r}.Unmarshal(data, set)
	})
	if err != nil {
		return nil, []Problem{{source, "not an image in text form: " + plainError(err, "")}}
	}
	return retype(set, source)
}

type codecResolver interface {
	protoregistry.MessageTypeResolver
	protoregistry.ExtensionTypeResolver
}

func twice(decode func(codecResolver, *descriptorpb.FileDescriptorSet) error) (*descriptorpb.FileDescriptorSet, error) {
	first := &descriptorpb.FileDescriptorSet{}
	if err := decode(protoregistry.GlobalTypes, first); err != nil {
		return nil, err
	}
	reg, err := newFilesSafely(first)
	if err != nil {
		return first, nil //nolint:nilerr // linking says what is wrong, later and better
	}
	second := &descriptorpb.FileDescriptorSet{}
	if err := decode(linkedFirst{dynamicpb.NewTypes(reg)}, second); err != nil {
		return nil, err
	}
	return second, nil
}

func newFilesSafely(set *descriptorpb.FileDescriptorSet) (reg *protoregistry.Files, err error) {
	defer recoverAs(&err)
	return protodesc.FileOptions{AllowUnresolvable: true}.NewFiles(set)
}

// retype makes the options of a decoded set known where their types are linked.
func retype(set *descriptorpb.FileDescriptorSet, source string) (files []*file, problems []Problem) {
	for i, fd := range set.GetFile() {
		f, err := retypeFile(fd, source)
		if err != nil {
			problems = append(problems, Problem{source, fmt.Sprintf("file %d of the image: %s", i, plainError(err, ""))})
			continue
		}
		files = append(files, f)
	}
	return files, problems
}

func retypeFile(fd *descriptorpb.FileDescriptorProto, source string) (*file, error) {
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(fd)
	if err != nil {
		return nil, err
	}
	return decodeFile(b, source)
}
