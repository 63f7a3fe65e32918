// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

// maxLabels bounds the labels of one pod, in bytes. Real ones have some hundred.
const maxLabels = 4096

// clusterLabel is how Cilium names a pod's cluster among its labels.
const clusterLabel = "io.cilium.k8s.policy.cluster"

// foreign are the beginnings of keys that observers put among a pod's labels and that the pod does not have: of its
// namespace, its account, its cluster.
var foreign = []string{"io.cilium.", "io.kubernetes.", "projectcalico.org/"}

// podLabels are the labels that a pod itself has, of those that an observer knows: "k8s:key=value", or "key=value" as Calico
// writes them. cluster is the one that it is of; empty: not known. It is an error if no pod can have these labels: then
// somebody made them up, and nothing of them is believed.
func podLabels(all []string) (own map[string]string, cluster string, err error) {
	own = map[string]string{}
	size := 0
	for _, label := range all {
		source, name, found := strings.Cut(label, ":")
		if !found {
			name = label
		} else if source != "k8s" { // such as reserved
			continue
		}
		key, value, _ := strings.Cut(name, "=") // an empty value is left out with its sign
		if problems := validation.IsValidLabelValue(value); len(problems) > 0 {
			return nil, "", fmt.Errorf("label with a value that cannot be: %s", problems[0])
		}
		if key == clusterLabel {
			cluster = value
		}
		if isForeign(key) {
			continue
		}
		if problems := validation.IsQualifiedName(key); len(problems) > 0 {
			return nil, "", fmt.Errorf("label with a key that cannot be: %s", problems[0])
		}
		if before, twice := own[key]; twice && before != value {
			return nil, "", fmt.Errorf("label %s with two values", key)
		}
		own[key] = value
		if size += len(key) + len(value); size > maxLabels {
			return nil, "", fmt.Errorf("labels of more than %d bytes", maxLabels)
		}
	}
	return own, cluster, nil
}

func isForeign(key string) bool {
	for _, begin := range foreign {
		if strings.HasPrefix(key, begin) {
			return true
		}
	}
	return false
}

// hint is what controllers write into labels that end with a revision or run. Empty: it is not there.
type hint struct{ hash, job, ordinal, revision string }

func hintOf(all map[string]string) hint {
	h := hint{hash: all[templateHash], job: all["batch.kubernetes.io/job-name"], ordinal: all["statefulset.kubernetes.io/pod-name"], revision: all["controller-revision-hash"]}
	if h.job == "" {
		h.job = all["job-name"]
	}
	return h
}

// unnamed is the kind of a workload of which a pod's name tells the name alone: a DaemonSet, a StatefulSet, a Job or a ReplicaSet.
const unnamed = "Workload"

// derive is the workload that made a pod, by the labels and the name that controllers give to their pods. A pod whose name
// says nothing is its own.
func derive(namespace, pod string, h hint) edge.Endpoint {
	of := func(kind, name string) edge.Endpoint {
		return edge.Endpoint{Kind: kind, Namespace: namespace, Name: name}
	}
	base, last := cutLast(pod)
	name, hash := cutLast(base)
	switch {
	case h.job != "" && h.job == base:
		return above(of("Job", base))
	case h.ordinal == pod && isNumber(last):
		return of("StatefulSet", base)
	case h.hash != "" && h.hash == hash:
		return of("Deployment", name)
	case h.revision != "" && strings.HasPrefix(h.revision, base+"-"):
		return of("StatefulSet", base)
	case h.revision != "" && isRandom(last):
		return of("DaemonSet", base)
	case name != "" && isRandom(last) && isHash(hash):
		return of("Deployment", name)
	case name != "" && isRandom(last) && isMinute(hash):
		return of("CronJob", name)
	case base != "" && (isRandom(last) || isNumber(last)):
		return of(unnamed, base)
	}
	return of("Pod", pod)
}

// above is what made a ReplicaSet or Job, as far as its name tells: the Deployment or CronJob; any other workload is its own.
func above(w edge.Endpoint) edge.Endpoint {
	if w.Kind != "ReplicaSet" && w.Kind != "Job" {
		return w
	}
	switch name, last := cutLast(w.Name); {
	case name == "":
	case w.Kind == "ReplicaSet" && isHash(last):
		w.Kind, w.Name = "Deployment", name
	case w.Kind == "Job" && isMinute(last):
		w.Kind, w.Name = "CronJob", name
	}
	return w
}

// cutLast cuts a name before its last part; base is empty where there is only one.
func cutLast(name string) (base, last string) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return "", name
	}
	return name[:i], name[i+1:]
}

// isHash reports whether a part of a name is a hash as Deployments make them: a number, its digits written as these letters.
func isHash(s string) bool { return len(s) >= 6 && len(s) <= 10 && strings.Trim(s, "456789bcdf") == "" }

// isRandom reports whether a part of a name is one of those that the API server makes up, or Calico's word for all of them.
func isRandom(s string) bool {
	return s == "*" || len(s) == 5 && strings.Trim(s, "bcdfghjklmnpqrstvwxz2456789") == ""
}

// isMinute reports whether a part of a name is a time as CronJobs write it: minutes since 1970, from 2023 on. A date is
// less.
func isMinute(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && len(s) == 8 && n >= 28_000_000 && n < 40_000_000
}

// isNumber reports whether a part of a name is that of a replica of a StatefulSet.
func isNumber(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && len(s) <= 4 && strconv.Itoa(n) == s
}

func sizeOf(list []string) (bytes int) {
	for _, s := range list {
		bytes += len(s)
	}
	return bytes
}
