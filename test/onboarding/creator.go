// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

const (
	// retryAfter a refusal. A ReplicaSet is slower; what is faster has no use of it.
	retryAfter = 10 * time.Millisecond
	// giveUpAfter so many refusals while the webhook is stopped for good.
	giveUpAfter = 3
)

// outcome of one namespace.
type outcome struct {
	namespace  string
	nsRefusals int
	answered   time.Time // when the API server had created the namespace; zero: it never did
	refusals   int       // of the pod
	version    string    // resourceVersion of the pod; empty: never admitted
}

func (r *race) onboard(ctx context.Context, forNamespace, forPod kubernetes.Interface, name string) (o outcome, err error) {
	o.namespace = name
	o.nsRefusals, err = insist(ctx, &r.over, func() error {
		_, err := r.lab.createNamespace(ctx, forNamespace, name)
		return err
	})
	if err != nil {
		return o, ignoreGivenUp(err)
	}
	o.answered = time.Now()
	if r.created.Add(1) == int64(r.n+1)/2 {
		close(r.half)
	}
	o.refusals, err = insist(ctx, &r.over, func() error {
		admitted, err := forPod.CoreV1().Pods(name).Create(ctx, pod(), metav1.CreateOptions{})
		if err == nil {
			o.version = admitted.ResourceVersion
		}
		return err
	})
	return o, ignoreGivenUp(err)
}

var errGivenUp = errors.New("refused, and the webhook will not come back")

func ignoreGivenUp(err error) error {
	if errors.Is(err, errGivenUp) {
		return nil
	}
	return err
}

// insist calls until the API server does not refuse and returns how often it did. Once over is true, it
// gives up after some refusals. Nil: it never does.
func insist(ctx context.Context, over *atomic.Bool, call func() error) (refusals int, err error) {
	inVain := 0
	for {
		vain := over != nil && over.Load()
		err := call()
		if err == nil || !refusal(err) {
			return refusals, err
		}
		refusals++
		if vain {
			inVain++
		}
		if inVain == giveUpAfter {
			return refusals, errGivenUp
		}
		pause(ctx, retryAfter)
	}
}

// refusal: a rule or the gate says 403; the API server itself says 422 where a parameter of an admission
// policy does not exist, and 500 where a webhook that must answer does not.
func refusal(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsInternalError(err)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (l *lab) createNamespace(ctx context.Context, api kubernetes.Interface, name string) (*corev1.Namespace, error) {
	return api.CoreV1().Namespaces().Create(ctx, namespace(name), metav1.CreateOptions{})
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{baseline.LabelOwner: "team-shop"}}}
}

func pod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "first"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.com/app"}}},
	}
}
