// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"crypto/subtle"
	"encoding/binary"
	"math/rand/v2"
	"slices"
)

const (
	finalBit = 0x80
	maskBit  = 0x80

	opContinuation = 0x0
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA

	maxControl = 125
)

// The message types of remotedialer.
const (
	typeData            = 1
	typeConnect         = 2
	typeError           = 3
	typePause           = 6
	typeResume          = 7
	typeSyncConnections = 8
)

// deadlineField is a number that remotedialer writes and does not read any more, in
// milliseconds.
const deadlineField = 15000

// maxHead is how many bytes of a message are enough to know its stream and type, and with
// the field that no longer means anything.
const maxHead = 4 * binary.MaxVarintLen64

// appendFrame appends a websocket frame with a body of the given parts.
func appendFrame(b []byte, role Role, op byte, parts ...[]byte) []byte {
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	b = append(b, finalBit|op)
	var masked byte
	if role == Agent {
		masked = maskBit
	}
	switch {
	case size < 126:
		b = append(b, masked|byte(size))
	case size < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(size))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), uint64(size))
	}
	if role == Hub {
		for _, part := range parts {
			b = append(b, part...)
		}
		return b
	}
	var key [4]byte
	binary.NativeEndian.PutUint32(key[:], rand.Uint32())
	b = append(b, key[:]...)
	at := 0
	for _, part := range parts {
		start := len(b)
		b = slices.Grow(b, len(part))[:start+len(part)]
		at = maskInto(b[start:], part, key, at)
	}
	return b
}

// appendDataHead appends the header of a data message.
func appendDataHead(b []byte, id int64) []byte {
	b = binary.AppendVarint(b, 0) // the number of the message, which nobody looks at
	b = binary.AppendVarint(b, id)
	b = binary.AppendVarint(b, typeData)
	return binary.AppendVarint(b, deadlineField)
}

// padSize is the length of the repeated key by which much is masked at once.
const padSize = 1 << 10

// mask masks or unmasks b, which begins at the position at of the key, and returns the
// position after it.
func mask(b []byte, key [4]byte, at int) int { return maskInto(b, b, key, at) }

// maskInto is mask from src to dst, which are equally long.
func maskInto(dst, src []byte, key [4]byte, at int) int {
	after := (at + len(src)) & 3
	if len(src) < 64 {
		for i, b := range src {
			dst[i] = b ^ key[(at+i)&3]
		}
		return after
	}
	var pad [padSize]byte
	for i := range 4 {
		pad[i] = key[(at+i)&3]
	}
	filled := 4
	for limit := min(len(src), padSize); filled < limit; filled *= 2 {
		copy(pad[filled:], pad[:filled])
	}
	filled = min(filled, padSize)
	for len(src) > 0 {
		n := subtle.XORBytes(dst, src, pad[:filled])
		dst, src = dst[n:], src[n:]
	}
	return after
}
