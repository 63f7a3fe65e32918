// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

func TestRestartsAreNotNoticed(t *testing.T) {
	dir := t.TempDir()
	if err := cluster.Build(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	c := config{
		webhook: filepath.Join(dir, "bulkhead-webhook"), chart: "../../charts/bulkhead",
		replicas: 3, restarts: 20, kills: 2, parallel: 4, rate: 100,
		drain: 300 * time.Millisecond, probe: 50 * time.Millisecond, delay: 100 * time.Millisecond, output: "json",
	}
	var out bytes.Buffer
	if err := run(t.Context(), c, &out, t.Output()); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	var got report
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Phases) != 2 || got.Phases[0].Restarts != c.restarts || got.Phases[1].Restarts != c.kills || got.Phases[0].Requests < 100 {
		t.Errorf("not all was measured: %+v", got)
	}
	t.Logf("%s", &out)
}

func TestJudge(t *testing.T) {
	forbidden := func(message string) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, "books", errors.New(message))
	}
	skipped := apierrors.NewInternalError(errors.New(`failed calling webhook "namespaces.bulkhead.dev": EOF`))
	const rule = "namespace/owner_required"
	for _, test := range []struct {
		rule, wrong string
		err         error
		want        int
	}{
		{"", "", nil, rightly},
		{"", "it was not given its mode", nil, noAnswer},
		{"", "", forbidden(rule + ": no owner"), refused},
		{"", "", skipped, noAnswer},
		{"", "", forbidden("the Bulkhead webhook did not answer"), noAnswer},
		{rule, "", nil, admitted},
		{rule, "", forbidden(rule + ": no owner"), rightly},
		{rule, "", forbidden("namespace/reserved_name: kube-x"), refused},
		{rule, "", skipped, noAnswer},
	} {
		r := &request{rule: test.rule}
		if kind, _ := r.judge(test.wrong, test.err); kind != test.want {
			t.Errorf("rule %q, %q, %v: %d, want %d", test.rule, test.wrong, test.err, kind, test.want)
		}
	}
}

func TestWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		phase phase
		want  bool
	}{
		{phase{Signal: sigterm}, false},
		{phase{Signal: sigterm, Admitted: 1}, true},
		{phase{Signal: sigterm, Refused: 1}, true},
		{phase{Signal: sigterm, NoAnswer: 1}, true},
		{phase{Signal: sigkill, NoAnswer: 1, Refused: 1}, false},
		{phase{Signal: sigkill, Admitted: 1}, true},
	} {
		r := report{Phases: []phase{test.phase}}
		if got := r.wrong(); got != test.want {
			t.Errorf("%+v: %t, want %t", test.phase, got, test.want)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--replicas 1", "--replicas"},
		{"--restarts -1", "--restarts"},
		{"--kills -1", "--kills"},
		{"--parallel 0", "--parallel"},
		{"--rate 0", "--rate"},
		{"--probe 0s", "--probe"},
		{"--drain -1s", "--drain"},
		{"-o yaml", "--output"},
	} {
		cmd := command()
		cmd.SetArgs(strings.Fields(c.args))
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error about %s", c.args, err, c.want)
		}
	}
}
