// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/gate"
)

// newProfileJudge has namespaces a to g of profile web, of which only a has the label team, and one of payments
// that is going away.
func newProfileJudge(t testing.TB, rules ...gate.Source) *ProfileJudge {
	t.Helper()
	engine, err := gate.New(t.Context(), gate.Config{Rules: append([]gate.Source{gate.Embedded()}, rules...)})
	if err != nil {
		t.Fatal(err)
	}
	going := ofProfile("going", "payments")
	going.Finalizers, going.DeletionTimestamp = []string{"x"}, ptr.To(metav1.Now())
	objects := []client.Object{going}
	for _, name := range strings.Split("abcdefg", "") {
		objects = append(objects, ofProfile(name, "web"))
	}
	objects[1].GetLabels()["team"] = "x"
	return &ProfileJudge{
		Gate: engine, Users: &Users{Reviews: nobodyMay{}, Trusted: []string{"system"}},
		Cached: fake.NewClientBuilder().WithObjects(objects...).Build(), Log: slog.New(slog.DiscardHandler),
	}
}

func ofProfile(namespace, profile string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{baseline.LabelProfile: profile}}}
}

// profileRequest is about profile name; an empty spec stands for no object.
func profileRequest(operation admissionv1.Operation, name, old, spec string) admission.Request {
	object := func(spec string) runtime.RawExtension {
		if spec == "" {
			return runtime.RawExtension{}
		}
		return runtime.RawExtension{Raw: fmt.Appendf(nil, `{"metadata":{"name":%q},"spec":%s}`, name, spec)}
	}
	request := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: "1", Kind: metav1.GroupVersionKind{Group: "bulkhead.dev", Version: "v1alpha1", Kind: "Profile"},
		Operation: operation, Name: name, Object: object(spec), OldObject: object(old),
	}}
	request.UserInfo.Username = "dev"
	return request
}

func withPolicy(spec string) string {
	return `{"startingMode":"audit","policies":[{"name":"free","spec":{}},{"name":"own","spec":` + spec + `}]}`
}

const (
	audit   = `{"startingMode":"audit"}`
	open    = `{"ingress":[{}]}`
	ofTeam  = `{"podSelector":{"matchLabels":{"team":"$(labels['team'])"}},"ingress":[{"from":[{"podSelector":{}}]}]}`
	created = admissionv1.Create
	updated = admissionv1.Update
	deleted = admissionv1.Delete
)

func TestProfiles(t *testing.T) {
	judge := newProfileJudge(t)
	for name, test := range map[string]struct {
		request admission.Request
		want    string // in the refusal; empty: allowed
	}{
		"created":                  {profileRequest(created, "new", "", audit), ""},
		"with a template":          {profileRequest(created, "new", "", withPolicy(ofTeam)), ""},
		"no mode":                  {profileRequest(created, "new", "", `{}`), "spec.startingMode: "},
		"wrong expression":         {profileRequest(created, "new", "", withPolicy(`{"podSelector":{"matchLabels":{"a":"$(x)"}}}`)), "spec.policies[1].spec.podSelector.matchLabels[a]: "},
		"invalid policy":           {profileRequest(created, "new", "", withPolicy(`{"ingress":[{"ports":[{"port":0}]}]}`)), "spec.policies[1].spec.ingress[0].ports[0].port: "},
		"allows everyone":          {profileRequest(created, "new", "", withPolicy(open)), "networkpolicy/allow_all: spec.policies[1].spec.ingress[0]: "},
		"every address":            {profileRequest(created, "new", "", withPolicy(`{"egress":[{"to":[{"ipBlock":{"cidr":"0.0.0.0/0"}}]}]}`)), "networkpolicy/every_address: spec.policies[1].spec.egress[0]: "},
		"allows everyone later":    {profileRequest(updated, "new", audit, withPolicy(open)), "spec.policies[1].spec.ingress[0]"},
		"metadata only":            {profileRequest(updated, "standard", withPolicy(open), withPolicy(open)), ""},
		"a shipped name":           {profileRequest(created, "strict", "", audit), "profile strict is Bulkhead's own"},
		"a shipped profile":        {profileRequest(updated, "standard", `{"startingMode":"enforce"}`, audit), "profile standard is Bulkhead's own"},
		"a shipped one is deleted": {profileRequest(deleted, "observe", audit, ""), "profile observe is Bulkhead's own"},
		"in use":                   {profileRequest(deleted, "web", audit, ""), "profile web is that of 7 namespaces, a, b, c, d, e and 2 more: give them another one first, as in kubectl label namespace a"},
		"not in use":               {profileRequest(deleted, "lax", audit, ""), ""},
		"in use by what goes away": {profileRequest(deleted, "payments", audit, ""), ""},
	} {
		response := judge.Handle(t.Context(), test.request)
		if response.Allowed != (test.want == "") || !strings.Contains(response.Result.Message, test.want) {
			t.Errorf("%s: allowed %t, %v, want %q", name, response.Allowed, response.Result, test.want)
		}
	}
}

