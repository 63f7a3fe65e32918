// SPDX-License-Identifier: Apache-2.0

package service

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// world is a quarter of an hour of pods on few addresses, each free for a second in between, and of what two
// observers see of them.
type world struct {
	pods  []*corev1.Pod
	ends  []time.Time
	seen  []sent
	truth map[netip.Addr]string // destination, of which each record has its own → the source's pod
}

type sent struct {
	observer string
	at       time.Time // when it comes
	record   *flows.Record
}

func newWorld(random *rand.Rand, began time.Time) *world {
	w := &world{truth: map[netip.Addr]string{}}
	for n := range 12 {
		addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(n + 1)})
		for at := began; at.Before(began.Add(15 * time.Minute)); {
			end := at.Add(time.Second + time.Duration(random.Int64N(int64(3*time.Minute))))
			w.live(random, addr, at, end)
			at = end.Add(time.Second)
		}
	}
	slices.SortFunc(w.seen, func(a, b sent) int { return a.at.Compare(b.at) })
	return w
}

func (w *world) live(random *rand.Rand, addr netip.Addr, start, end time.Time) {
	name, began := fmt.Sprintf("pod-%d", len(w.pods)), metav1.NewTime(start.Truncate(time.Second))
	w.pods = append(w.pods, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: name, UID: types.UID(name)},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &began, PodIP: addr.String()},
	})
	w.ends = append(w.ends, end)
	for range 8 {
		at := start.Add(time.Duration(random.Int64N(int64(end.Sub(start)))))
		to := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 0x20000000|uint32(len(w.seen)))))
		r := &flows.Record{
			ID: random.Uint64(), Time: at, Oriented: true, Side: flows.Egress, Verdict: flows.Forwarded, Protocol: "TCP", DestinationPort: 443,
			Source: flows.Endpoint{Addr: addr}, Destination: flows.Endpoint{Addr: to, Entity: "world"},
		}
		if random.IntN(3) == 0 {
			r.Source.Namespace, r.Source.Pod = "batch", name
		}
		w.truth[to] = name
		w.seen = append(w.seen, sent{fmt.Sprint("node-", random.IntN(2)), at.Add(time.Duration(random.Int64N(int64(5 * time.Second)))), r})
	}
}

// inventory is what the API server has, which knows of pods up to a few seconds late.
func (w *world) inventory(random *rand.Rand, at time.Time) *inventory.Inventory {
	var objects []runtime.Object
	for i, p := range w.pods {
		told := at.Add(-time.Duration(random.Int64N(int64(5 * time.Second))))
		if told.After(p.Status.StartTime.Time) && told.Before(w.ends[i]) {
			objects = append(objects, p)
		}
	}
	return inventory.At(at, objects)
}

// TestCrash drives a server with flows and inventories over time, and kills it again and again: it goes on with what its
// file has, and asks observers for what came since. No flow that they sent is missing then, and none is given to a pod
// that did not send it.
func TestCrash(t *testing.T) {
	right, unclear, crashes := 0, 0, 0
	for seed := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, 5))
		began := time.Now().Add(-time.Hour).UTC()
		w := newWorld(random, began)
		o, file := revive(t, "", w.inventory(random, began))
		for now := began; now.Before(began.Add(20 * time.Minute)); now = now.Add(time.Second) {
			w.send(o, now.Add(-time.Second), now)
			if random.IntN(45) == 0 {
				o.use(w.inventory(random, now))
			}
			if err := o.commit(); err != nil {
				t.Fatal(err)
			}
			if random.IntN(100) == 0 {
				crashes++
				w.send(o, now, now.Add(time.Second)) // is lost with the process
				o, file = revive(t, file, w.inventory(random, now))
				for _, observer := range []string{"node-0", "node-1"} {
					w.resend(o, observer, now)
				}
			}
		}
		o.use(w.inventory(random, began.Add(time.Hour)))
		edges, _, _ := o.all(began)
		found := map[netip.Addr]bool{}
		for _, e := range edges {
			found[e.To.Addr] = true
			switch {
			case e.From.Name == w.truth[e.To.Addr]:
				right++
			case e.From.Entity == inventory.EntityPodAddress:
				unclear++
			default:
				t.Errorf("seed %d: a flow of %s is given to %s", seed, w.truth[e.To.Addr], e.From)
			}
		}
		if len(found) != len(w.seen) {
			t.Errorf("seed %d: %d of %d flows are kept", seed, len(found), len(w.seen))
		}
	}
	t.Logf("%d right, %d ambiguous, %d crashes", right, unclear, crashes)
	if crashes < 20 || right < unclear || unclear == 0 {
		t.Errorf("%d right, %d ambiguous, %d crashes", right, unclear, crashes)
	}
}

// send adds what comes after one time, up to another.
func (w *world) send(o *observations, after, until time.Time) {
	i, _ := slices.BinarySearchFunc(w.seen, after, func(s sent, t time.Time) int { return cmp.Or(s.at.Compare(t), -1) })
	for ; i < len(w.seen) && !w.seen[i].at.After(until); i++ {
		o.add(w.seen[i].observer, w.seen[i].record, w.seen[i].at)
	}
}

// resend adds what an observer still has when it is asked.
func (w *world) resend(o *observations, observer string, now time.Time) {
	since := o.since(observer)
	for _, s := range w.seen {
		if s.observer == observer && !s.at.After(now) && !s.record.Time.Before(since) {
			o.add(observer, s.record, now)
		}
	}
}

// revive starts from a copy of a state file, as another process would find it now; empty: from nothing.
func revive(t *testing.T, file string, inv *inventory.Inventory) (o *observations, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "state")
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o, err := recall(path, inv, newMeter())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.close(); err != nil {
			t.Error(err)
		}
	})
	return o, path
}
