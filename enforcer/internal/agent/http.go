// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/observer"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/report"
)

// newHTTPServer serves /healthz, /readyz, /metrics, and, to this machine only because it names pods,
// /status.
func newHTTPServer(s *state, ring *observer.Ring, registry *prometheus.Registry) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		r := s.current()
		if !r.Ready {
			http.Error(w, fmt.Sprintf("%d problems; `bulkhead-enforcer status` names them", len(r.Problems)), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, req *http.Request) {
		if !fromThisMachine(req) {
			http.Error(w, "the status is served to this machine only", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(fullReport(s, ring)) // the client has gone away: nobody to tell
	})
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
}

func fullReport(s *state, ring *observer.Ring) report.Report {
	r, stats := s.current(), ring.Stats()
	r.Flows = report.Flows{Seen: stats.Seen, Lost: stats.Lost, Overwritten: stats.Overwritten}
	return r
}

func fromThisMachine(req *http.Request) bool {
	host, _, err := net.SplitHostPort(req.RemoteAddr)
	host, _, _ = strings.Cut(host, "%")
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}
