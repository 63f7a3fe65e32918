// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
	"github.com/bulkhead-dev/bulkhead/test/firstpacket/record"
)

const senderImage = "registry.example.com/firstpacket-sender:1"

// kind is how a pod lives.
type kind string

const (
	plain   kind = "plain"   // one container
	initial kind = "init"    // an init container that sends, and then one container
	crash   kind = "crash"   // a container that ends with an error and is started again
	sandbox kind = "sandbox" // one container, whose sandbox is killed once so that the kubelet makes another
)

// starts is how many containers there are to be, counting each start.
func (k kind) starts() int {
	if k == plain {
		return 1
	}
	return 2
}

// group is so many pods of a kind in a namespace.
type group struct {
	namespace string
	kind      kind
	count     int
}

// wave is pods that are created at the same time.
type wave []group

func (w wave) pods() (n int) {
	for _, g := range w {
		n += g.count
	}
	return n
}

// short is for containers that end by themselves.
var short = fmt.Sprintf("--datagrams=%d", started)

// pod returns one that sends to all sinks.
func (l *lab) pod(m member) *corev1.Pod {
	grace, no := int64(5), false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: m.name, Namespace: m.namespace, Labels: map[string]string{"app": "sender"}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &grace,
			AutomountServiceAccountToken:  &no,
			EnableServiceLinks:            &no,
			Volumes: []corev1.Volume{{
				Name: "records", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: l.records()}},
			}},
		},
	}
	var extra []string
	switch m.kind {
	case initial:
		pod.Spec.InitContainers = []corev1.Container{l.container(m, "init", short)}
	case crash:
		extra = []string{short, "--exit=1"}
	}
	pod.Spec.Containers = []corev1.Container{l.container(m, "main", extra...)}
	return pod
}

func (l *lab) container(m member, name string, extra ...string) corev1.Container {
	args := append([]string{
		"--record=" + record.Prefix("/records", m.namespace, m.name, string(m.kind)+"-"+name),
		fmt.Sprintf("--port=%d", port),
	}, extra...)
	for _, s := range l.sinks {
		args = append(args, s.addr.String())
	}
	return corev1.Container{
		Name: name, Image: senderImage, ImagePullPolicy: corev1.PullIfNotPresent, Args: args,
		VolumeMounts: []corev1.VolumeMount{{Name: "records", MountPath: "/records"}},
	}
}

// member is a pod of a wave.
type member struct {
	group
	name string
}

func (m member) String() string { return m.namespace + "/" + m.name }

// create makes all pods of the wave.
func (l *lab) create(ctx context.Context, w wave) (members []member, err error) {
	l.waves++
	for _, g := range w {
		for i := range g.count {
			m := member{g, fmt.Sprintf("%s-%d-%d", g.kind, l.waves, i)}
			if _, err := l.client.CoreV1().Pods(g.namespace).Create(ctx, l.pod(m), metav1.CreateOptions{}); err != nil {
				return nil, fmt.Errorf("create pod %s: %w", m, err)
			}
			members = append(members, m)
		}
	}
	return members, nil
}

// clear deletes the pods of the wave and returns when they are gone.
func (l *lab) clear(ctx context.Context, w wave) error {
	for _, g := range w {
		err := l.client.CoreV1().Pods(g.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("delete the pods of namespace %s: %w", g.namespace, err)
		}
	}
	return cluster.Until(ctx, patience, "pods to be gone", func(ctx context.Context) error {
		for _, g := range w {
			left, err := l.client.CoreV1().Pods(g.namespace).List(ctx, metav1.ListOptions{})
			if err != nil || len(left.Items) > 0 {
				return fmt.Errorf("%d pods are left in namespace %s: %w", len(left.Items), g.namespace, err)
			}
		}
		return nil
	})
}

// state is what the API server says of a pod.
func (l *lab) state(ctx context.Context, m member) string {
	pod, err := l.client.CoreV1().Pods(m.namespace).Get(ctx, m.name, metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	text := string(pod.Status.Phase)
	for _, c := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		text += fmt.Sprintf("; %s: %d restarts, %s", c.Name, c.RestartCount, c.State.String())
	}
	return text
}

func (l *lab) records() string { return filepath.Join(l.dir, "records") }
