// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
)

func intOr(port int32) intstr.IntOrString { return intstr.FromInt32(port) }

func TestWrongFlagValues(t *testing.T) {
	for args, want := range map[string]string{
		"--default-mode=strict":               `--default-mode: mode "strict" is not one of observe, audit, enforce`,
		"--webhook-url=http://127.0.0.1:1":    `--webhook-url "http://127.0.0.1:1" is not of the form https://host:port`,
		"--listen=9443":                       `--listen "9443" is not of the form address:port`,
		"--listen=:0":                         `--listen ":0"`,
		"--health-addr=:99999":                `--health-addr ":99999"`,
		"--metrics-addr=x":                    `--metrics-addr "x"`,
		"--namespace=Bulkhead":                `--namespace "Bulkhead"`,
		"--exempt-namespaces=a,B":             `--exempt-namespaces "B"`,
		"--rules-dir=/nonexistent":            `--rules-dir: stat /nonexistent: no such file or directory`,
		"--rules-configmap=rules":             `--rules-configmap "rules" is not of the form namespace/name`,
		"--rule-action=namespace/x=forbid":    `--rule-action namespace/x: action "forbid"`,
		"--dns-node-local=169.254":            `--dns-node-local: ParseAddr("169.254")`,
		"--dns-service=":                      `--dns-service ""`,
		"--kubeconfig=/nonexistent":           `--kubeconfig /nonexistent:`,
		"--no-such-flag":                      `unknown flag: --no-such-flag`,
		"stray":                               `unknown command "stray"`,
		"emergency-off --kubeconfig=/missing": `--kubeconfig /missing:`,
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
	for _, flag := range []string{"--kubeconfig", "--webhook-url", "--default-mode", "--rules-dir", "emergency-off"} {
		if !strings.Contains(out.String(), flag) {
			t.Errorf("help lacks %s", flag)
		}
	}
}
