// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// nowhere is an address that nothing listens on, in a network that has no addresses.
const nowhere = "127.0.0.1:1"

// TestBinariesTakeTheRenderedArguments runs each container's program with its arguments, and an API
// server and a Git repository that cannot be reached. Getting as far as those means that the
// arguments are good.
func TestBinariesTakeTheRenderedArguments(t *testing.T) {
	kubeconfig := "--kubeconfig=" + unreachable(t)
	for name, values := range variants(t) {
		t.Run(name, func(t *testing.T) {
			objects := render(t, values)
			for _, w := range workloads(t, objects) {
				container := w.container(t)
				args := append(arguments(container, w.mounts(t, only[corev1.Secret](t, objects, "Secret"))), kubeconfig)
				if out := fails(t, program(container), args); !strings.Contains(out, nowhere) {
					t.Errorf("%s %s:\n%s\nwant it to fail only where it connects to %s", w.name, strings.Join(args, " "), out, nowhere)
				}
				args = append(args, "--no-such-flag")
				if out := fails(t, program(container), args); !strings.Contains(out, "unknown flag: --no-such-flag") {
					t.Errorf("%s with a wrong flag: %s\nwant that flag refused, or this test tells nothing", w.name, out)
				}
			}
		})
	}
}

// TestBothWriteTheSameDNS: the webhook and the generator are told the same of where DNS answers, and the enforcer, which
// reads the answers, too.
func TestBothWriteTheSameDNS(t *testing.T) {
	both := []string{"--dns-node-local=169.254.20.10", "--dns-node-local=fd00::10"}
	for values, want := range map[string]map[string][]string{
		"everything": {
			"bulkhead-webhook":   append([]string{"--dns-namespace=openshift-dns", "--dns-service=dns-default"}, both...),
			"bulkhead-generator": append([]string{"--dns-service=openshift-dns/dns-default"}, both...),
			"bulkhead-enforcer":  append([]string{"--dns-names=false", "--dns-service=openshift-dns/dns-default"}, both...),
		},
		"generator": {"bulkhead-webhook": nil, "bulkhead-generator": nil},
	} {
		got := map[string][]string{}
		for _, w := range workloads(t, render(t, variants(t)[values])) {
			got[w.name] = slices.DeleteFunc(w.container(t).Args, func(arg string) bool { return !strings.HasPrefix(arg, "--dns-") })
		}
		for name, args := range want {
			if given, ok := got[name]; !ok || !slices.Equal(given, args) {
				t.Errorf("%s: %s has %v, want %v", values, name, given, args)
			}
		}
	}
}

// TestEnforcerHasWhatItIsToldOf: what its arguments name of the host is mounted at the same path.
func TestEnforcerHasWhatItIsToldOf(t *testing.T) {
	for values, want := range map[string]map[string]string{
		"default":    {"pin-path": "/sys/fs/bpf", "netns-path": "/run/netns", "nri-socket": "/var/run/nri"},
		"everything": {"pin-path": "/sys/fs/bpf", "netns-path": "/run/crio/netns", "nri-socket": ""},
	} {
		for _, w := range workloads(t, render(t, variants(t)[values])) {
			if w.name == "bulkhead-enforcer" {
				if got := w.hostPathsOfArguments(t); !maps.Equal(got, want) {
					t.Errorf("%s: the paths in its arguments are mounted from %v, want %v", values, got, want)
				}
			}
		}
	}
}

// hostPathsOfArguments finds the host's directory that each of the arguments is in; "" for one that is empty.
func (w workload) hostPathsOfArguments(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, arg := range w.container(t).Args {
		flag, path, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if !slices.Contains([]string{"pin-path", "netns-path", "nri-socket"}, flag) {
			continue
		}
		found[flag] = path
		for _, volume := range w.template.Spec.Volumes {
			for _, mount := range w.container(t).VolumeMounts {
				if path != "" && volume.HostPath != nil && mount.Name == volume.Name && strings.HasPrefix(path+"/", mount.MountPath+"/") {
					found[flag] = volume.HostPath.Path
				}
			}
		}
	}
	return found
}

// fails runs a program in a network of its own, where the ports that it listens on are free, and returns
// what it says. It is an error if the program succeeds or does not end.
func fails(t *testing.T, program string, args []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(binaries, program), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.Is(err, syscall.EPERM):
		t.Skipf("this user may not create a network namespace: %v", err)
	case !errors.As(err, &exit) || !exit.Exited():
		t.Fatalf("%s: got %v, want an exit status other than 0\n%s", program, err, &out)
	}
	return out.String()
}

func unreachable(t *testing.T) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: "https://" + nowhere, InsecureSkipTLSVerify: true}
	config.Contexts["c"] = &clientcmdapi.Context{Cluster: "c"}
	config.CurrentContext = "c"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}
