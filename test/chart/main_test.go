// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// shared by all tests: building and starting them once is most of the time.
var (
	binaries string        // directory of the three built binaries
	admin    client.Client // of a control plane with nothing but the project's namespace
)

// TestMain runs the tests on a node of their own if it may: one of them has an enforcer.
func TestMain(m *testing.M) {
	if os.Geteuid() == 0 {
		node.Main(m, prepare, setUp)
	}
	tearDown, err := setUp()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	tearDown()
	os.Exit(code)
}

// prepare does what may need the network: building tools, and fetching what binaries are built from.
func prepare() error {
	for _, tool := range []string{"etcd", "kube-apiserver", "helm"} {
		if _, err := cluster.Tool(context.Background(), tool, os.Stderr); err != nil {
			return err
		}
	}
	if out, err := exec.Command("go", "list", "-deps", "../../...").CombinedOutput(); err != nil {
		return fmt.Errorf("fetch the modules of the binaries: %w\n%s", err, out)
	}
	return nil
}

func setUp() (tearDown func(), err error) {
	log.SetLogger(logr.Discard()) // of the client; its errors are ours
	if binaries, err = os.MkdirTemp("", "bulkhead-chart-test-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(binaries))
		}
	}()
	if err := cluster.Build(context.Background(), binaries); err != nil {
		return nil, err
	}
	plane, err := cluster.Start(context.Background(), cluster.Options{Log: os.Stderr})
	if err != nil {
		return nil, err
	}
	if admin, err = client.New(plane.Admin(), client.Options{}); err == nil {
		err = createNamespace(admin, baseline.ProjectNamespace, nil)
	}
	if err != nil {
		return nil, errors.Join(err, plane.Stop())
	}
	return func() {
		if err := errors.Join(plane.Stop(), os.RemoveAll(binaries)); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}, nil
}

func createNamespace(c client.Client, name string, labels map[string]string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	return c.Create(context.Background(), namespace)
}
