// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package window

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A frame is a header of 5 bytes, the kind and a big-endian value, and, for data, as many
// bytes of payload as the value says.
const headerSize = 5

// MaxFrame is the largest payload of one data frame, in bytes.
const MaxFrame = 64 << 10

// maxCredit bounds what a peer may grant in total, so that sums cannot overflow.
const maxCredit = 1 << 30

type kind byte

const (
	kindData    kind = 1 // value: length of the payload that follows
	kindCredit  kind = 2 // value: how many more wire bytes of data frames may be sent
	kindFin     kind = 3 // value 0: the sender will send no more data
	kindClose   kind = 4 // value 0: the sender will neither send nor read any more
	kindBlocked kind = 5 // value 0: the sender has more to send and no credit
)

// ErrProtocol marks bytes from the peer that are not allowed. The stream is lost.
var ErrProtocol = errors.New("stream protocol violated")

func appendHeader(b []byte, k kind, value int) []byte {
	b = append(b, byte(k))
	return binary.BigEndian.AppendUint32(b, uint32(value))
}

// sink takes what a decoder finds. An error ends the decoding.
type sink interface {
	onDataHeader(n int) error
	onData(p []byte)
	onCredit(n int) error
	onBlocked()
	onFin() error
	onClose() error
}

// decoder splits a byte stream, in pieces of any size, into frames.
type decoder struct {
	header  [headerSize]byte
	have    int // bytes of header that are filled
	payload int // bytes of data payload still to come
}

func (d *decoder) feed(p []byte, s sink) error {
	for len(p) > 0 {
		if d.payload > 0 {
			n := min(d.payload, len(p))
			s.onData(p[:n])
			d.payload -= n
			p = p[n:]
			continue
		}
		n := copy(d.header[d.have:], p)
		d.have += n
		p = p[n:]
		if d.have < headerSize {
			return nil
		}
		d.have = 0
		if err := d.frame(s); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) frame(s sink) error {
	k, value := kind(d.header[0]), binary.BigEndian.Uint32(d.header[1:])
	switch k {
	case kindData:
		if value == 0 || value > MaxFrame {
			return fmt.Errorf("%w: data frame of %d bytes", ErrProtocol, value)
		}
		d.payload = int(value)
		return s.onDataHeader(int(value))
	case kindCredit:
		if value == 0 || value > maxCredit {
			return fmt.Errorf("%w: credit of %d bytes", ErrProtocol, value)
		}
		return s.onCredit(int(value))
	case kindBlocked, kindFin, kindClose:
		if value != 0 {
			return fmt.Errorf("%w: frame of kind %d with value %d", ErrProtocol, k, value)
		}
		switch k {
		case kindFin:
			return s.onFin()
		case kindClose:
			return s.onClose()
		}
		s.onBlocked()
		return nil
	default:
		return fmt.Errorf("%w: unknown frame kind %d", ErrProtocol, k)
	}
}
