// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"fmt"
	"log/slog"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/bulkhead-dev/bulkhead/policies/gate"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/ready"
)

// maxFindings bounds how many violations one refusal, and how many warnings one answer, spells out.
const maxFindings = 10

// findings are what is to be said of an object.
type findings struct {
	refusals, warnings []string          // any refusal refuses the object
	audit              map[string]string // by rule; nil: nothing
}

func (f *findings) add(results ...gate.Result) {
	for _, result := range results {
		switch result.Action {
		case gate.Deny:
			f.refusals = append(f.refusals, result.String())
		case gate.Warn:
			f.warnings = append(f.warnings, result.String())
		default:
			if f.audit == nil {
				f.audit = map[string]string{}
			}
			f.audit[strings.ReplaceAll(result.Rule, "/", ".")] = result.String()
		}
	}
}

func (f *findings) refuse(format string, args ...any) {
	f.refusals = append(f.refusals, fmt.Sprintf(format, args...))
}

func (f *findings) warn(format string, args ...any) {
	f.warnings = append(f.warnings, fmt.Sprintf(format, args...))
}

// response logs a refusal, unless it is one that the replica asked itself for.
func (f *findings) response(log *slog.Logger, request admission.Request) admission.Response {
	response := admission.Allowed("")
	if len(f.refusals) > 0 {
		response = admission.Denied(strings.Join(bounded(f.refusals), "\n"))
	}
	if len(f.refusals) > 0 && request.Name != ready.CanaryNamespace {
		log.Info("refused", "user", request.UserInfo.Username, "operation", request.Operation, "kind", request.Kind.Kind,
			"namespace", request.Namespace, "name", request.Name, "violations", f.refusals)
	}
	response.AuditAnnotations = f.audit
	return response.WithWarnings(bounded(f.warnings)...)
}

func bounded(findings []string) []string {
	if more := len(findings) - maxFindings; more > 0 {
		return append(findings[:maxFindings:maxFindings], fmt.Sprintf("and %d more", more))
	}
	return findings
}
