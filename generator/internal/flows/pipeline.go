// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"bufio"
	"errors"
	"runtime"
)

const (
	// A batch is small, so that what was read is still in the processor's cache when it is decoded, and then folded.
	maxBatch   = 64      // lines
	batchBytes = 1 << 17 // after which a batch is full
	maxWorkers = 4
)

// pipeline reads lines in batches and decodes them on all cores. Batches are handed on in their order.
type pipeline struct {
	free, work, order chan *batch
	stop              chan struct{} // closed when nobody waits for more
}

// batch is some lines, one after the other, and what was read from them.
type batch struct {
	first int // number of the first line
	data  []byte
	lines []line
	err   error // why there are no more lines; nil: there are
	ready chan struct{}
}

type line struct {
	end    int // in data
	rec    Record
	lost   *loss // nil: none is reported
	weight uint64
	err    error
}

// startPipeline reads from r until its end, an error or stop. Reading can still wait for r when nobody wants more.
func startPipeline(r *bufio.Reader, options ...Option) *pipeline {
	workers := min(runtime.GOMAXPROCS(0), maxWorkers)
	count := 2 * (workers + 1)
	p := &pipeline{
		free: make(chan *batch, count), work: make(chan *batch, count), order: make(chan *batch, count), stop: make(chan struct{}),
	}
	for range count {
		p.free <- &batch{ready: make(chan struct{}, 1)}
	}
	for range workers {
		go p.decode(newDecoder(options...))
	}
	go p.read(r)
	return p
}

func (p *pipeline) read(r *bufio.Reader) {
	defer close(p.work)
	var buf []byte
	for number := 1; ; {
		var b *batch
		select {
		case b = <-p.free:
		case <-p.stop:
			return
		}
		b.fill(r, number, &buf)
		number += len(b.lines)
		p.work <- b // there is room for all batches
		p.order <- b
		if b.err != nil {
			return
		}
	}
}

// fill reads lines until the batch is full.
func (b *batch) fill(r *bufio.Reader, number int, buf *[]byte) {
	b.first, b.data, b.lines, b.err = number, b.data[:0], b.lines[:0], nil
	for len(b.lines) < maxBatch && len(b.data) < batchBytes {
		text, err := readLine(r, buf)
		if err != nil && !errors.Is(err, errLongLine) {
			b.err = err
			return
		}
		b.data = append(b.data, text...)
		n := len(b.lines)
		if n == cap(b.lines) {
			b.lines = append(b.lines, line{})
		}
		b.lines = b.lines[:n+1] // with what was read the last time, which decode overwrites
		b.lines[n].end, b.lines[n].err = len(b.data), err
	}
}

func (p *pipeline) decode(d *decoder) {
	for b := range p.work {
		start := 0
		for i := range b.lines {
			l := &b.lines[i]
			text := b.data[start:l.end]
			start = l.end
			if l.lost = nil; l.err == nil && len(text) == 0 {
				l.err = errBlank
			}
			if l.err == nil {
				l.lost, l.err = d.decode(text, &l.rec)
				l.weight = d.weight
			}
		}
		b.ready <- struct{}{}
	}
}

var errBlank = errors.New("an empty line")

// each gives the batches to f in their order, until f's error or that of reading, which is io.EOF at the end.
func (p *pipeline) each(f func(*batch) error) error {
	defer close(p.stop)
	for {
		b := <-p.order
		<-b.ready
		if err := f(b); err != nil {
			return err
		}
		if b.err != nil {
			return b.err
		}
		p.free <- b
	}
}