func TestShippedProfilesAreWrittenByThoseWhoAreTrusted(t *testing.T) {
	request := profileRequest(updated, "standard", `{"startingMode":"enforce"}`, audit)
	request.UserInfo.Username = "system"
	if response := newProfileJudge(t).Handle(t.Context(), request); !response.Allowed {
		t.Error(response.Result)
	}
}

func TestNamespaceWithoutALabelIsAWarning(t *testing.T) {
	response := newProfileJudge(t).Handle(t.Context(), profileRequest(updated, "web", audit, withPolicy(ofTeam)))
	if !response.Allowed || len(response.Warnings) != 6 {
		t.Fatalf("%+v", response)
	}
	for _, want := range []string{"namespace b gets no policies of this profile", "template own", "lacks label team"} {
		if !strings.Contains(response.Warnings[0], want) {
			t.Errorf("%q lacks %q", response.Warnings[0], want)
		}
	}
}

// A rule may look at the namespace, so those that have the profile are judged as well.
func TestPoliciesAreJudgedWhereTheyWouldBe(t *testing.T) {
	site, err := gate.ConfigMap("site/rules", map[string]string{
		"site.not_here.rego": `package bulkhead.rules.site.not_here

violation contains {"message": "no policies here", "path": "spec.podSelector"} if {
	input.user.username == "dev"
	input.namespace.metadata.name == "c"
}
`,
		"site.not_here_test.rego": "package bulkhead.rules.site.not_here_test\n\ntest_nothing if true\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	judge := newProfileJudge(t, site)
	selfish := `{"ingress":[{"from":[{"podSelector":{}}]}]}`
	response := judge.Handle(t.Context(), profileRequest(updated, "web", audit, withPolicy(selfish)))
	if want := "site/not_here: spec.policies[0].spec.podSelector: in namespace c: no policies here"; response.Allowed || !strings.Contains(response.Result.Message, want) {
		t.Errorf("%+v, want %q", response.Result, want)
	}
	if response := judge.Handle(t.Context(), profileRequest(updated, "lax", audit, withPolicy(selfish))); !response.Allowed {
		t.Errorf("a profile of no namespace: %v", response.Result)
	}
}

// However many namespaces and templates there are, an answer comes in time.
func TestProfileJudgingIsBounded(t *testing.T) {
	judge := newProfileJudge(t)
	var many []client.Object
	for i := range maxTried + 1 {
		many = append(many, ofProfile(fmt.Sprintf("n%d", i), "wide"))
	}
	judge.Cached = fake.NewClientBuilder().WithObjects(many...).Build()
	spec := `{"startingMode":"audit","policies":[{"name":"own","spec":{"ingress":[{"from":[{"podSelector":{}}]}]}}]}`
	response := judge.Handle(t.Context(), profileRequest(updated, "wide", audit, spec))
	if !response.Allowed || len(response.Warnings) != 1 || !strings.Contains(response.Warnings[0], fmt.Sprintf("of the profile's %d namespaces", maxTried+1)) {
		t.Errorf("%+v", response)
	}
}

var documented = regexp.MustCompile("(?s)```yaml\n(apiVersion: bulkhead.dev/v1alpha1\nkind: Profile\n.*?)```")

// The profiles on the documentation's page are accepted.
func TestDocumentedProfiles(t *testing.T) {
	page, err := os.ReadFile("../../../docs/profiles.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := documented.FindAllSubmatch(page, -1)
	if len(examples) < 2 {
		t.Fatalf("the page has %d profiles, want at least 2", len(examples))
	}
	judge := newProfileJudge(t)
	for _, example := range examples {
		object, err := yaml.YAMLToJSONStrict(example[1])
		if err != nil {
			t.Fatal(err)
		}
		request := profileRequest(created, "documented", "", audit)
		request.Object.Raw = object
		if response := judge.Handle(t.Context(), request); !response.Allowed || len(response.Warnings) > 0 {
			t.Errorf("%s\n%v %q", example[1], response.Result, response.Warnings)
		}
	}
}

// profileReview is a whole review, as the API server sends it.
func profileReview(request admission.Request) []byte {
	text, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: &request.AdmissionRequest,
	})
	if err != nil {
		panic(err) // all of it is ours
	}
	return text
}
