// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/bbolt"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

// batch bounds the changes of one transaction, and so the memory that it takes.
const batch = 4096

const checksumSize = 8

// digest is the number of entries and the exclusive or of their checksums: by it the file knows that
// none of them went missing.
type digest struct{ entries, sum uint64 }

func (d digest) bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, d.entries), d.sum)
}

func checksum(key, value []byte) uint64 {
	var h xxhash.Digest
	h.Reset()
	_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(key)))) // never fails
	_, _ = h.Write(key)
	_, _ = h.Write(value)
	return h.Sum64()
}

// load reads everything that is in the file.
func (s *Store) load() (err error) {
	defer catch(&err)()
	return s.db.View(func(tx *bbolt.Tx) error {
		edges, rest := tx.Bucket(edgesBucket), tx.Bucket(metaBucket)
		if edges == nil || rest == nil {
			return errors.New("it is a database of something else")
		}
		if v := string(rest.Get(versionKey)); v != version {
			return fmt.Errorf("it has version %q; this program reads version %s", v, version)
		}
		var found digest
		err := edges.ForEach(func(key, value []byte) error {
			n := len(value) - checksumSize
			if n < 0 || checksum(key, value[:n]) != binary.BigEndian.Uint64(value[n:]) {
				return fmt.Errorf("the checksum of entry %d is wrong", found.entries)
			}
			found.entries++
			found.sum ^= binary.BigEndian.Uint64(value[n:])
			return s.fold.Restore(edge.Change{Key: key, Value: value[:n]})
		})
		if err != nil {
			return err
		}
		if string(rest.Get(digestKey)) != string(found.bytes()) {
			return fmt.Errorf("it has not the entries that it should have: it has %d", found.entries)
		}
		if err := json.Unmarshal(rest.Get(metaKey), &s.meta); err != nil {
			return err
		}
		if s.meta.Positions == nil {
			s.meta.Positions = map[string]time.Time{}
		}
		if s.meta.Days == nil { // an earlier version's file
			s.meta.Days = tallies{}
		}
		if err := s.known.load(tx); err != nil {
			return err
		}
		if err := s.nodes.load(rest.Get(nodesKey)); err != nil {
			return err
		}
		maps.DeleteFunc(s.meta.Days, func(_ string, t *Tally) bool { return t == nil })
		return check(tx)
	})
}

// check finds free pages that are in use, which the next commit would write over. It comes after all
// entries were read, because a page beyond the end of the file would end the program here.
func check(tx *bbolt.Tx) (first error) {
	for err := range tx.Check() {
		if first == nil {
			first = err
		}
	}
	return first
}

// Commit writes everything that was added before the call; the counts of nodes now and then. When it fails, nothing is lost in
// memory and the next one tries again.
func (s *Store) Commit() error { return s.commit(false) }

// commit with all writes the counts of nodes, too.
func (s *Store) commit(all bool) error {
	if s.db == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		clear(s.known.changed)
		return nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	// The positions are of now and are written last: edges ahead of them do no harm, edges behind
	// them would be lost. Edges that change meanwhile are for the next commit.
	s.mu.Lock()
	position, err := json.Marshal(s.meta)
	nodes, fault := s.nodes.marshal(time.Now(), all)
	err = errors.Join(err, fault)
	pending := s.fold.Prepare()
	known := s.known.take()
	s.mu.Unlock()
	if err == nil && len(s.unsaved) == 0 && pending == 0 && len(known) == 0 && nodes == nil && bytes.Equal(position, s.written) {
		return nil
	}
	if err == nil && len(s.unsaved) > 0 {
		err = s.write(s.unsaved, nil, nil, nil)
	}
	for ; err == nil && pending > batch; pending -= batch {
		err = s.write(s.take(batch), nil, nil, nil)
	}
	for err == nil && len(known) > batch {
		if err = s.write(nil, known[:batch], nil, nil); err == nil {
			known = known[batch:]
		}
	}
	if err == nil {
		err = s.write(s.take(pending), known, position, nodes)
	}
	if err != nil {
		s.mu.Lock()
		s.known.putBack(known)
		s.nodes.changed = true
		s.mu.Unlock()
		return fmt.Errorf("state file %s: write what was observed: %w", s.path, err)
	}
	s.written = position
	return nil
}

func (s *Store) take(n int) []edge.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsaved = s.fold.Changes(n)
	return s.unsaved
}

// write keeps changes, addresses, and the positions and counts of nodes unless they are nil, in one transaction.
func (s *Store) write(changes []edge.Change, known []remembered, position, nodes []byte) error {
	err := s.db.Update(func(tx *bbolt.Tx) error {
		edges, rest := tx.Bucket(edgesBucket), tx.Bucket(metaBucket)
		var d digest
		if b := rest.Get(digestKey); len(b) == 16 {
			d = digest{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
		}
		for _, c := range changes {
			if err := d.apply(edges, c); err != nil {
				return err
			}
		}
		if err := writeAddresses(tx, known); err != nil {
			return err
		}
		err := rest.Put(digestKey, d.bytes())
		if position != nil {
			err = errors.Join(err, rest.Put(metaKey, position))
		}
		if nodes != nil {
			err = errors.Join(err, rest.Put(nodesKey, nodes))
		}
		return err
	})
	if err != nil {
		return err
	}
	s.unsaved = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Changes += uint64(len(changes))
	return nil
}

func (d *digest) apply(edges *bbolt.Bucket, c edge.Change) error {
	if old := edges.Get(c.Key); old != nil {
		d.entries--
		d.sum ^= binary.BigEndian.Uint64(old[len(old)-checksumSize:])
	}
	if c.Value == nil {
		return edges.Delete(c.Key)
	}
	sum := checksum(c.Key, c.Value)
	d.entries++
	d.sum ^= sum
	return edges.Put(c.Key, binary.BigEndian.AppendUint64(c.Value, sum))
}
