// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrViolation marks what a far end must not send.
var ErrViolation = errors.New("tunnel protocol violated")

func violation(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrViolation}, args...)...)
}

const (
	// maxData is the largest data message that is let through, in bytes. A link sends
	// about 64 KiB at once.
	maxData = 256 << 10
	// maxOther is the largest message that is neither data nor the list of streams.
	maxOther = 4 << 10
)

// inbound follows the frames that the far end sends. What is not data of a bound stream
// is kept for the websocket library as it came.
type inbound struct {
	link    *Conn
	maxList uint64 // the largest list of streams, in bytes
	pass    []byte // for the websocket library

	// The frame at hand.
	header [14]byte
	have   int // bytes of header that are filled
	inBody bool
	op     byte
	final  bool
	left   uint64 // bytes of body still to come
	key    [4]byte
	at     int // position in key
	small  []byte

	// The message at hand, of one or more frames.
	open   bool
	size   uint64
	limit  uint64
	typed  bool
	held   []byte // the message so far as it came, until its type is known
	head   []byte // its body so far unmasked, until its type is known
	stream *Stream
	drop   bool   // nobody gets it
	into   []byte // where the rest of its body is being read to
}

func newInbound(link *Conn, maxStreams int) inbound {
	return inbound{link: link, maxList: uint64(16*maxStreams + 64)} // 8 bytes a stream, and as much to spare
}

// waiting tells whether there is something for the websocket library.
func (f *inbound) waiting() bool { return len(f.pass) > 0 }

// deliver moves what is for the websocket library to p.
func (f *inbound) deliver(p []byte) int {
	n := copy(p, f.pass)
	f.pass = f.pass[n:]
	if len(f.pass) == 0 {
		f.pass = nil
	}
	return n
}

// direct returns where to read the next bytes of a data message to, nil when they are
// better read with what follows them.
func (f *inbound) direct() []byte {
	if f.stream == nil || !f.inBody || f.isControl() || f.left < directMin {
		return nil
	}
	f.into = f.stream.sink.Reserve(int(min(f.left, maxData)))
	return f.into
}

// took takes note of n bytes read to where direct said.
func (f *inbound) took(n int) error {
	if n <= 0 {
		return nil
	}
	f.left -= uint64(n)
	f.unmask(f.into[:n])
	f.link.received(int64(n))
	f.stream.sink.Commit(n)
	if f.left > 0 {
		return nil
	}
	return f.endFrame()
}

func (f *inbound) unmask(p []byte) {
	if f.link.role == Hub {
		f.at = mask(p, f.key, f.at)
	}
}

