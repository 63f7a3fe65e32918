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

// replica is a bulkhead-webhook that is started and killed, always at the same addresses.
type replica struct {
	command                 []string
	listen, health, metrics string
	log                     string
	process                 *cluster.Process // nil: not running
}

// replica prepares one that the API server calls at url; empty: at the replica's own address. The wrapper is
// a command that runs the command after it. Empty: none.
func (l *lab) replica(url string, wrapper ...string) (*replica, error) {
	addresses, err := cluster.FreeAddresses(3)
	if err != nil {
		return nil, err
	}
	r := &replica{
		listen: addresses[0], health: addresses[1], metrics: addresses[2],
		log: filepath.Join(l.dir, fmt.Sprintf("webhook-%d.log", len(l.replicas))),
	}
	if url == "" {
		url = "https://" + r.listen
	}
	r.command = append(wrapper, l.setup.webhook,
		"--kubeconfig="+l.kubeconfig, "--webhook-url="+url, "--listen="+r.listen,
		"--health-addr="+r.health, "--metrics-addr="+r.metrics)
	l.replicas = append(l.replicas, r)
	return r, nil
}

// start runs the replica and returns when it says that it is ready.
func (r *replica) start(ctx context.Context) error {
	if err := r.launch(); err != nil {
		return err
	}
	return poll(ctx, "bulkhead-webhook is ready", func(ctx context.Context) (bool, error) {
		select {
		case <-r.process.Done():
			return false, r.process.EndedByItself()
		default:
			return r.ready(ctx), nil
		}
	})
}

// launch runs the replica and does not wait.
func (r *replica) launch() (err error) {
	r.process, err = cluster.StartProcess(r.command[0], r.log, r.command[1:])
	return err
}

func (r *replica) ready(ctx context.Context) bool {
	return cluster.Answers(ctx, http.DefaultClient, "http://"+r.health+"/readyz")
}

// kill ends the replica without a chance to unregister. A webhook that is asked to end takes its
// admission objects along when it registered itself, and then nothing is refused any more; in a cluster
// they are Helm's and stay, as they do here.
func (r *replica) kill() error {
	if r.process == nil {
		return nil
	}
	err := r.process.Stop(0)
	r.process = nil
	return err
}

// tail is the end of the log, also of a replica that was killed.
func (r *replica) tail() []byte {
	if r.process == nil {
		return nil
	}
	return r.process.LogTail()
}

// untilGateIsShut waits until every API server refuses a pod where one of the policies is missing. They
// learn of admission policies a second or two after those were made. The webhook is halted meanwhile,
// or it would put the policy back.
func (l *lab) untilGateIsShut(ctx context.Context, webhook *replica) error {
	if _, err := l.createNamespace(ctx, l.apis[0], "gate"); err != nil {
		return err
	}
	for _, policy := range []string{baseline.DefaultDenyName, baseline.AllowDNSName} {
		admitted := func(want bool) error {
			return poll(ctx, fmt.Sprintf("a pod is admitted: %t (%s)", want, policy), func(ctx context.Context) (bool, error) {
				return l.allAdmit(ctx, "gate", want), nil
			})
		}
		if err := admitted(true); err != nil {
			return err
		}
		// Where the gate is open still, a pod is admitted before there is a policy to take away.
		err := poll(ctx, "there is a NetworkPolicy "+policy, func(ctx context.Context) (bool, error) {
			_, err := l.apis[0].NetworkingV1().NetworkPolicies("gate").Get(ctx, policy, metav1.GetOptions{})
			return err == nil, nil
		})
		if err != nil {
			return err
		}
		if err := webhook.process.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		err = l.asWebhook.NetworkingV1().NetworkPolicies("gate").Delete(ctx, policy, metav1.DeleteOptions{})
		if err == nil {
			err = admitted(false)
		}
		if err := errors.Join(err, webhook.process.Signal(syscall.SIGCONT)); err != nil {
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

func poll(ctx context.Context, what string, done wait.ConditionWithContextFunc) error {
	if err := wait.PollUntilContextTimeout(ctx, pollEvery, readyWithin, true, done); err != nil {
		return fmt.Errorf("wait until %s: %w", what, err)
	}
	return nil
}
