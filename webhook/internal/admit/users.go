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
)

// Weakening a mode is verb weaken on namespacemodes.bulkhead.dev, named after the namespace. No
// such objects exist; the name is there for RBAC.
const (
	weakenGroup    = "bulkhead.dev"
	weakenResource = "namespacemodes"
	weakenVerb     = "weaken"
)

// Users says of a user what rules may ask.
type Users struct {
	Reviews authorizationclient.SubjectAccessReviewInterface
	Trusted []string // user names of Bulkhead's own controllers
}

// Describe asks the API server's RBAC whether the user may weaken the namespace's mode. It asks each
// time, so that a permission that was taken away is gone at once.
func (u *Users) Describe(ctx context.Context, user authenticationv1.UserInfo, namespace string) (gate.User, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, Groups: user.Groups, UID: user.UID, Extra: extra(user.Extra),
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Group: weakenGroup, Resource: weakenResource, Verb: weakenVerb, Name: namespace,
		},
	}}
	answer, err := u.Reviews.Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return gate.User{}, fmt.Errorf("ask whether user %s may %s %s.%s: %w", user.Username, weakenVerb, weakenResource, weakenGroup, err)
	}
	return gate.User{
		Username:  user.Username,
		Groups:    user.Groups,
		MayWeaken: answer.Status.Allowed,
		Trusted:   slices.Contains(u.Trusted, user.Username),
	}, nil
}

func extra(values map[string]authenticationv1.ExtraValue) map[string]authorizationv1.ExtraValue {
	converted := make(map[string]authorizationv1.ExtraValue, len(values))
	for key, value := range values {
		converted[key] = authorizationv1.ExtraValue(value)
	}
	return converted
}
