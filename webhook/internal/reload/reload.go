// SPDX-License-Identifier: Apache-2.0

// Package reload brings rules from a folder and a ConfigMap into the gate, at the start and whenever
// they change.
package reload

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/bulkhead-dev/bulkhead/policies/gate"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/ready"
)

// every is how often sources are looked at. Polling sees every kind of change, also the swapped
// symbolic links of a mounted ConfigMap.
const every = 2 * time.Second

// maxFileBytes bounds what is read of a file to see whether it changed. The gate refuses files of
// that size anyway.
const maxFileBytes = 1 << 20

var rulesStale = prometheus.NewGauge(prometheus.GaugeOpts{
	Name: "bulkhead_rules_stale",
	Help: "1 while the newest rules could not be loaded and older ones are in use.",
})

func init() { metrics.Registry.MustRegister(rulesStale) }

// Config says where rules are, beside the embedded ones.
type Config struct {
	Dir       string               // a folder of rules; empty: none
	ConfigMap types.NamespacedName // a ConfigMap with rules; zero: none
	Client    client.Reader        // for the ConfigMap; reads from the API server
	Log       *slog.Logger
}

// Rules are a gate whose rules follow their sources.
type Rules struct {
	Gate   *gate.Engine
	config Config
	loaded [sha256.Size]byte // of the sources that Gate has, or last refused
	broken string            // the last failure that was reported; empty: none
}

// New loads the rules. The error names the file and line, or the source, that is wrong.
func New(ctx context.Context, config Config, settings gate.Config) (*Rules, error) {
	r := &Rules{config: config}
	sources, err := r.sources(ctx)
	if err != nil {
		return nil, err
	}
	if r.loaded, err = digest(sources); err != nil {
		return nil, err
	}
	settings.Rules = sources
	if r.Gate, err = gate.New(ctx, settings); err != nil {
		return nil, fmt.Errorf("load rules: %w", err)
	}
	return r, nil
}

// Watch reloads rules that change until ctx ends. Rules that cannot be loaded are reported once; the
// ones before stay in use.
func (r *Rules) Watch(ctx context.Context) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			r.poll(ctx)
		}
	}
}

func (r *Rules) poll(ctx context.Context) {
	sources, err := r.sources(ctx)
	if err != nil {
		r.unreadable(err)
		return
	}
	found, err := digest(sources)
	if err != nil {
		r.unreadable(err)
		return
	}
	if found == r.loaded {
		return
	}
	r.loaded = found
	if err := r.Gate.Load(ctx, sources); err != nil {
		r.report(err)
		return
	}
	r.broken = ""
	rulesStale.Set(0)
	r.config.Log.Info("rules reloaded", "rules", len(r.Gate.Rules()))
}

// unreadable forgets what was loaded, so that sources that come back as they were are loaded again.
func (r *Rules) unreadable(err error) {
	r.loaded = [sha256.Size]byte{}
	r.report(err)
}

// report logs a failure when it is another one than before.
func (r *Rules) report(err error) {
	rulesStale.Set(1)
	if err.Error() != r.broken {
		r.broken = err.Error()
		r.config.Log.Error("rules not reloaded, the last good ones stay in use", "error", err)
	}
}

func (r *Rules) sources(ctx context.Context) ([]gate.Source, error) {
	sources := []gate.Source{gate.Embedded()}
	if r.config.Dir != "" {
		sources = append(sources, gate.Folder(r.config.Dir))
	}
	if r.config.ConfigMap != (types.NamespacedName{}) {
		found := &corev1.ConfigMap{}
		if err := r.config.Client.Get(ctx, r.config.ConfigMap, found); err != nil {
			return nil, fmt.Errorf("read rules of ConfigMap %s: %w", r.config.ConfigMap, err)
		}
		source, err := gate.ConfigMap(r.config.ConfigMap.String(), found.Data)
		if err != nil {
			return nil, err
		}
		sources = append(sources, source)
	}
	return append(sources, ready.Rules()), nil
}

// digest is over names and contents of all rules and parameters, in order.
func digest(sources []gate.Source) (sum [sha256.Size]byte, err error) {
	hash := sha256.New()
	for _, source := range sources {
		walk := func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || path.Ext(name) != ".rego" && name != gate.ParamsFile {
				return err
			}
			fmt.Fprintf(hash, "%s\x00%s\x00", source.Name, name)
			return addFile(hash, source.FS, name)
		}
		if err := fs.WalkDir(source.FS, ".", walk); err != nil {
			return sum, fmt.Errorf("read rules of %s: %w", source.Name, err)
		}
	}
	return [sha256.Size]byte(hash.Sum(nil)), nil
}

func addFile(to io.Writer, files fs.FS, name string) error {
	file, err := files.Open(name)
	if errors.Is(err, fs.ErrNotExist) { // swapped while we look: the next poll sees it whole
		return nil
	}
	if err != nil {
		return err
	}
	n, err := io.Copy(to, io.LimitReader(file, maxFileBytes))
	fmt.Fprintf(to, "\x00%d\x00", n)
	return errors.Join(err, file.Close())
}
