// SPDX-License-Identifier: Apache-2.0

// Package record is what a sender counts, in a file that others read while it runs and after it was killed.
package record

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MaxTargets is how many addresses a sender can send to.
const MaxTargets = 4

// DatagramSize is the length of a datagram, and of what is sent over a TCP connection, in bytes.
const DatagramSize = 16

// Counts are a sender's.
type Counts struct {
	Targets [MaxTargets]Target
	// Datagrams and Connections are what came in at the sender's own port.
	Datagrams, Connections uint64
	// Address is the pod's, of IPv4; zero: not known yet.
	Address [4]byte
	_       [4]byte
}

// Target counts what was sent to one address.
type Target struct {
	// Datagrams are those that the kernel took, numbered from 1 without a gap.
	Datagrams uint64
	// Dials are the TCP connections that were tried: Connections that were opened, Failed, and at most one that is not
	// decided yet. For those that are Repeated, the kernel had to send the first packet more than once.
	Dials, Connections, Failed, Repeated uint64
}

// Add counts one more.
func Add(counter *uint64) { atomic.AddUint64(counter, 1) }

// Create makes the file of a sender, called prefix and the instance, and returns the counters that it holds: what is
// counted is in the file without a system call, however the process ends.
func Create(prefix string, instance uint64) (*Counts, error) {
	file, err := os.Create(prefix + separator + strconv.FormatUint(instance, 16))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	size := int(unsafe.Sizeof(Counts{}))
	if err := file.Truncate(int64(size)); err != nil {
		return nil, err
	}
	memory, err := unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", file.Name(), err)
	}
	return (*Counts)(unsafe.Pointer(&memory[0])), nil // which no one unmaps
}

// Record is the file of one start of a container.
type Record struct {
	Namespace, Pod, Container string
	// Instance tells this start of the container from all others.
	Instance uint64
	Counts
}

const separator = "_" // in no name of a Kubernetes object

// Prefix is what Create is given for a container that keeps its records in dir.
func Prefix(dir, namespace, pod, container string) string {
	return filepath.Join(dir, strings.Join([]string{namespace, pod, container}, separator))
}

// ReadAll reads all records of a directory.
func ReadAll(dir string) ([]Record, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var records []Record
	for _, e := range entries {
		r, err := read(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("record %s: %w", e.Name(), err)
		}
		records = append(records, r)
	}
	return records, nil
}

func read(path string) (r Record, err error) {
	parts := strings.Split(filepath.Base(path), separator)
	if len(parts) != 4 {
		return r, fmt.Errorf("is not called NAMESPACE_POD_CONTAINER_INSTANCE")
	}
	r.Namespace, r.Pod, r.Container = parts[0], parts[1], parts[2]
	if r.Instance, err = strconv.ParseUint(parts[3], 16, 64); err != nil {
		return r, err
	}
	content, err := os.ReadFile(path)
	if err != nil || len(content) == 0 { // made, and not filled yet
		return r, err
	}
	_, err = binary.Decode(content, binary.NativeEndian, &r.Counts)
	return r, err
}
