package framing

// chunks follows a chunked body (RFC 9112, section 7.1) byte by byte, save for
// the data, which it jumps over.
type chunks struct {
	state  chunkState
	digits int
	left   int64 // of the chunk: its size while the size is read
	ext    int   // bytes of extensions so far
	size   int   // bytes of the trailer section so far
	name   [len("transfer-encoding")]byte
	named  int // bytes of the trailer field's name, also past the array
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkExt
	chunkSizeLF
	chunkData
	chunkCR
	chunkLF
	trailerStart
	trailerName
	trailerValue
	trailerLF
	trailerEndLF
)

// next passes the leading bytes of b that are well framed; done says that the
// last of them ended the body.
func (k *chunks) next(b []byte, lim *Limits) (pass int, done bool, err *Error) {
	for i := 0; i < len(b); i++ {
		if k.state == chunkData {
			n := min(int64(len(b)-i), k.left)
			k.left -= n
			if i += int(n); k.left > 0 {
				return i, false, nil
			}
			k.state = chunkCR
			if i == len(b) {
				break
			}
		}
		if k.state >= trailerStart {
			done, err = k.trailer(b[i])
		} else {
			err = k.chunk(b[i], lim)
		}
		if err != nil {
			return i, false, err
		}
		if done {
			return i + 1, true, nil
		}
	}
	return len(b), false, nil
}

// chunk takes a byte of a chunk's size line or of the CRLF after its data.
func (k *chunks) chunk(c byte, lim *Limits) *Error {
	switch k.state {
	case chunkSize:
		return k.sizeByte(c, lim)
	case chunkExt:
		switch {
		case c == '\r':
			k.state = chunkSizeLF
		case !isValue[c]:
			return bad("malformed chunk extension")
		default:
			if k.ext++; k.ext > lim.ChunkExt {
				return bad("chunk extensions are too long")
			}
		}
	case chunkSizeLF:
		if c != '\n' {
			return bad("malformed chunk size")
		}
		k.state = chunkData
		if k.left == 0 {
			k.state = trailerStart
		}
		k.digits = 0
	case chunkCR:
		if c != '\r' {
			return bad("chunk data does not end where its size says")
		}
		k.state = chunkLF
	case chunkLF:
		if c != '\n' {
			return bad("chunk data does not end where its size says")
		}
		k.state, k.left = chunkSize, 0
	}
	return nil
}

// sizeByte takes a byte of the size: 1 to 16 hexadecimal digits, nothing else.
func (k *chunks) sizeByte(c byte, lim *Limits) *Error {
	switch {
	case isHex(c):
		// 2^59 bytes are enough for anybody, and one more digit still fits.
		if k.digits++; k.digits > 16 || k.left >= 1<<59 {
			return bad("chunk size is too large")
		}
		k.left = k.left<<4 | int64(unhex(c))
	case k.digits == 0:
		return bad("malformed chunk size")
	case c == '\r':
		k.state = chunkSizeLF
	case c == ';':
		k.state = chunkExt
		if k.ext++; k.ext > lim.ChunkExt {
			return bad("chunk extensions are too long")
		}
	default:
		return bad("malformed chunk size")
	}
	return nil
}

// trailer takes a byte of the trailer section (RFC 9112, section 7.1.2).
func (k *chunks) trailer(c byte) (done bool, err *Error) {
	if k.size++; k.size > maxTrailer {
		return false, &Error{Status: 431, Message: "trailer section is too large"}
	}
	switch k.state {
	case trailerStart:
		k.named = 0
		if c == '\r' {
			k.state = trailerEndLF
			return false, nil
		}
		k.state = trailerName
		return false, k.nameByte(c)
	case trailerName:
		return false, k.nameByte(c)
	case trailerValue:
		if c == '\r' {
			k.state = trailerLF
		} else if !isValue[c] {
			return false, bad("invalid character in a trailer field")
		}
	case trailerLF, trailerEndLF:
		if c != '\n' {
			return false, bad("a trailer line ends in CR without LF")
		}
		if k.state == trailerEndLF {
			return true, nil
		}
		k.state = trailerStart
	}
	return false, nil
}

func (k *chunks) nameByte(c byte) *Error {
	if c == ':' && k.named > 0 {
		if k.named <= len(k.name) && isFraming(k.name[:k.named]) {
			return bad("forbidden field in the trailer section")
		}
		k.state = trailerValue
		return nil
	}
	if !isToken[c] {
		return bad("invalid character in a trailer field")
	}
	if k.named < len(k.name) {
		k.name[k.named] = c
	}
	k.named++
	return nil
}