// take follows p, which it may change.
func (f *inbound) take(p []byte) error {
	for len(p) > 0 {
		if !f.inBody {
			n, err := f.takeHeader(p)
			if err != nil {
				return err
			}
			p = p[n:]
		} else {
			n := int(min(f.left, uint64(len(p))))
			f.left -= uint64(n)
			if err := f.takeBody(p[:n]); err != nil {
				return err
			}
			p = p[n:]
		}
		if f.inBody && f.left == 0 {
			if err := f.endFrame(); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeHeader takes bytes of a frame's header off p and returns how many.
func (f *inbound) takeHeader(p []byte) (taken int, err error) {
	for taken < len(p) {
		n := copy(f.header[f.have:f.headerSize()], p[taken:])
		first := f.have == 0
		f.have += n
		taken += n
		if first {
			if err := f.checkFirst(); err != nil {
				return taken, err
			}
		}
		if f.have >= 2 && f.have == f.headerSize() {
			return taken, f.endHeader()
		}
	}
	return taken, nil
}

// headerSize returns how long the header is, as far as its bytes tell.
func (f *inbound) headerSize() int {
	if f.have < 2 {
		return 2
	}
	size := 2
	switch f.header[1] &^ maskBit {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if f.header[1]&maskBit != 0 {
		size += len(f.key)
	}
	return size
}

// checkFirst looks at the first byte of a frame.
func (f *inbound) checkFirst() error {
	f.op, f.final = f.header[0]&0x0f, f.header[0]&finalBit != 0
	if f.header[0]&0x70 != 0 {
		return violation("reserved bits in a frame")
	}
	switch f.op {
	case opBinary:
		if f.open {
			return violation("a message inside a message")
		}
		f.open, f.typed, f.drop, f.size, f.stream = true, false, false, 0, nil
		f.limit = max(maxData, f.maxList)
	case opContinuation:
		if !f.open {
			return violation("a continuation of nothing")
		}
	case opClose, opPing, opPong:
		if !f.final {
			return violation("a control frame in parts")
		}
	default:
		return violation("frame of kind %d", f.op)
	}
	return nil
}

func (f *inbound) isControl() bool { return f.op >= opClose }

// endHeader reads a complete header.
func (f *inbound) endHeader() error {
	masked := f.header[1]&maskBit != 0
	if masked != (f.link.role == Hub) {
		return violation("a frame of the wrong side: masked is %v", masked)
	}
	rest := f.header[2:f.have]
	switch length := f.header[1] &^ maskBit; length {
	case 126:
		f.left, rest = uint64(binary.BigEndian.Uint16(rest)), rest[2:]
	case 127:
		f.left, rest = binary.BigEndian.Uint64(rest), rest[8:]
	default:
		f.left = uint64(length)
	}
	copy(f.key[:], rest)
	f.at, f.inBody, f.small = 0, true, f.small[:0]
	raw := f.header[:f.have]
	f.have = 0
	switch {
	case f.isControl():
		if f.left > maxControl {
			return violation("control frame of %d bytes", f.left)
		}
		if f.passesControl() {
			f.keep(raw)
		}
		return nil
	case f.left > f.limit || f.size+f.left > f.limit:
		return violation("message of more than %d bytes", f.limit)
	}
	f.size += f.left
	if f.stream == nil && !f.drop {
		f.keep(raw)
	}
	return nil
}

// passesControl tells whether the websocket library gets the control frame at hand. At
// the hub the link answers pings: remotedialer's handler sets a deadline without a lock
// while others write.
func (f *inbound) passesControl() bool { return f.op == opClose || f.link.role == Agent }

// keep keeps p for the websocket library, unless it may turn out to be data.
func (f *inbound) keep(p []byte) {
	if f.isControl() || f.typed {
		f.pass = append(f.pass, p...)
		return
	}
	f.held = append(f.held, p...)
}

// takeBody takes the next part of a frame's body.
func (f *inbound) takeBody(p []byte) error {
	switch {
	case f.isControl():
		if f.passesControl() {
			f.keep(p)
		}
		if f.op != opClose {
			f.unmask(p)
			f.small = append(f.small, p...)
		}
		return nil
	case !f.typed:
		return f.takeHead(p)
	}
	f.takeData(p)
	return nil
}

func (f *inbound) takeData(p []byte) {
	if len(p) == 0 || f.drop {
		return
	}
	if f.stream == nil {
		f.pass = append(f.pass, p...)
		return
	}
	f.unmask(p)
	f.link.received(int64(len(p)))
	f.stream.sink.Feed(p)
}

// takeHead looks for the head of a message, whose first part p is or continues.
func (f *inbound) takeHead(p []byte) error {
	for len(p) > 0 && !f.typed {
		b := p[0]
		f.held = append(f.held, b)
		if f.link.role == Hub {
			b ^= f.key[f.at]
			f.at = (f.at + 1) & 3
		}
		f.head = append(f.head, b)
		p = p[1:]
		if b&0x80 != 0 && len(f.head) < maxHead {
			continue // in the middle of a number
		}
		if err := f.parseHead(); err != nil {
			return err
		}
	}
	if f.typed {
		f.takeData(p)
	}
	return nil
}

// parseHead finds stream and type of the message at hand as soon as its head is complete.
func (f *inbound) parseHead() error {
	var fields [4]int64
	rest := f.head
	for i := range fields {
		v, n := binary.Varint(rest)
		if n < 0 || n == 0 && len(f.head) >= maxHead {
			return violation("malformed message head")
		}
		if n == 0 {
			return nil // more is to come
		}
		fields[i], rest = v, rest[n:]
		if i == 2 && v != typeData {
			break
		}
	}
	id, kind := fields[1], fields[2]
	limit, err := f.limitOf(kind)
	if err != nil {
		return err
	}
	f.limit = limit
	if f.size > f.limit {
		return violation("message of type %d is longer than %d bytes", kind, f.limit)
	}
	f.typed = true
	if stream, ok := f.link.streams.Load(id); ok && kind == typeData {
		f.stream, _ = stream.(*Stream) // the map holds nothing else
	}
	// remotedialer would close the streams that the list lacks: those that were opened
	// since it was made. Both ends of a stream tell of its end, so the list has no use.
	f.drop = kind == typeSyncConnections
	if f.stream == nil && !f.drop {
		f.pass = append(f.pass, f.held...)
	}
	if kind == typeError && f.link.role == Hub {
		f.link.ended(id)
	}
	f.held, f.head = f.held[:0], f.head[:0]
	return nil
}

// limitOf returns how long a message of kind may be.
func (f *inbound) limitOf(kind int64) (uint64, error) {
	switch {
	case kind == typeData:
		return maxData, nil
	case kind == typeError:
		return maxOther, nil
	case kind == typeSyncConnections && f.link.role == Hub:
		return f.maxList, nil
	case f.link.role == Agent && (kind == typeConnect || kind == typePause || kind == typeResume):
		return maxOther, nil
	default:
		return 0, violation("message of type %d", kind)
	}
}

func (f *inbound) endFrame() error {
	f.inBody = false
	switch {
	case f.isControl():
		f.link.onControl(f.op, f.small)
		return nil
	case !f.final:
		return nil
	case !f.typed:
		return violation("message without a type")
	}
	f.open, f.stream = false, nil
	return nil
}
