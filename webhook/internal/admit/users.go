// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"context"
	"fmt"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"github.com/bulkhead-dev/bulkhead/policies/gate"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

// permission is a verb that RBAC grants on objects of Bulkhead's group. The admission policy
// bulkhead-namespace-mode asks for the same.
type permission struct{ verb, resource string }

var (
	// mayWeaken is named after the namespace. No such objects exist; the name is there for RBAC.
	mayWeaken = permission{"weaken", "namespacemodes"}
	// mayLeave is named after the profile that a namespace would have otherwise.
	mayLeave = permission{"leave", "profiles"}
)

// Users says of a user what rules may ask.
type Users struct {
	Reviews authorizationclient.SubjectAccessReviewInterface
	Trusted []string // user names of Bulkhead's own controllers
}

// Describe returns what is known of a user without asking anybody.
func (u *Users) Describe(user authenticationv1.UserInfo) gate.User {
	return gate.User{Username: user.Username, Groups: user.Groups, Trusted: slices.Contains(u.Trusted, user.Username)}
}

// may asks the API server's RBAC. It asks each time, so that a permission that was taken away is gone at once.
func (u *Users) may(ctx context.Context, user authenticationv1.UserInfo, what permission, name string) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, Groups: user.Groups, UID: user.UID, Extra: extra(user.Extra),
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Group: profile.GroupVersion.Group, Resource: what.resource, Verb: what.verb, Name: name,
		},
	}}
	answer, err := u.Reviews.Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("ask whether user %s may %s %s.%s %s: %w", user.Username, what.verb, what.resource, profile.GroupVersion.Group, name, err)
	}
	return answer.Status.Allowed, nil
}

func extra(values map[string]authenticationv1.ExtraValue) map[string]authorizationv1.ExtraValue {
	converted := make(map[string]authorizationv1.ExtraValue, len(values))
	for key, value := range values {
		converted[key] = authorizationv1.ExtraValue(value)
	}
	return converted
}
