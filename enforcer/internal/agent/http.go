// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/observer"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/report"
)

// website is what the agent serves on its HTTP address: health and metrics to all, and to this machine only,
// because it names pods, what the enforcer's own commands ask for.
type website struct {
	shared
	ring     *observer.Ring
	observer *observer.Server
}

func (w *website) server() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", w.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(w.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /status", toThisMachine(w.status))
	mux.HandleFunc("POST /trace", toThisMachine(w.trace))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	mux.HandleFunc("POST /flows", toThisMachine(w.flows(server)))
	return server
}

func (w *website) readyz(out http.ResponseWriter, _ *http.Request) {
	r := w.state.current()
	if !r.Ready {
		http.Error(out, fmt.Sprintf("%d problems; `bulkhead-enforcer status` names them", len(r.Problems)), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(out, "ok")
}

func (w *website) status(out http.ResponseWriter, _ *http.Request) {
	answer(out, w.report())
}

func (w *website) report() report.Report {
	r, stats := w.state.current(), w.ring.Stats()
	r.Flows = report.Flows{Seen: stats.Seen, Lost: stats.Lost, Overwritten: stats.Overwritten}
	usage, err := w.dataplane.Usage()
	if err != nil {
		w.log.Warn("how full the maps are cannot be told", "error", err)
	}
	for _, u := range usage {
		r.Maps = append(r.Maps, report.Map{Name: u.Name, Entries: u.Entries, Capacity: u.Capacity})
	}
	return r
}

func answer(out http.ResponseWriter, what any) {
	out.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(out).Encode(what) // the client has gone away: nobody to tell
}

func toThisMachine(handler http.HandlerFunc) http.HandlerFunc {
	return func(out http.ResponseWriter, req *http.Request) {
		if !fromThisMachine(req) {
			http.Error(out, "this is served to this machine only", http.StatusForbidden)
			return
		}
		handler(out, req)
	}
}

func fromThisMachine(req *http.Request) bool {
	host, _, err := net.SplitHostPort(req.RemoteAddr)
	host, _, _ = strings.Cut(host, "%")
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}
