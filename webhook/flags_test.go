// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

func intOr(port int32) intstr.IntOrString { return intstr.FromInt32(port) }

func TestWrongFlagValues(t *testing.T) {
	for args, want := range map[string]string{
		"--default-mode=strict":                 `--default-mode: mode "strict" is not one of observe, audit, enforce`,
		"--webhook-url=http://127.0.0.1:1":      `--webhook-url "http://127.0.0.1:1" is not of the form https://host:port`,
		"--webhook-url=https://127.0.0.1:1/a":   `--webhook-url "https://127.0.0.1:1/a" is not of the form https://host:port`,
		"--webhook-url=https://u:p@127.0.0.1":   `--webhook-url "https://u:p@127.0.0.1" is not of the form`,
		"--webhook-url=https://:443":            `--webhook-url "https://:443" is not of the form`,
		"--webhook-url=https://127.0.0.1:99999": `--webhook-url "127.0.0.1:99999" is not of the form address:port`,
		"--listen=9443":                         `--listen "9443" is not of the form address:port`,
		"--listen=:0":                           `--listen ":0"`,
		"--health-addr=:99999":                  `--health-addr ":99999"`,
		"--metrics-addr=x":                      `--metrics-addr "x"`,
		"--namespace=Bulkhead":                  `--namespace "Bulkhead"`,
		"--exempt-namespaces=a,B":               `--exempt-namespaces "B"`,
		"--rules-dir=/nonexistent":              `--rules-dir: stat /nonexistent: no such file or directory`,
		"--rules-configmap=rules":               `--rules-configmap "rules" is not of the form namespace/name`,
		"--rule-action=namespace/x=forbid":      `--rule-action namespace/x: action "forbid"`,
		"--rule-action=admission/canary=off":    `--rule-action admission/canary: by this rule the webhook checks itself`,
		"--dns-node-local=169.254":              `--dns-node-local "169.254" is not an address such as`,
		"--dns-node-local=fe80::1%eth0":         `--dns-node-local "fe80::1%eth0" is not an address such as`,
		"--rules-configmap=a/B":                 `--rules-configmap "a/B" is not of the form namespace/name`,
		"--dns-service=kube/dns":                `--dns-service "kube/dns"`,
		"--dns-namespace=":                      `--dns-namespace ""`,
		"--cert-dir=/nonexistent":               `--cert-dir: open /nonexistent/tls.crt:`,
		"--cert-dir=/a --webhook-url=https://a": `--cert-dir and --webhook-url: a process that registers itself`,
		"--drain=-1s":                           `--drain -1s is not between 0 and 5m0s`,
		"--drain=6m":                            `--drain 6m0s is not between 0 and 5m0s`,
		"--kubeconfig=/nonexistent":             `--kubeconfig /nonexistent:`,
		"--no-such-flag":                        `unknown flag: --no-such-flag`,
		"stray":                                 `unknown command "stray"`,
		"emergency-off --kubeconfig=/missing":   `--kubeconfig /missing:`,
	} {
		err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", args, err, want)
		}
	}
}

func TestUnreachableAPIServer(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c"}}],
"clusters":[{"name":"c","cluster":{"server":"https://` + freeAddress(t) + `"}}]}`
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err := run(t.Context(), []string{"--kubeconfig", kubeconfig}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestFilesThatAreNoKubeconfig(t *testing.T) {
	for text, want := range map[string]string{
		"":                          ": it names no cluster",
		"clusters: 3":               ": it cannot be read as a kubeconfig: ",
		"hello":                     ": it cannot be read as a kubeconfig: ",
		"apiVersion: v1\nkind: [\n": "yaml: line 2: ",
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, command := range [][]string{nil, {"emergency-off"}} {
			err := run(t.Context(), append(command, "--kubeconfig", path), io.Discard, io.Discard)
			if err == nil || !strings.HasPrefix(err.Error(), "--kubeconfig "+path) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: got %v, want one line with %q", text, err, want)
			}
		}
	}
}

// What is missing in the cluster is said at once, and nothing is registered.
func TestClusterThatIsNotPrepared(t *testing.T) {
	stranger, err := plane.Kubeconfig("stranger")
	if err != nil {
		t.Fatal(err)
	}
	of, err := plane.Kubeconfig(baseline.ServiceAccountUser(baseline.WebhookServiceAccount))
	if err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"there is no namespace absent for the certificate authority: create it":                             {"--kubeconfig", of, "--namespace", "absent"},
		"read namespace bulkhead-system (has this user the roles that the chart gives bulkhead-webhook?): ": {"--kubeconfig", stranger},
		"read rules of ConfigMap bulkhead-system/absent":                                                    {"--kubeconfig", of, "--rules-configmap", "bulkhead-system/absent"},
		"an action is set for rule namespace/x, which does not exist":                                       {"--kubeconfig", of, "--rule-action", "namespace/x=warn"},
	} {
		began := time.Now()
		err := run(t.Context(), append(args, "--webhook-url", "https://"+freeAddress(t)), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || time.Since(began) > 10*time.Second {
			t.Errorf("after %s: got %v, want one line with %q", time.Since(began), err, want)
		}
	}
	notRegistered(t)
}

func notRegistered(t *testing.T) {
	t.Helper()
	err := admin.Get(t.Context(), client.ObjectKey{Name: "bulkhead-webhook"}, &admissionv1.ValidatingWebhookConfiguration{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("a webhook is registered, and nobody answers: %v", err)
	}
}

// An address that is in use is named, and nothing stays registered.
func TestAddressesInUse(t *testing.T) {
	of, err := plane.Kubeconfig(baseline.ServiceAccountUser(baseline.WebhookServiceAccount))
	if err != nil {
		t.Fatal(err)
	}
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	for _, flag := range []string{"--listen", "--health-addr", "--metrics-addr"} {
		args := []string{
			"--kubeconfig", of, "--webhook-url", "https://" + freeAddress(t), "--health-addr", freeAddress(t), "--metrics-addr", freeAddress(t),
			flag, used.Addr().String(),
		}
		err := run(t.Context(), args, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), used.Addr().String()+": bind: address already in use") {
			t.Errorf("%s: got %v", flag, err)
		}
	}
	notRegistered(t)
}

func TestCheckVersion(t *testing.T) {
	for body, want := range map[string]string{
		`{"gitVersion":"v1.30.0"}`:     "",
		`{"gitVersion":"v1.36.3+k3s"}`: "",
		`{"gitVersion":"v1.29.9"}`:     "upgrade to 1.30.0 or later",
		`<html>`:                       "does not answer like a Kubernetes API server",
		`{}`:                           "does not answer like a Kubernetes API server",
	} {
		err := checkVersion("host", []byte(body))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", body, err, want)
		}
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"Examples:", "--kubeconfig", "--webhook-url", "--default-mode", "--rules-dir", "params.yaml", "emergency-off"} {
		if !strings.Contains(out.String(), flag) {
			t.Errorf("help lacks %s", flag)
		}
	}
}
