// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

const (
	pollEvery   = 20 * time.Millisecond
	readyWithin = 60 * time.Second
)

// start runs the webhook and returns when it says that it is ready.
func (l *lab) start(ctx context.Context) (err error) {
	l.process, err = cluster.StartProcess(l.config.webhook, filepath.Join(l.dir, "webhook.log"), l.args)
	if err != nil {
		return err
	}
	return l.poll(ctx, "bulkhead-webhook is ready", func(ctx context.Context) (bool, error) {
		select {
		case <-l.process.Done():
			return false, l.process.EndedByItself()
		default:
			return l.ready(ctx), nil
		}
	})
}

func (l *lab) ready(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.health+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// kill ends the webhook without a chance to unregister. A webhook that is asked to end takes its
// admission objects along when it registered itself, and then nothing is refused any more; in a cluster
// they are Helm's and stay, as they do here.
func (l *lab) kill() error {
	if l.process == nil {
		return nil
	}
	err := l.process.Stop(0)
	l.process = nil
	return err
}

// untilGateIsShut waits until every API server refuses a pod where one of the policies is missing. They
// learn of admission policies a second or two after those were made. The webhook is halted meanwhile,
// or it would put the policy back.
func (l *lab) untilGateIsShut(ctx context.Context) error {
	if _, err := l.createNamespace(ctx, l.apis[0], "gate"); err != nil {
		return err
	}
	for _, policy := range []string{baseline.DefaultDenyName, baseline.AllowDNSName} {
		admitted := func(want bool) error {
			return l.poll(ctx, fmt.Sprintf("a pod is admitted: %t (%s)", want, policy), func(ctx context.Context) (bool, error) {
				return l.allAdmit(ctx, "gate", want), nil
			})
		}
		if err := admitted(true); err != nil {
			return err
		}
		if err := l.process.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		err := l.webhook.NetworkingV1().NetworkPolicies("gate").Delete(ctx, policy, metav1.DeleteOptions{})
		if err == nil {
			err = admitted(false)
		}
		if err := errors.Join(err, l.process.Signal(syscall.SIGCONT)); err != nil {
			return err
		}
	}
	return nil
}

// allAdmit reports whether every API server gives a pod the same answer.
func (l *lab) allAdmit(ctx context.Context, namespace string, want bool) bool {
	for _, api := range l.apis {
		_, err := api.CoreV1().Pods(namespace).Create(ctx, pod(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if want && err != nil || !want && !refusal(err) {
			return false
		}
	}
	return true
}

func (l *lab) poll(ctx context.Context, what string, done wait.ConditionWithContextFunc) error {
	if err := wait.PollUntilContextTimeout(ctx, pollEvery, readyWithin, true, done); err != nil {
		return fmt.Errorf("wait until %s: %w", what, err)
	}
	return nil
}
