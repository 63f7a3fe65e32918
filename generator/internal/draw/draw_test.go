// SPDX-License-Identifier: Apache-2.0

package draw

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/reach"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

var update = flag.Bool("update", false, "write the golden files")

type drawer func(io.Writer, *reach.Map) error

var formats = map[string]drawer{"dot": DOT, "mmd": Mermaid, "svg": SVG}

func tcp(ports ...uint16) netpol.PortSet {
	var ranges []netpol.PortRange
	for _, p := range ports {
		ranges = append(ranges, netpol.PortRange{Protocol: corev1.ProtocolTCP, From: p, To: p})
	}
	return netpol.Ports(ranges...)
}

func workload(namespace, name string) reach.End {
	return reach.End{Kind: "Deployment", Namespace: namespace, Name: name}
}

func addresses(prefixes ...string) reach.End {
	r := &reach.Ranges{}
	for _, p := range prefixes {
		r.Prefixes = append(r.Prefixes, netip.MustParsePrefix(p))
	}
	return reach.End{Outside: r}
}

// build is a map of the lines, with the ends of the lines and others.
func build(lines []reach.Line, others ...reach.End) *reach.Map {
	m := &reach.Map{Lines: lines}
	seen := map[string]bool{}
	for _, l := range lines {
		others = append(others, l.From, l.To)
	}
	for _, e := range others {
		if !seen[e.String()] {
			seen[e.String()] = true
			m.Ends = append(m.Ends, e)
		}
	}
	slices.SortFunc(m.Ends, reach.End.Compare)
	slices.SortFunc(m.Lines, func(a, b reach.Line) int { return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To)) })
	return m
}

func shop() *reach.Map {
	web, api, cart, db := workload("shop", "web"), workload("shop", "api"), workload("shop", "cart"), workload("data", "db")
	world, prometheus := addresses("0.0.0.0/0", "::/0"), workload("monitoring", "prometheus")
	m := build([]reach.Line{
		{From: world, To: web, Ports: tcp(443)},
		{From: web, To: api, Ports: tcp(8080)},
		{From: web, To: cart, Ports: tcp(8080)},
		{From: api, To: db, Ports: tcp(5432)},
		{From: cart, To: db, Ports: tcp(5432)},
		{From: db, To: db, Ports: netpol.AllPorts()},
		{From: db, To: api, Ports: tcp(9000)},
		{From: prometheus, To: web, Ports: tcp(9090)},
		{From: prometheus, To: api, Ports: tcp(9090)},
		{From: prometheus, To: cart, Ports: tcp(9090)},
		{From: reach.End{Future: &reach.Future{Pods: "role=scraper"}}, To: db, Ports: netpol.Ports(netpol.PortRange{Protocol: corev1.ProtocolTCP, From: 1, To: 65535})},
	}, workload("idle", "forgotten"))
	m.Warnings = []string{"Deployment idle/forgotten has no policy."}
	return m
}

// mesh is a namespace in which all talk to each other, and which talks to all of another.
func mesh() *reach.Map {
	var lines []reach.Line
	for i := range 3 {
		for j := range 3 {
			if i != j {
				lines = append(lines, reach.Line{From: workload("mesh", fmt.Sprint("m", i)), To: workload("mesh", fmt.Sprint("m", j)), Ports: netpol.AllPorts()})
			}
			lines = append(lines, reach.Line{From: workload("mesh", fmt.Sprint("m", i)), To: workload("open", fmt.Sprint("o", j)), Ports: tcp(80)})
			lines = append(lines, reach.Line{From: workload("open", fmt.Sprint("o", i)), To: workload("open", fmt.Sprint("o", j)), Ports: tcp(22)})
		}
	}
	lines = append(lines, reach.Line{From: workload("mesh", "m1"), To: workload("mesh", "m1"), Ports: tcp(7946)})
	for i := range 3 {
		lines = append(lines, reach.Line{From: workload("open", fmt.Sprint("o", i)), To: addresses("10.0.0.0/8"), Ports: tcp(53)})
	}
	return build(lines)
}

// hostile is a map of names that no API server accepts.
func hostile() *reach.Map {
	var ends []reach.End
	for i, name := range hostileNames {
		ends = append(ends, reach.End{Kind: name, Namespace: hostileNames[i/3], Name: name})
	}
	ends = append(ends, reach.End{Future: &reach.Future{Pods: hostileNames[0], Namespaces: hostileNames[1]}})
	var lines []reach.Line
	for i := range ends {
		lines = append(lines, reach.Line{From: ends[i], To: ends[(i*5+1)%len(ends)], Ports: tcp(uint16(i + 1))})
	}
	m := build(lines)
	m.Warnings = hostileNames
	return m
}

