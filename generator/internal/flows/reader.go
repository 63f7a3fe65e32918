// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxLine bounds a line of a file, in bytes; a flow is about 1.5 KB.
const maxLine = 1 << 20

// ReadFile reads the flows of a file of JSON lines, gzipped or not; "-" is standard input. It is an
// error when more than maxMalformed lines cannot be read: then it is not a file of flows. The
// Record given to each is valid during the call only.
func ReadFile(path string, maxMalformed uint64, each func(*Record) error) (Stats, error) {
	if path == "-" {
		return Read(os.Stdin, "standard input", maxMalformed, each)
	}
	f, err := os.Open(path)
	if err != nil {
		return Stats{}, fmt.Errorf("open flows: %w", err)
	}
	defer f.Close()
	return Read(f, path, maxMalformed, each)
}

// Read reads flows as ReadFile does; name stands for the stream in messages.
func Read(in io.Reader, name string, maxMalformed uint64, each func(*Record) error) (Stats, error) {
	r, err := unzip(bufio.NewReaderSize(in, 1<<18))
	if err != nil {
		return Stats{}, fmt.Errorf("read flows from %s: %w", name, err)
	}
	var (
		stats Stats
		rec   Record
		d     = newDecoder()
		buf   []byte
	)
	for number := 1; ; number++ {
		line, err := readLine(r, &buf)
		if errors.Is(err, io.EOF) {
			return stats, nil
		}
		if err != nil && !errors.Is(err, errLongLine) {
			return stats, fmt.Errorf("read flows from %s, line %d, after %d flows: %w", name, number, stats.Flows, explain(err))
		}
		if err == nil {
			err = stats.take(d, line, &rec, each)
		}
		var stop *stopError
		if errors.As(err, &stop) {
			return stats, stop.cause
		}
		if err == nil {
			continue
		}
		stats.Malformed++
		stats.problem(fmt.Sprintf("%s:%d: %v", name, number, err))
		if stats.Malformed > maxMalformed {
			return stats, fmt.Errorf("%s (%d malformed lines; allowed are %d, see --max-malformed)",
				stats.Problems[0], stats.Malformed, maxMalformed)
		}
	}
}

// stopError carries the consumer's error past the counting of malformed lines.
type stopError struct{ cause error }

func (e *stopError) Error() string { return e.cause.Error() }

func (s *Stats) take(d *decoder, line []byte, rec *Record, each func(*Record) error) error {
	if len(line) == 0 {
		return nil
	}
	lost, err := d.decode(line, rec)
	return s.add(d, lost, err, rec, each)
}

// add counts what a decoder read, and gives a record to each. The error is of what could not be read, or
// each's, as a stopError.
func (s *Stats) add(d *decoder, lost *loss, err error, rec *Record, each func(*Record) error) error {
	var why ignored
	switch {
	case errors.As(err, &why):
		s.ignore(why, rec)
		return nil
	case err != nil:
		return err
	case lost != nil:
		s.lose(lost)
		return nil
	}
	s.Flows++
	id := rec.ID
	for i := range d.weight {
		rec.ID = part(id, i)
		if err := each(rec); err != nil {
			return &stopError{err}
		}
	}
	return nil
}

// unzip looks at the first two bytes: gzip has a magic number, JSON does not have it.
func unzip(r *bufio.Reader) (*bufio.Reader, error) {
	magic, err := r.Peek(2)
	if err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
		return r, nil // too short for gzip: the caller sees the end or the error
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return bufio.NewReaderSize(z, 1<<18), nil
}

// explain says what to do about a file that is damaged as a whole.
func explain(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrChecksum) {
		return fmt.Errorf("the gzip data is cut off or damaged, copy the file again (what can be saved: gzip -dc FILE | bulkhead … --flows -): %w", err)
	}
	return err
}

var errLongLine = fmt.Errorf("longer than %d bytes", maxLine)

// readLine returns the next line without its end, valid until the next call. A line that is too
// long is skipped whole and reported with errLongLine.
func readLine(r *bufio.Reader, buf *[]byte) ([]byte, error) {
	*buf = (*buf)[:0]
	long := false
	for {
		part, err := r.ReadSlice('\n')
		if !long && len(*buf) == 0 && err == nil {
			return trimEnd(part), nil // the usual case: no copy
		}
		long = long || len(*buf)+len(part) > maxLine
		if !long {
			*buf = append(*buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(*buf) == 0 && !long:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		case long:
			return nil, errLongLine
		}
		return trimEnd(*buf), nil
	}
}

func trimEnd(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	return line
}
