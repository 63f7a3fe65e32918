// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// The cluster: 5,000 pods of 1,000 workloads in 50 namespaces on 100 nodes, and 100,000 connections.
const (
	namespaces = 50
	workloads  = 20 // of a namespace
	replicas   = 5  // of a workload
	nodes      = 100
	opens      = 100 // connections of a workload
	outside    = 5   // of them to addresses that are no pod's
)

// pod is one of the cluster, with its number.
type pod int

func (p pod) workload() int     { return int(p) / replicas }
func (p pod) namespace() string { return fmt.Sprintf("ns-%02d", p.workload()/workloads) }
func (p pod) app() string       { return fmt.Sprintf("service-%02d", p.workload()%workloads) }
func (p pod) replicaSet() string {
	return fmt.Sprintf("%s-%010x", p.app(), 0x5d8c7b9d40+p.workload())
}
func (p pod) name() string { return fmt.Sprintf("%s-%05x", p.replicaSet(), 0xb1000+int(p)) }
func (p pod) addr() string {
	return fmt.Sprintf("10.%d.%d.%d", 100+int(p)>>14, int(p)>>7&127, int(p)&127+1)
}

// node of the pod. Those of a workload are on different ones.
func (p pod) node() int { return (p.workload()*7 + int(p)%replicas*13) % nodes }

func nodeName(n int) string { return fmt.Sprintf("node-%03d", n) }

// connection is what the policies have to allow. It is observed at one of its ends.
type connection struct {
	from, to int    // workloads
	addr     uint32 // instead of to, in 198.18.0.0/15; 0: it is to a workload
	port     uint16
	ingress  bool // it is observed where it arrives
}

// connections are all that are open, in an order that has nothing to do with the workloads.
func connections() []connection {
	r := rand.New(rand.NewPCG(1, 1))
	all, known := make([]connection, 0, namespaces*workloads*opens), map[connection]bool{}
	for from := range namespaces * workloads {
		for n := 0; n < opens; {
			c := connection{from: from, to: r.IntN(namespaces * workloads), port: uint16(8000 + r.IntN(3))}
			if n < outside {
				c = connection{from: from, addr: 1 + uint32(r.IntN(1<<16)), port: 443}
			}
			if !known[c] {
				known[c] = true
				c.ingress = c.addr == 0 && n%2 == 1
				all = append(all, c)
				n++
			}
		}
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// writeInventory writes the cluster's objects into a directory, as kubectl get -o yaml prints them.
func writeInventory(dir string) error {
	f, err := os.Create(filepath.Join(dir, "all.yaml"))
	if err != nil {
		return err
	}
	for n := range nodes {
		fmt.Fprintf(f, nodeObject, nodeName(n), n)
	}
	for p := range pod(namespaces * workloads * replicas) {
		if int(p)%(workloads*replicas) == 0 {
			fmt.Fprintf(f, namespaceObject, p.namespace())
		}
		if int(p)%replicas == 0 {
			writeWorkload(f, p)
		}
		fmt.Fprintf(f, podObject, p.name(), p.namespace(), p.app(), p.replicaSet(), nodeName(p.node()), p.addr())
	}
	return f.Close()
}

func writeWorkload(out io.Writer, p pod) {
	fmt.Fprintf(out, deploymentObject, p.app(), p.namespace(), replicas)
	fmt.Fprintf(out, replicaSetObject, p.replicaSet(), p.namespace(), p.app())
}

const (
	namespaceObject = `---
apiVersion: v1
kind: Namespace
metadata:
  name: %[1]s
  labels: {kubernetes.io/metadata.name: %[1]s}
`
	nodeObject = `---
apiVersion: v1
kind: Node
metadata: {name: %[1]s}
status:
  addresses:
  - {type: InternalIP, address: 172.18.0.%[2]d}
`
	deploymentObject = `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  replicas: %[3]d
  selector:
    matchLabels: {app.kubernetes.io/name: %[1]s, app.kubernetes.io/instance: %[2]s}
  template:
    metadata:
      labels: {app.kubernetes.io/name: %[1]s, app.kubernetes.io/instance: %[2]s}
    spec:
      containers:
      - name: server
        image: registry.example/%[1]s:1.4.2
        ports:
        - {name: http, containerPort: 8000}
`
	replicaSetObject = `---
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: %[1]s
  namespace: %[2]s
  ownerReferences:
  - {apiVersion: apps/v1, kind: Deployment, name: %[3]s, controller: true, uid: "%[1]s"}
spec:
  selector:
    matchLabels: {app.kubernetes.io/name: %[3]s, app.kubernetes.io/instance: %[2]s}
`
	podObject = `---
apiVersion: v1
kind: Pod
metadata:
  name: %[1]s
  namespace: %[2]s
  creationTimestamp: "2026-11-19T00:00:00Z"
  labels: {app.kubernetes.io/name: %[3]s, app.kubernetes.io/instance: %[2]s, pod-template-hash: 5d8c7b9d4}
  ownerReferences:
  - {apiVersion: apps/v1, kind: ReplicaSet, name: %[4]s, controller: true, uid: "%[4]s"}
spec:
  nodeName: %[5]s
  serviceAccountName: default
  containers:
  - name: server
    image: registry.example/%[3]s:1.4.2
    ports:
    - {name: http, containerPort: 8000}
    resources:
      requests: {cpu: 100m, memory: 128Mi}
    readinessProbe:
      httpGet: {path: /ready, port: 8000}
    volumeMounts:
    - {name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
status:
  phase: Running
  startTime: "2026-11-19T00:00:01Z"
  podIP: %[6]s
  podIPs:
  - ip: %[6]s
  conditions:
  - {type: Ready, status: "True", lastTransitionTime: "2026-11-19T00:00:05Z"}
  containerStatuses:
  - name: server
    image: registry.example/%[3]s:1.4.2
    ready: true
    state:
      running: {startedAt: "2026-11-19T00:00:04Z"}
`
)
