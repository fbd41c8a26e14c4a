// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wire is a long wire between two addresses of this process's network namespace: a
// TUN device that sends each packet back after a delay, with its addresses swapped. What is
// on the wire are packets of the kernel's own TCP, so that a connection over it has the
// windows, the slow start and the congestion control that one over a real network has. It
// knows nothing of what the packets carry. It needs Linux.
package wire

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Near is the address of this end of the wire: servers listen on it.
	Near = "10.77.0.1"
	// Far is the address that a client dials to reach Near over the wire.
	Far = "10.77.0.2"

	device = "wire0"
	// headerSize is that of the header of virtio that comes before each packet, in bytes. It
	// says which checksums are still to be made, and how to cut a large packet; both stay
	// true when the addresses are swapped.
	headerSize = 10
	// packetSize is what a packet has room for, in bytes: the kernel leaves the cutting of
	// what it sends to the device, which never cuts.
	packetSize = headerSize + 1<<16
	// underWay is how many packets the wire holds. More wait in the queue of the device, and
	// what is beyond that is lost, as it is on other wires.
	underWay = 8 << 10
	// queueLength is how many packets the device's queue holds.
	queueLength = 10 << 10
	// mtu is that of Ethernet.
	mtu = 1500
)

// Positions in a packet of IPv4.
const (
	sourceAt      = 12
	destinationAt = 16
	addressSize   = 4
	minPacket     = 20
)

// Wire is a device at work.
type Wire struct {
	file    *os.File
	delay   time.Duration
	packets sync.Pool
	workers sync.WaitGroup

	mu     sync.Mutex
	failed error
}

// Open lays a wire that adds roundTrip to the way from Near to Far and back. It needs
// /dev/net/tun and a network namespace whose administrator the process is: see Run.
func Open(roundTrip time.Duration) (*Wire, error) {
	file, err := openDevice()
	if err != nil {
		return nil, fmt.Errorf("laying a wire over a TUN device: %w", err)
	}
	w := &Wire{
		file:    file,
		delay:   roundTrip / 2,
		packets: sync.Pool{New: func() any { return new([packetSize]byte) }},
	}
	due := make(chan packet, underWay)
	w.workers.Go(func() {
		defer close(due)
		w.fail(w.take(due))
	})
	w.workers.Go(func() { w.fail(w.deliver(due)) })
	return w, nil
}

// Close takes the wire away and returns when nothing is left of it, with the reason if it
// broke before.
func (w *Wire) Close() error {
	w.fail(os.ErrClosed) // what the workers say from here on is no failure
	err := w.file.Close()
	w.workers.Wait()
	if !errors.Is(w.failed, os.ErrClosed) {
		err = errors.Join(w.failed, err)
	}
	return err
}

// fail keeps the first error.
func (w *Wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		w.failed = err
	}
}

// packet is a packet on its way.
type packet struct {
	buf  *[packetSize]byte
	size int
	due  time.Time
}

// take sends what the kernel has for Far on its way, until the device is closed.
func (w *Wire) take(due chan<- packet) error {
	for {
		buf, ok := w.packets.Get().(*[packetSize]byte)
		if !ok {
			return errors.New("the pool holds something else than packets")
		}
		n, err := w.file.Read(buf[:])
		if err != nil {
			return fmt.Errorf("reading from the wire: %w", err)
		}
		if !turn(buf[:n]) {
			w.packets.Put(buf)
			continue
		}
		due <- packet{buf: buf, size: n, due: time.Now().Add(w.delay)}
	}
}

var near, far = [addressSize]byte(net.ParseIP(Near).To4()), [addressSize]byte(net.ParseIP(Far).To4())

// turn swaps the addresses of a packet from Near to Far, and tells whether it is one. (The
// kernel also looks for neighbours and routers on a new device.)
func turn(b []byte) bool {
	if len(b) < headerSize+minPacket {
		return false
	}
	ip := b[headerSize:]
	source, destination := ip[sourceAt:sourceAt+addressSize], ip[destinationAt:destinationAt+addressSize]
	if ip[0]>>4 != 4 || [addressSize]byte(source) != near || [addressSize]byte(destination) != far {
		return false
	}
	copy(source, far[:])
	copy(destination, near[:])
	return true
}

// deliver hands the packets to the kernel when they are due, in their order.
func (w *Wire) deliver(due <-chan packet) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var failed error
	for p := range due {
		if wait := time.Until(p.due); wait > 0 {
			timer.Reset(wait)
			<-timer.C
		}
		if failed == nil {
			if _, err := w.file.Write(p.buf[:p.size]); err != nil {
				failed = fmt.Errorf("writing to the wire: %w", err)
			}
		}
		w.packets.Put(p.buf)
	}
	return failed
}

// openDevice makes the device and gives it its address.
func openDevice() (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening /dev/net/tun: %w", err)
	}
	if err := makeDevice(fd); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	if err := configure(); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}

func makeDevice(fd int) error {
	request, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return fmt.Errorf("making the device %s: %w", device, err)
	}
	// Checksums are not made, and packets of up to 64 KiB not cut.
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO_ECN); err != nil {
		return fmt.Errorf("asking the device %s for large packets: %w", device, err)
	}
	return nil
}

// configure gives the device its address and queue, and brings it up.
func configure() error {
	return withSocket(func(fd int) error {
		steps := []struct {
			what    string
			request uint
			set     func(*unix.Ifreq) error
		}{
			{"address", unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(near[:]) }},
			{"netmask", unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
			{"MTU", unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(mtu); return nil }},
			{"queue", unix.SIOCSIFTXQLEN, func(r *unix.Ifreq) error { r.SetUint32(queueLength); return nil }},
		}
		for _, step := range steps {
			request, err := unix.NewIfreq(device)
			if err != nil {
				return err
			}
			if err := errors.Join(step.set(request), unix.IoctlIfreq(fd, step.request, request)); err != nil {
				return fmt.Errorf("setting the %s of the device %s: %w", step.what, device, err)
			}
		}
		return bringUp(fd, device)
	})
}

func bringUp(fd int, name string) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return fmt.Errorf("reading the state of the device %s: %w", name, err)
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bringing up the device %s: %w", name, err)
	}
	return nil
}

// withSocket calls f with a socket to configure devices by.
func withSocket(f func(fd int) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket to configure devices by: %w", err)
	}
	return errors.Join(f(fd), unix.Close(fd))
}
