// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrViolation marks what an agent must not send.
var ErrViolation = errors.New("tunnel protocol violated")

func violation(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrViolation}, args...)...)
}

const (
	finalBit = 0x80
	maskBit  = 0x80

	opContinuation = 0x0
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA

	maxControl = 125
	// maxData is the largest data message that is let through, in bytes. An agent sends
	// about 64 KiB at once.
	maxData = 256 << 10
	// maxOther is the largest message that is neither data nor the list of streams.
	maxOther = 4 << 10
)

// The message types of remotedialer that an agent may send.
const (
	typeData            = 1
	typeError           = 3
	typeSyncConnections = 8
)

// maxHead is how many bytes of a message are enough to know its type, its third varint.
const maxHead = 3 * binary.MaxVarintLen64

// inbound follows the frames that an agent sends.
type inbound struct {
	maxList uint64 // the largest list of streams, in bytes

	// The frame at hand.
	header [14]byte
	have   int // bytes of header that are filled
	inBody bool
	op     byte
	final  bool
	left   uint64 // bytes of body still to come
	mask   [4]byte
	at     int // position in mask
	ping   []byte

	// The message at hand, of one or more frames.
	open  bool
	size  uint64
	limit uint64
	typed bool
	head  []byte // unmasked, until the type is known
}

func newInbound(maxStreams int) inbound {
	return inbound{
		maxList: uint64(16*maxStreams + 64), // 8 bytes a stream, and as much to spare
		head:    make([]byte, 0, maxHead),
	}
}

// filter checks p, moves the bytes that may pass to its front and returns how many they
// are, and the payload of the last ping that ended in p, nil when none did.
func (f *inbound) filter(p []byte) (kept int, ping []byte, err error) {
	for i := 0; i < len(p); {
		n := 1
		if f.inBody {
			n = f.bodyPart(p[i:])
		} else if err := f.headerByte(p[i]); err != nil {
			return 0, nil, err
		}
		if f.op != opPing && f.op != opPong {
			kept += copy(p[kept:], p[i:i+n])
		}
		i += n
		if !f.inBody {
			continue
		}
		if err := f.checkType(); err != nil {
			return 0, nil, err
		}
		if f.left == 0 {
			if f.op == opPing {
				ping = append([]byte{}, f.ping...)
			}
			if err := f.endFrame(); err != nil {
				return 0, nil, err
			}
		}
	}
	return kept, ping, nil
}

// headerByte takes the next byte of a frame's header.
func (f *inbound) headerByte(b byte) error {
	f.header[f.have] = b
	f.have++
	if f.have == 1 {
		f.op, f.final = b&0x0f, b&finalBit != 0
		if b&0x70 != 0 {
			return violation("reserved bits in a frame")
		}
		return f.checkOrder()
	}
	if f.header[1]&maskBit == 0 {
		return violation("unmasked frame")
	}
	extra := 0
	switch f.header[1] &^ maskBit {
	case 126:
		extra = 2
	case 127:
		extra = 8
	}
	if f.have < 2+extra+4 {
		return nil
	}
	switch extra {
	case 0:
		f.left = uint64(f.header[1] &^ maskBit)
	case 2:
		f.left = uint64(binary.BigEndian.Uint16(f.header[2:]))
	case 8:
		f.left = binary.BigEndian.Uint64(f.header[2:])
	}
	copy(f.mask[:], f.header[2+extra:])
	f.have, f.at, f.inBody, f.ping = 0, 0, true, f.ping[:0]
	return f.checkLength()
}

// checkOrder checks the kind of a frame against the message at hand.
func (f *inbound) checkOrder() error {
	switch f.op {
	case opBinary:
		if f.open {
			return violation("a message inside a message")
		}
		f.open, f.typed, f.size, f.head = true, false, 0, f.head[:0]
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

func (f *inbound) checkLength() error {
	if f.isControl() {
		if f.left > maxControl {
			return violation("control frame of %d bytes", f.left)
		}
		return nil
	}
	if f.left > f.limit || f.size+f.left > f.limit {
		return violation("message of more than %d bytes", f.limit)
	}
	f.size += f.left
	return nil
}

// bodyPart looks at the part of a frame's body that p starts with and returns its length.
func (f *inbound) bodyPart(p []byte) int {
	n := len(p)
	if f.left < uint64(n) {
		n = int(f.left)
	}
	f.left -= uint64(n)
	for i := range n {
		switch {
		case f.op == opPing:
			f.ping = append(f.ping, p[i]^f.mask[f.at])
		case !f.isControl() && !f.typed && len(f.head) < maxHead:
			f.head = append(f.head, p[i]^f.mask[f.at])
		default:
			return n
		}
		f.at = (f.at + 1) % len(f.mask)
	}
	return n
}

// checkType finds the type of the message at hand as soon as its head is complete.
func (f *inbound) checkType() error {
	if f.isControl() || f.typed {
		return nil
	}
	rest, kind := f.head, int64(0)
	for range 3 {
		v, n := binary.Varint(rest)
		if n < 0 || n == 0 && len(f.head) == maxHead {
			return violation("malformed message head")
		}
		if n == 0 {
			return nil // more is to come
		}
		rest, kind = rest[n:], v
	}
	switch kind {
	case typeData:
		f.limit = maxData
	case typeSyncConnections:
		f.limit = f.maxList
	case typeError:
		f.limit = maxOther
	default:
		return violation("message of type %d from an agent", kind)
	}
	f.typed = true
	if f.size > f.limit {
		return violation("message of type %d is longer than %d bytes", kind, f.limit)
	}
	return nil
}

func (f *inbound) endFrame() error {
	f.inBody = false
	if f.isControl() || !f.final {
		return nil
	}
	if !f.typed {
		return violation("message without a type")
	}
	f.open = false
	return nil
}
