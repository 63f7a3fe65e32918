// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

const sound = `The sentence.
cites: v1/a/1, page/b/2
-- objects.yaml --
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: web}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: api}, status: {podIP: 10.0.0.2}}
-- connections --
# a remark
# cites: v1/c/3

allow shop/web@10.0.0.1 -> fd00::1 UDP/53 egress=RuleMatched(NetworkPolicy a/b spec.egress[0]) ingress=NotAPod resolved=a/b:1@c/d
-- errors --
NetworkPolicy shop/x: spec.ingress[0]
`

func TestParse(t *testing.T) {
	f, err := Parse("dir/x.txtar", []byte(sound))
	if err != nil {
		t.Fatal(err)
	}
	if f.About != "The sentence." || len(f.Objects.Pods) != 2 || len(f.Connections) != 1 {
		t.Fatalf("%q with %d pods and %d connections", f.About, len(f.Objects.Pods), len(f.Connections))
	}
	c := f.Connections[0]
	if c.Pos != "dir/x.txtar:11" || c.Protocol != corev1.ProtocolUDP || c.Port != 53 {
		t.Errorf("at %s: %s/%d", c.Pos, c.Protocol, c.Port)
	}
	if c.From.Pod.String() != "shop/web" || c.From.Addr.String() != "10.0.0.1" || c.To.Pod.Name != "" || c.To.Addr.String() != "fd00::1" {
		t.Errorf("ends %+v and %+v", c.From, c.To)
	}
	want := Want{
		Allowed: true, Resolved: "a/b:1@c/d",
		Egress:  Side{Reason: netpol.RuleMatched, Origins: "NetworkPolicy a/b spec.egress[0]"},
		Ingress: Side{Reason: netpol.NotAPod},
	}
	if c.Want != want {
		t.Errorf("want %s", c.Want)
	}
	if fault := (Fault{Pos: "dir/x.txtar:13", Object: "NetworkPolicy shop/x", Path: "spec.ingress[0]"}); len(f.Faults) != 1 || f.Faults[0] != fault {
		t.Errorf("faults %+v", f.Faults)
	}
	cites := []Cite{{"dir/x.txtar:2", "v1/a/1"}, {"dir/x.txtar:2", "page/b/2"}, {"dir/x.txtar:9", "v1/c/3"}}
	if !slices.Equal(f.Cites, cites) {
		t.Errorf("cites %+v", f.Cites)
	}
}

// A case that cannot be read names its line, rather than being left out.
func TestParseErrors(t *testing.T) {
	for name, tc := range map[string]struct{ old, new, want string }{
		"no sentence":     {"The sentence.", "", "x.txtar:1: the file must begin"},
		"unknown section": {"-- errors --", "-- erors --", `x.txtar:12: unknown section "erors"`},
		"unknown kind":    {"kind: Pod", "kind: Prod", `x.txtar:4: document 1: "Prod"`},
		"unknown field":   {"podIP: 10.0.0.2", "podAddress: 10.0.0.2", "x.txtar:4: document 2:"},
		"malformed YAML":  {"name: api}", "name: api", "x.txtar:4: document 2:"},
		"idle cites":      {"NetworkPolicy shop/x:", "# cites: v1/d/4\n# ", "x.txtar:13: no case line after the cites"},
		"wrong verb":      {"allow shop", "alow shop", "x.txtar:11: "},
		"no reason":       {" ingress=NotAPod", "", "x.txtar:11: "},
		"port too high":   {"UDP/53", "UDP/65536", "x.txtar:11: port:"},
		"no such address": {"fd00::1", "localhost", `x.txtar:11: "localhost" is neither`},
		"no objects":      {"-- objects.yaml --", "", "x.txtar:1: objects.yaml and at least one line"},
	} {
		_, err := Parse("x.txtar", []byte(strings.Replace(sound, tc.old, tc.new, 1)))
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %s…", name, err, tc.want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("an empty folder: %v", err)
	}
	for _, name := range []string{"b.txtar", "a.txtar", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(sound), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Load(dir)
	if err != nil || len(files) != 2 || filepath.Base(files[0].Path) != "a.txtar" {
		t.Fatalf("%d files, error %v", len(files), err)
	}
	if err := os.WriteFile(filepath.Join(dir, "c.txtar"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "c.txtar:1:") {
		t.Errorf("a bad file: %v", err)
	}
}
