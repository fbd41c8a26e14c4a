// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package guard

import "encoding/binary"

// outbound follows the frames that the hub sends, which are its own: unmasked and right.
// Before the first frame comes the answer to the handshake; follow is told only of what
// comes after it.
type outbound struct {
	header [10]byte
	have   int
	left   uint64
}

// between tells whether the last byte ended a frame.
func (o *outbound) between() bool { return o.have == 0 && o.left == 0 }

func (o *outbound) follow(p []byte) {
	for len(p) > 0 {
		if o.left > 0 {
			n := min(o.left, uint64(len(p)))
			o.left -= n
			p = p[n:]
			continue
		}
		o.header[o.have] = p[0]
		o.have++
		p = p[1:]
		o.headerByte()
	}
}

func (o *outbound) headerByte() {
	if o.have < 2 {
		return
	}
	switch length := o.header[1]; {
	case length < 126:
		o.left = uint64(length)
	case length == 126 && o.have == 4:
		o.left = uint64(binary.BigEndian.Uint16(o.header[2:]))
	case length == 127 && o.have == 10:
		o.left = binary.BigEndian.Uint64(o.header[2:])
	default:
		return
	}
	o.have = 0
}