var hostileNames = []string{
	`a"b\`, `"]; evil -> n0; x["`, "line\nbreak\r\n", `<script>alert(1)</script>`, `</title></svg>`, `<!-- --> ]]> <![CDATA[`,
	`&amp;&#60;&lt;`, strings.Repeat("x", 253), strings.Repeat("<\"&", 84), "🚢🚢🚢 💥", "\u202egnp.exe", "nul\x00\x1b[31m\xff",
	"end", "#quot;#60;", "%% comment", "`**bold**` 1. one", `\N \G \n`, "名前空間", "", " ", "*/ // */", "a\u0301\u0301\u0301\u0301",
}

// random is a map of n workloads, ten in a namespace, as teams write them: each talks to some others, a
// few namespaces are open to everyone.
func random(n int) *reach.Map {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	names := []string{"api", "web", "worker", "postgres", "redis", "checkout-service", "scheduler", "gateway", "mailer", "reports"}
	spaces := []string{"checkout", "data", "identity", "ingress-nginx", "logistics", "monitoring"}
	ports := []netpol.PortSet{tcp(8080), tcp(8080, 8443), tcp(5432), tcp(9090), netpol.AllPorts(), netpol.Ports(netpol.PortRange{Protocol: corev1.ProtocolTCP, From: 0, To: 65535})}
	var ends []reach.End
	for i := range n {
		space := spaces[(i/10)%len(spaces)]
		if k := i / 10 / len(spaces); k > 0 {
			space += fmt.Sprint("-", k)
		}
		ends = append(ends, workload(space, names[i%10]))
	}
	world := addresses("0.0.0.0/0")
	var lines []reach.Line
	for i, from := range ends {
		for j, to := range ends {
			switch {
			case to.Namespace == "identity" && to.Name == "gateway", from.Namespace == "monitoring" && from.Name == "worker":
				lines = append(lines, reach.Line{From: from, To: to, Ports: tcp(9090)})
			case from.Namespace == to.Namespace && strings.HasPrefix(from.Namespace, "logistics"):
				lines = append(lines, reach.Line{From: from, To: to, Ports: netpol.AllPorts()})
			case i != j && r.IntN(n) < 3:
				lines = append(lines, reach.Line{From: from, To: to, Ports: ports[r.IntN(len(ports))]})
			}
		}
		if from.Namespace == "ingress-nginx" {
			lines = append(lines, reach.Line{From: world, To: from, Ports: tcp(443)})
		}
	}
	for _, to := range ends[:min(n, 4)] {
		lines = append(lines, reach.Line{From: reach.End{Future: &reach.Future{Namespaces: "team=shop", Pods: "app=web"}}, To: to, Ports: tcp(8080)})
	}
	return build(lines, ends...)
}

func render(t testing.TB, draw drawer, m *reach.Map) string {
	t.Helper()
	var b bytes.Buffer
	if err := draw(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for name, m := range map[string]*reach.Map{"shop": shop(), "mesh": mesh(), "hostile": hostile(), "empty": {}} {
		for format, draw := range formats {
			path := filepath.Join("testdata", name+"."+format)
			got := render(t, draw, m)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || got != string(want) {
				t.Errorf("%s is not what is drawn (%v); if it should be: go test -update", path, err)
			}
		}
	}
}

var sizes = []int{6, 20, 60, 120, 121, 200, 600}

func samples() map[string]*reach.Map {
	all := map[string]*reach.Map{"shop": shop(), "mesh": mesh(), "hostile": hostile(), "empty": {}, "namespaces": scattered(1500)}
	for _, n := range sizes {
		all[fmt.Sprint(n)] = random(n)
	}
	return all
}

// scattered is a map in which each workload has a namespace of its own, and talks to 40 others.
func scattered(n int) *reach.Map {
	var lines []reach.Line
	for i := range n {
		for j := range 40 {
			lines = append(lines, reach.Line{From: workload(fmt.Sprintf("ns%04d", i), "w"), To: workload(fmt.Sprintf("ns%04d", (i+j*j)%n), "w"), Ports: tcp(uint16(80 + j))})
		}
	}
	return build(lines)
}

func TestSVGIsXML(t *testing.T) {
	allowed := map[string]bool{"svg": true, "title": true, "desc": true, "style": true, "rect": true, "text": true, "tspan": true, "g": true, "path": true}
	for name, m := range samples() {
		d := xml.NewDecoder(strings.NewReader(render(t, SVG, m)))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if start, ok := token.(xml.StartElement); ok && !allowed[start.Name.Local] {
				t.Errorf("%s: an element %s", name, start.Name.Local)
			}
		}
	}
}
