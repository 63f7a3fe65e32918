// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/agent"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// hubbleCLI is Hubble's own command with what it needs to be answered.
type hubbleCLI struct {
	binary string
	tls    []string
}

func (h hubbleCLI) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, h.binary, append(append([]string{}, args...), h.tls...)...)
	cmd.Env = []string{"HOME=/nonexistent"} // no configuration of who runs the tests
	return cmd
}

// prints runs the command until it has printed all of these texts.
func (h hubbleCLI) prints(t *testing.T, args string, texts ...string) (output string) {
	t.Helper()
	eventually(t, "hubble "+args, func() error {
		out, err := h.command(t.Context(), strings.Fields(args)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		for _, text := range texts {
			if !strings.Contains(string(out), text) {
				return fmt.Errorf("no %q in\n%s", text, out)
			}
		}
		output = string(out)
		return nil
	})
	return output
}

// The hubble command reads the agent over TLS with client certificates as it reads a Cilium node.
func TestHubbleCommand(t *testing.T) {
	const nodeName = "node-hubble"
	binary, err := cluster.Tool(t.Context(), "hubble", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	pki := newPKI(t)
	createNode(t, nodeName, node.Gateway4.String())
	createNamespace(t, "hubbleshop", "enforce")
	createNamespace(t, "hubbleother", "enforce")
	api := node.NewPod(t, "vhubapi", "10.99.20.2", "fd99::20:2")
	thief := node.NewPod(t, "vhubthief", "10.99.20.3", "fd99::20:3")
	createPod(t, nodeName, "hubbleshop", "api", createReplicaSet(t, "hubbleshop", "api"), api)
	createPod(t, nodeName, "hubbleother", "thief", nil, thief)
	echo(t, api, 3000)
	apply(t, "hubbleshop", denyAll(), allow("api", "api", "frontend", 3000))
	start(t, nodeName, func(c *agent.Config) {
		c.Hubble.CertFile, c.Hubble.KeyFile, c.Hubble.ClientCAFile = pki.file("server.crt"), pki.file("server.key"), pki.file("ca.crt")
	})
	server := []string{"--server=tls://" + hubbleAddr, "--tls-ca-cert-files=" + pki.file("ca.crt")}
	h := hubbleCLI{binary, append(server, "--tls-client-cert-file="+pki.file("client.crt"), "--tls-client-key-file="+pki.file("client.key"))}
	for _, addr := range api.Addrs {
		if err := reach(thief, addr, 3000); !isDropped(err) {
			t.Fatalf("thief to api at %s: %v, want dropped", addr, err)
		}
	}
	const denied = "observe --namespace hubbleshop --verdict DROPPED"
	out := h.prints(t, denied+" -o json", `"pod_name":"thief"`, `"IP":{"source":"fd99::20:3"`)
	t.Run("JSON", func(t *testing.T) { checkJSON(t, out, nodeName) })
	t.Run("every question", func(t *testing.T) { everyQuestion(t, h, nodeName) })
	t.Run("what is not served is said", func(t *testing.T) {
		got, err := h.command(t.Context(), "observe", "--http-status", "500").CombinedOutput()
		if err == nil || !strings.Contains(string(got), "field http_status_code is not supported") {
			t.Errorf("%v\n%s", err, got)
		}
	})
	t.Run("no certificate", func(t *testing.T) {
		got, err := hubbleCLI{binary, server}.command(t.Context(), "status").CombinedOutput()
		if err == nil || strings.Contains(string(got), "Flows") {
			t.Errorf("%v\n%s", err, got)
		}
	})
	t.Run("follow", func(t *testing.T) {
		follow(t, h, strings.Fields(denied+" --follow --to-port 3001 -o json"), func() {
			if err := reach(thief, api.Addrs[0], 3001); !isDropped(err) {
				t.Errorf("thief to api: %v, want dropped", err)
			}
		})
	})
}

func checkJSON(t *testing.T, out, nodeName string) {
	for line := range strings.Lines(out) {
		var event struct {
			Flow struct {
				Verdict     string
				Source      struct{ Namespace string }
				Destination struct {
					Namespace string
					Workloads []struct{ Name, Kind string }
				}
			}
			NodeName string `json:"node_name"`
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		f := event.Flow
		if f.Verdict != "DROPPED" || f.Source.Namespace != "hubbleother" || f.Destination.Namespace != "hubbleshop" ||
			f.Destination.Workloads[0].Name != "api" || f.Destination.Workloads[0].Kind != "Deployment" || event.NodeName != nodeName {
			t.Errorf("got %s", line)
		}
	}
}

// everyQuestion is what the command's flags make it ask, each with a word of the right answer.
func everyQuestion(t *testing.T, h hubbleCLI, nodeName string) {
	const drop = "hubbleshop/api:3000 (unknown) policy-verdict:none INGRESS DENIED ("
	for args, want := range map[string]string{
		"status":                              "Current/Max Flows",
		"status -o json":                      `"num_connected_nodes":1`,
		"list nodes":                          nodeName,
		"list nodes -o json":                  `"NODE_CONNECTED"`,
		"list namespaces":                     "hubbleshop",
		"observe":                             drop,
		"observe --last 1 --verdict DROPPED":  "DENIED",
		"observe --first 9":                   drop,
		"observe --all":                       drop,
		"observe --since 5m":                  drop,
		"observe --since 5m --until 0s":       drop,
		"observe --pod hubbleshop/api":        drop,
		"observe --from-pod hubbleother/thie": drop,
		"observe --to-pod hubbleshop/api":     drop,
		"observe --from-namespace hubbleother --to-namespace hubbleshop": drop,
		"observe --all-namespaces":                                       drop,
		"observe --label app=api":                                        drop,
		"observe --from-label k8s:app=thief":                             drop,
		"observe --workload Deployment/api":                              drop,
		"observe --to-workload api":                                      drop,
		"observe --ip fd99::20:2":                                        drop,
		"observe --to-ip 10.99.20.0/24":                                  drop,
		"observe --port 3000":                                            drop,
		"observe --protocol tcp":                                         drop,
		"observe -6 --ip-translation=false":                              "fd99::20:3",
		"observe --node-name node-hub*":                                  drop,
		"observe --type policy-verdict":                                  drop,
		"observe --drop-reason-desc POLICY_DENIED":                       drop,
		"observe --traffic-direction ingress":                            drop,
		"observe --not-reply":                                            drop,
		"observe --not --verdict FORWARDED":                              drop,
		"observe --verdict DROPPED -o dict":                              "DESTINATION: hubbleshop/api:3000",
		"observe --verdict DROPPED -o table --print-node-name":           nodeName,
		"observe --verdict DROPPED -o compact":                           "policy-verdict:",
		"observe --verdict DROPPED --print-policy-names":                 "default-deny",
		"observe --verdict DROPPED -o jsonpb --time-format RFC3339":      `"uuid"`,
	} {
		h.prints(t, args, want)
	}
}

// follow starts the command, does something and waits for a line.
func follow(t *testing.T, h hubbleCLI, args []string, do func()) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := h.command(ctx, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	go func() {
		for ctx.Err() == nil { // it may not listen yet at the first packet
			do()
		}
	}()
	if !lines.Scan() || !strings.Contains(lines.Text(), `"destination_port":3001`) {
		t.Errorf("got %q", lines.Text())
	}
	cancel()
	_ = cmd.Wait() // it was killed
}

// pki is a directory with an authority and certificates of it.
type pki struct{ dir string }

func (p pki) file(name string) string { return filepath.Join(p.dir, name) }

func newPKI(t *testing.T) pki {
	t.Helper()
	p := pki{t.TempDir()}
	ca := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	key := p.write(t, "ca", ca, ca, nil)
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	p.write(t, "server", &x509.Certificate{IPAddresses: loopback, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, ca, key)
	p.write(t, "client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca, key)
	return p
}

// write makes NAME.crt and NAME.key; signer nil: the key signs itself.
func (p pki) write(t *testing.T, name string, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for ending, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(p.file(name+ending), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key
}
