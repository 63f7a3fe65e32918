// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func TestControlPlane(t *testing.T) {
	c, err := Start(t.Context(), Options{Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Stop() }() // its result is checked below, unless a subtest ended us
	admin := kubernetes.NewForConfigOrDie(c.Admin())
	namespace(t, admin, "shop")

	t.Run("a stranger is forbidden", func(t *testing.T) {
		stranger := client(t, c, "stranger")
		_, err := stranger.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
		if !apierrors.IsForbidden(err) {
			t.Errorf("list namespaces: got %v, want 403", err)
		}
	})
	t.Run("a service account has its role and no more", func(t *testing.T) { serviceAccount(t, c, admin) })
	t.Run("an admission policy reads its parameter", func(t *testing.T) { admissionPolicy(t, admin) })
	t.Run("a webhook is called by URL", func(t *testing.T) { webhookByURL(t, admin) })

	pids := pidsOf(c)
	for _, pid := range pids {
		if group, err := syscall.Getpgid(pid); err != nil || group != pid {
			t.Errorf("process %d is in group %d (%v), want one of its own, which Ctrl-C does not reach", pid, group, err)
		}
	}
	if err := c.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := c.Stop(); err != nil {
		t.Errorf("second stop: %v", err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d after stop: got %v, want none", pid, err)
		}
	}
	if _, err := os.Stat(c.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("temporary directory %s after stop: got %v, want none", c.dir, err)
	}
}

func serviceAccount(t *testing.T, c *ControlPlane, admin kubernetes.Interface) {
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "reader", Namespace: "shop"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}}},
	}
	if _, err := admin.RbacV1().Roles("shop").Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// The group is what a token of any account in the namespace carries.
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reader", Namespace: "shop"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:serviceaccounts:shop"}},
	}
	if _, err := admin.RbacV1().RoleBindings("shop").Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	account := client(t, c, "system:serviceaccount:shop:api")
	wait(t, "the role to take effect", func() bool { return may(t, account, "list") })
	if may(t, account, "delete") {
		t.Error("the account may delete ConfigMaps; its role says list")
	}
}

func may(t *testing.T, c kubernetes.Interface, verb string) bool {
	t.Helper()
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: "shop", Resource: "configmaps", Verb: verb},
	}}
	review, err := c.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

func TestTwoAPIServersOnOneEtcd(t *testing.T) {
	c, err := Start(t.Context(), Options{Log: t.Output(), APIServers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	configs := c.Admins()
	if len(configs) != 2 || configs[0].Host == configs[1].Host || configs[0].Host != c.Admin().Host {
		t.Fatalf("clients for %v, want for Admin's and another", c.urls)
	}
	namespace(t, kubernetes.NewForConfigOrDie(configs[0]), "shop")
	second := kubernetes.NewForConfigOrDie(configs[1])
	if _, err := second.CoreV1().Namespaces().Get(t.Context(), "shop", metav1.GetOptions{}); err != nil {
		t.Errorf("what was made through the first API server, read through the second: %v", err)
	}
}

func TestStartShowsWhyAServerFailed(t *testing.T) {
	dir := t.TempDir()
	_, err := Start(t.Context(), Options{Dir: dir, Log: t.Output(), APIServerArgs: []string{"--no-such-flag"}})
	if err == nil || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
		t.Errorf("got %v, want the API server's own words about the flag", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "kube-apiserver.log")); err != nil {
		t.Errorf("the log is kept in the caller's directory: %v", err)
	}
	_, err = Start(t.Context(), Options{Dir: dir, Log: t.Output()})
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("start in a used directory: got %v, want %v", err, fs.ErrExist)
	}
}

func TestStopReportsAServerThatDied(t *testing.T) {
	c, err := Start(t.Context(), Options{Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	etcd := c.servers[1]
	if err := etcd.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-etcd.done
	if err := c.Stop(); err == nil || !strings.Contains(err.Error(), "etcd ended by itself: signal: killed") {
		t.Errorf("got %v, want that etcd ended by itself", err)
	}
}

func namespace(t *testing.T, c kubernetes.Interface, name string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := c.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func client(t *testing.T, c *ControlPlane, user string) kubernetes.Interface {
	t.Helper()
	path, err := c.Kubeconfig(user)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	return kubernetes.NewForConfigOrDie(config)
}

func pidsOf(c *ControlPlane) []int {
	var pids []int
	for _, p := range c.servers {
		pids = append(pids, p.cmd.Process.Pid)
	}
	return pids
}

// wait polls until done says true, which must happen within 30 s.
func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited 30 s for %s", what)
		case <-poll.C:
		}
	}
}
