// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"fmt"
	"testing"
)

// TestWho: what a decoder remembers of pods is bounded, is of pods with valid names only, and is what their names are. No part of a
// name moves into another one.
func TestWho(t *testing.T) {
	d := newDecoder()
	for i := range 2*maxPods + 10 {
		w := &wireEnd{namespace: []byte("shop"), pod: fmt.Appendf(nil, "web-%d", i), kind: []byte("Job"), workload: []byte("web")}
		for range 2 {
			if names, known := d.who(w); names != (who{"shop", string(w.pod), "Job", "web"}) || !known || len(d.pods) > maxPods {
				t.Fatalf("%s: %+v, known: %v; %d remembered", w.pod, names, known, len(d.pods))
			}
		}
	}
	remembered := len(d.pods)
	for _, w := range []wireEnd{
		{namespace: []byte("shop\x00web-1"), pod: []byte("Job\x00web")}, {namespace: []byte("shop"), pod: []byte("web-1\x00Job"), kind: []byte("web")}, {pod: []byte("web")},
	} {
		names, known := d.who(&w)
		if names != (who{string(w.namespace), string(w.pod), string(w.kind), string(w.workload)}) || known || len(d.pods) != remembered {
			t.Errorf("%q is taken as %+v, known: %v", w.pod, names, known)
		}
	}
}
