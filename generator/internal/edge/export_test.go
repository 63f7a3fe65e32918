// SPDX-License-Identifier: Apache-2.0

package edge

// State is everything that a Fold has, as it is at rest, in order.
func (f *Fold) State() (b []byte) {
	for _, e := range f.Edges() {
		b = appendEvidence(AppendKey(append(b, edgeAtRest), e.Key), &e.Evidence)
	}
	for _, o := range f.Overflows() {
		b = appendEvidence(appendCount(AppendKey(append(b, overflowAtRest), o.Key), &o.Edges), &o.Evidence)
	}
	return b
}

// Sizes are how many entries of each kind a Fold has in memory.
func (f *Fold) Sizes() (records, members, ends, overflows int) {
	f.settle()
	for _, s := range f.scopes {
		members += len(s.members)
	}
	return f.records.count, members, f.ends.count, len(f.over)
}
