// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

const (
	observers = "bulkhead-enforcer.bulkhead-system.svc" // the headless Service
	tlsFiles  = "/etc/bulkhead/hubble"
)

// TestGeneratorFollowsEnforcer runs both with the arguments, service accounts and certificates that the chart
// gives them by default. Two addresses stand for two nodes; the enforcer listens on both.
func TestGeneratorFollowsEnforcer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the enforcer needs root")
	}
	r := newRelease(t, "generator")
	r.helm(t, "install", "--create-namespace", "--values", r.values)
	resolve(t, observers, "127.0.0.1", "127.0.0.2")
	if err := r.admin.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: valueFromThePod}}); err != nil {
		t.Fatal(err)
	}
	server := r.run(t, "bulkhead-enforcer", "--pin-path="+bpfFileSystem(t)+"/bulkhead", "--cleanup-on-exit", "--kubeconfig="+r.fromNode(t))[tlsFiles]
	listen := freeAddress(t)
	client := r.run(t, "bulkhead-generator", "--listen="+listen, "--repo="+approved(t), "--base=trunk")[tlsFiles]
	eventually(t, "http://"+listen+"/readyz", "2 of 2 observers answer")

	r.saysEnforcing(t)
	asks(t, "its certificate", client, "")
	asks(t, "no certificate", client, "does not answer", "--hubble-cert=", "--hubble-key=")
	asks(t, "another name", client, "not "+observers+".example.com", "--hubble-server-name="+observers+".example.com")

	before := r.certificates(t)
	r.helm(t, "upgrade", "--values", r.values)
	if after := r.certificates(t); !maps.EqualFunc(before, after, bytes.Equal) {
		t.Error("an upgrade changed the certificates")
	}
	r.renewed(t, before)
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(client)); err != nil {
		t.Fatal(err)
	}
	writeSecret(t, server, "bulkhead-hubble-server", r.secrets(t)) // as the kubelet does
	writeSecret(t, client, "bulkhead-hubble-client", r.secrets(t))
	asks(t, "the new certificate", client, "")
	asks(t, "the old certificate", old, "unknown authority")
}

// fromNode is a kubeconfig with what the enforcer has in its pod: a token that names the pod's node.
func (r *release) fromNode(t *testing.T) (path string) {
	t.Helper()
	var pod *corev1.Pod
	for _, w := range workloads(t, render(t, r.values)) {
		if w.name == "bulkhead-enforcer" {
			pod = w.pod(baseline.ProjectNamespace)
			pod.Spec.NodeName = valueFromThePod
		}
	}
	if err := r.admin.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Spec.ServiceAccountName}}
	token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	if err := r.admin.SubResource("token").Create(t.Context(), account, token); err != nil {
		t.Fatal(err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: r.plane.Admin().Host, CertificateAuthorityData: r.plane.Admin().CAData}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "c"
	path = filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// saysEnforcing waits for the node's condition, which the chart's rights and admission policies let through.
func (r *release) saysEnforcing(t *testing.T) {
	t.Helper()
	poll(t, "the node's condition", func(ctx context.Context) error {
		node := &corev1.Node{}
		if err := r.admin.Get(ctx, types.NamespacedName{Name: valueFromThePod}, node); err != nil {
			return err
		}
		for _, c := range node.Status.Conditions {
			if c.Type == "BulkheadEnforcing" && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", node.Status.Conditions)
	})
}

// renewed removes one of the Secrets, after which an upgrade makes both anew: they must fit.
func (r *release) renewed(t *testing.T, before map[string][]byte) {
	t.Helper()
	client := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: baseline.ProjectNamespace, Name: "bulkhead-hubble-client"}}
	if err := r.admin.Delete(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	r.helm(t, "upgrade", "--values", r.values)
	after := r.certificates(t)
	for file, content := range after {
		if bytes.Equal(before[file], content) {
			t.Errorf("%s was not renewed", file)
		}
	}
	if len(after) != 6 || !bytes.Equal(after["bulkhead-hubble-server/ca.crt"], after["bulkhead-hubble-client/ca.crt"]) {
		t.Errorf("got %v, want three files in each Secret, of one authority", slices.Sorted(maps.Keys(after)))
	}
}

// certificates are the files of the Secrets that the chart made, as Secret/file.
func (r *release) certificates(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, secret := range r.secrets(t) {
		if secret.Type == corev1.SecretTypeTLS {
			for file, content := range secret.Data {
				files[secret.Name+"/"+file] = content
			}
		}
	}
	return files
}

// asks reads flows with the files of a directory. want is in the error; empty: it works.
func asks(t *testing.T, with, dir, want string, extra ...string) {
	t.Helper()
	args := []string{
		"edges", "--hubble=" + observers + ":4244",
		"--hubble-ca=" + filepath.Join(dir, "ca.crt"), "--hubble-cert=" + filepath.Join(dir, "tls.crt"), "--hubble-key=" + filepath.Join(dir, "tls.key"),
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(binaries, "bulkhead"), append(args, extra...)...).CombinedOutput()
	if (err == nil) != (want == "") || !strings.Contains(string(out), want) {
		t.Errorf("with %s: %v, %s; want it to say %q", with, err, out, want)
	}
}

// resolve gives a name its addresses on this node, which has a mount namespace of its own.
func resolve(t *testing.T, name string, addrs ...string) {
	t.Helper()
	hosts := filepath.Join(t.TempDir(), "hosts")
	text := "127.0.0.1 localhost\n"
	for _, a := range addrs {
		text += a + " " + name + "\n"
	}
	if err := errors.Join(os.WriteFile(hosts, []byte(text), 0o600), unix.Mount(hosts, "/etc/hosts", "", unix.MS_BIND, "")); err != nil {
		t.Fatal(err)
	}
	unmount(t, "/etc/hosts")
}

func bpfFileSystem(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("bpffs", dir, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	unmount(t, dir)
	return dir
}

func unmount(t *testing.T, path string) {
	t.Cleanup(func() {
		if err := unix.Unmount(path, 0); err != nil {
			t.Error(err)
		}
	})
}
