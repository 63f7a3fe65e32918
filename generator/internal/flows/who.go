// SPDX-License-Identifier: Apache-2.0

package flows

// maxPods bounds the pods that a decoder remembers with their names: those of a large cluster, as their own nodes and as others
// name them. Beyond it all are forgotten, because pods come and go.
const maxPods = 1 << 14

// who are the names of an end that is a pod. Kubernetes would take all of them.
type who struct{ namespace, pod, kind, workload string }

// who reads the names of a pod. known: they need not be checked any more.
func (d *decoder) who(w *wireEnd) (names who, known bool) {
	key := append(append(d.list[:0], w.namespace...), 0)
	key = append(append(key, w.pod...), 0)
	key = append(append(key, w.kind...), 0)
	key = append(key, w.workload...)
	d.list = key
	if names, known = d.pods[string(key)]; known {
		return names, true
	}
	names = who{d.intern(w.namespace), d.intern(w.pod), d.intern(w.kind), d.intern(w.workload)}
	e := Endpoint{Namespace: names.namespace, Pod: names.pod, Kind: names.kind, Workload: names.workload}
	if known = e.check() == nil; known { // a valid name has no 0 in it
		if len(d.pods) == maxPods {
			clear(d.pods)
		}
		d.pods[string(key)] = names
	}
	return names, known
}
