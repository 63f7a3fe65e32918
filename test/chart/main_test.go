// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// shared by all tests: building and starting them once is most of the time.
var (
	binaries string        // directory of the three built binaries
	admin    client.Client // of a control plane with nothing but the project's namespace
)

func TestMain(m *testing.M) {
	code, err := withShared(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withShared(tests func() int) (code int, err error) {
	log.SetLogger(logr.Discard()) // of the client; its errors are ours
	if binaries, err = os.MkdirTemp("", "bulkhead-chart-test-"); err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(binaries) }()
	if err := buildBinaries(); err != nil {
		return 1, err
	}
	plane, err := cluster.Start(context.Background(), cluster.Options{Log: os.Stderr})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, plane.Stop()) }()
	if admin, err = client.New(plane.Admin(), client.Options{}); err != nil {
		return 1, err
	}
	if err := createNamespace(admin, baseline.ProjectNamespace, nil); err != nil {
		return 1, err
	}
	return tests(), nil
}

// programs are the binaries by the name of their image, and the packages they are built from.
var programs = map[string]string{"bulkhead": "generator", "bulkhead-webhook": "webhook", "bulkhead-enforcer": "enforcer"}

func buildBinaries() error {
	for name, pkg := range programs {
		cmd := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(binaries, name), "../../"+pkg)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

func createNamespace(c client.Client, name string, labels map[string]string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	return c.Create(context.Background(), namespace)
}
