// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// load is what the flags of the command say.
type load struct {
	setup      setup
	population population
	rate       int // reviews a second
	seconds    int
	settle     time.Duration
	core       int     // that the webhook has for itself
	maxMemory  int64   // MB
	minInTime  float64 // percent
	output     string
}

func newLoad(s *setup) *cobra.Command {
	c := load{}
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Measure the webhook's memory in a full cluster, and its answers under load on one core",
		Long: `Measure the webhook's memory in a full cluster, and its answers under load on one core.

A real API server is filled with --namespaces, each with the policies that the webhook makes, and with --pods
and --policies of a team. Then the webhook is started anew, on one processor core that it has for itself
(taskset), and its resident memory is read after a --settle time. Then reviews are sent to it at random
moments, --rate a second on average, whether or not earlier ones have been answered: 40 % pods to be held,
40 % NetworkPolicies created and updated, 10 % NetworkPolicies that the rules refuse, 10 % namespaces.

A latency is from the moment a review was due until its answer was read, so it has in it all that it waited
for, also on its way and in this program. The webhook's own share of it is that of histogram bulkhead_review_seconds.

Run it on the cores that are left: taskset -c 1 bin/onboarding load

Exit status 1: an answer was wrong, a limit was exceeded, or the measurement failed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.setup = *s
			c.setup.apiServers = 1
			return c.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.IntVar(&c.population.namespaces, "namespaces", 1000, "namespaces in mode enforce")
	f.IntVar(&c.population.pods, "pods", 10_000, "pods")
	f.IntVar(&c.population.policies, "policies", 3000, "NetworkPolicies of the team, beside the webhook's own")
	f.IntVar(&c.rate, "rate", 1000, "reviews a second")
	f.IntVar(&c.seconds, "seconds", 30, "how long they are sent")
	f.DurationVar(&c.settle, "settle", time.Minute, "between the start and the first reading of the memory")
	f.IntVar(&c.core, "core", 0, "the processor core that the webhook has for itself")
	f.Int64Var(&c.maxMemory, "max-memory", 80, "most resident memory before the load, in MB (0: no limit)")
	f.Float64Var(&c.minInTime, "min-in-time", 99, "least percentage of reviews that the webhook itself answers within 5 ms (0: no limit)")
	f.StringVarP(&c.output, "output", "o", "table", "table or json")
	return cmd
}

// loadReport is what was measured. Memory is in MB of 1,000,000 bytes, times are milliseconds.
type loadReport struct {
	ReadyIn   float64   `json:"readyMilliseconds"`
	Settled   float64   `json:"settledMB"`
	StartPeak float64   `json:"startPeakMB"`
	Loaded    float64   `json:"loadedMB"`
	Peak      float64   `json:"peakMB"`
	Sent      int       `json:"sent"`
	Rate      int       `json:"rate"`
	Wrong     int       `json:"wrong"`
	Latencies []latency `json:"latencies"` // the last is of all
	// InTime is the share of reviews that the webhook itself answered within 5 ms, in percent.
	InTime  float64 `json:"answeredWithin5ms"`
	example error   // of what was wrong; nil: nothing was
}

type latency struct {
	Kind  string  `json:"kind"`
	Count int     `json:"count"`
	P50   float64 `json:"p50Milliseconds"`
	P99   float64 `json:"p99Milliseconds"`
	P999  float64 `json:"p999Milliseconds"`
	Most  float64 `json:"maxMilliseconds"`
}

func (c *load) run(ctx context.Context, out, progress io.Writer) error {
	return inLab(ctx, c.setup, progress, func(l *lab) error {
		webhook, err := c.prepare(ctx, l)
		if err != nil {
			return err
		}
		report := &loadReport{Rate: c.rate}
		if err := c.measure(ctx, l, webhook, report); err != nil {
			return fmt.Errorf("%w\n%s", err, webhook.process.LogTail())
		}
		return errors.Join(report.print(out, c.output), c.judge(report))
	})
}

// prepare fills the cluster and returns a webhook that is not running.
func (c *load) prepare(ctx context.Context, l *lab) (*replica, error) {
	webhook, err := l.replica("", "taskset", "-c", fmt.Sprint(c.core))
	if err != nil {
		return nil, err
	}
	if err := webhook.start(ctx); err != nil {
		return nil, err
	}
	if err := l.fill(ctx, c.population); err != nil {
		return nil, err
	}
	return webhook, webhook.kill()
}

func (c *load) measure(ctx context.Context, l *lab, webhook *replica, report *loadReport) error {
	begin := time.Now()
	if err := webhook.start(ctx); err != nil {
		return err
	}
	report.ReadyIn = milliseconds(time.Since(begin))
	pool, err := l.pool(ctx)
	if err != nil {
		return err
	}
	reviews, err := pool.reviews(c.rate * c.seconds)
	if err != nil {
		return err
	}
	sender, err := l.sender(ctx, webhook)
	if err != nil {
		return err
	}
	fmt.Fprintf(l.progress, "letting the webhook settle for %s\n", c.settle)
	pause(ctx, c.settle)
	if report.Settled, report.StartPeak, err = megabytes(webhook); err != nil {
		return err
	}
	before, err := webhook.answered(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(l.progress, "sending %d reviews, %d a second\n", len(reviews), c.rate)
	if err := sender.send(ctx, reviews, c.rate); err != nil {
		return err
	}
	report.Sent, report.Wrong = len(reviews), sender.wrong
	report.Latencies = sender.latencies()
	if report.Loaded, report.Peak, err = megabytes(webhook); err != nil {
		return err
	}
	after, err := webhook.answered(ctx)
	if err != nil {
		return err
	}
	report.InTime = after.shareSince(before)
	report.example = sender.example
	return nil
}

// sender trusts whom the registration trusts.
func (l *lab) sender(ctx context.Context, r *replica) (*sender, error) {
	registered, err := l.apis[0].AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, "bulkhead-webhook", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return newSender(r.listen, registered.Webhooks[0].ClientConfig.CABundle)
}

func megabytes(r *replica) (now, most float64, err error) {
	nowBytes, mostBytes, err := residentMemory(r.process.Pid())
	return float64(nowBytes) / 1e6, float64(mostBytes) / 1e6, err
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (s *sender) latencies() []latency {
	var all []time.Duration
	var rows []latency
	for _, kind := range slices.Sorted(maps.Keys(s.took)) {
		rows = append(rows, newLatency(kind, s.took[kind]))
		all = append(all, s.took[kind]...)
	}
	return append(rows, newLatency("all", all))
}

func newLatency(kind string, took []time.Duration) latency {
	slices.Sort(took)
	return latency{
		Kind: kind, Count: len(took),
		P50: percentile(took, 50), P99: percentile(took, 99), P999: milliseconds(took[(len(took)-1)*999/1000]), Most: milliseconds(took[len(took)-1]),
	}
}

// judge returns an error for each limit that was exceeded.
func (c *load) judge(r *loadReport) error {
	var errs []error
	if r.example != nil {
		errs = append(errs, fmt.Errorf("%d of %d answers were wrong or failed, such as: %w", r.Wrong, r.Sent, r.example))
	}
	if c.maxMemory > 0 && r.Settled > float64(c.maxMemory) {
		errs = append(errs, fmt.Errorf("resident memory is %.1f MB, more than %d", r.Settled, c.maxMemory))
	}
	if r.InTime < c.minInTime {
		errs = append(errs, fmt.Errorf("%.2f %% of the reviews were answered within 5 ms, want %.2f %%", r.InTime, c.minInTime))
	}
	return errors.Join(errs...)
}

func (r *loadReport) print(out io.Writer, format string) error {
	if format == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	fmt.Fprintf(out, "ready in %.0f ms; resident memory: settled %.1f MB (peak of the start %.1f), under load %.1f MB (peak %.1f)\n",
		r.ReadyIn, r.Settled, r.StartPeak, r.Loaded, r.Peak)
	fmt.Fprintf(out, "%d reviews, %d a second; the webhook itself answered %.2f %% within 5 ms; as the sender saw it:\n", r.Sent, r.Rate, r.InTime)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "REVIEW\tCOUNT\tP50\tP99\tP99.9\tMAX\t")
	for _, l := range r.Latencies {
		fmt.Fprintf(w, "%s\t%d\t%.1f ms\t%.1f ms\t%.1f ms\t%.1f ms\t\n", l.Kind, l.Count, l.P50, l.P99, l.P999, l.Most)
	}
	return w.Flush()
}
