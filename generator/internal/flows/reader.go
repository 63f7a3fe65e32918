// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"bufio"
	"compress/flate"
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
func ReadFile(path string, maxMalformed uint64, each func(*Record) error, options ...Option) (Stats, error) {
	if path == "-" {
		return Read(os.Stdin, "standard input", maxMalformed, each, options...)
	}
	f, err := os.Open(path)
	if err != nil {
		return Stats{}, fmt.Errorf("open flows: %w", err)
	}
	defer f.Close()
	return Read(f, path, maxMalformed, each, options...)
}

// Read reads flows as ReadFile does; name stands for the stream in messages.
func Read(in io.Reader, name string, maxMalformed uint64, each func(*Record) error, options ...Option) (Stats, error) {
	r, err := unzip(bufio.NewReaderSize(in, 1<<18))
	if err != nil {
		return Stats{}, fmt.Errorf("read flows from %s: %w", name, explain(err))
	}
	var stats Stats
	number := 0
	err = startPipeline(r, options...).each(func(b *batch) error {
		for i := range b.lines {
			number = b.first + i
			if err := stats.takeLine(&b.lines[i], name, number, maxMalformed, each); err != nil {
				return &stopError{err}
			}
		}
		return nil
	})
	var stop *stopError
	switch {
	case errors.Is(err, io.EOF):
		return stats, nil
	case errors.As(err, &stop):
		return stats, stop.cause
	}
	return stats, fmt.Errorf("read flows from %s, line %d, after %d flows: %w", name, number+1, stats.Flows, explain(err))
}

// takeLine counts a line. The error is each's, or says that too many lines are malformed.
func (s *Stats) takeLine(l *line, name string, number int, maxMalformed uint64, each func(*Record) error) error {
	if l.err == errBlank {
		return nil
	}
	err := s.take(&l.rec, l.lost, l.weight, l.err, each)
	if err == nil {
		return nil
	}
	var stop *stopError // which takes memory
	if errors.As(err, &stop) {
		return stop.cause
	}
	s.Malformed++
	s.problem(fmt.Sprintf("%s:%d: %v", name, number, err))
	if s.Malformed > maxMalformed {
		return fmt.Errorf("%s (%d malformed lines; allowed are %d, see --max-malformed)", s.Problems[0], s.Malformed, maxMalformed)
	}
	return nil
}

// stopError carries the consumer's error past the counting of malformed lines.
type stopError struct{ cause error }

func (e *stopError) Error() string { return e.cause.Error() }

// take counts what a decoder read, and gives a record to each. The error is of what could not be read, or
// each's, as a stopError.
func (s *Stats) take(rec *Record, lost *loss, weight uint64, err error, each func(*Record) error) error {
	if err != nil {
		var why ignored
		if errors.As(err, &why) {
			s.ignore(why, rec)
			return nil
		}
		return err
	}
	if lost != nil {
		s.lose(lost)
		return nil
	}
	s.Flows++
	s.see(rec.Node, 1)
	id := rec.ID
	for i := range weight {
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
	var corrupt flate.CorruptInputError
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt) {
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
