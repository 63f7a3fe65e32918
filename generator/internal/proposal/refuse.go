// SPDX-License-Identifier: Apache-2.0

package proposal

import (
	"fmt"
	"strings"

	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

// NotProvenError says that policies were written and could not be proven. Nothing of them may
// be used.
type NotProvenError struct {
	Namespace string
	Report    *proof.Report
}

func (e *NotProvenError) Error() string {
	var what []string
	for _, b := range e.Report.Broken {
		what = append(what, fmt.Sprintf("%s is not allowed (%s)", b.Connection, b.Reason))
	}
	for _, s := range e.Report.Surplus {
		what = append(what, s+" is needed by no connection")
	}
	const shown = 3
	if len(what) > shown {
		what = append(what[:shown], fmt.Sprintf("and %d more", len(what)-shown))
	}
	return fmt.Sprintf("policies of namespace %s are not proven: %s", e.Namespace, strings.Join(what, "; "))
}

// nodeFactor is how many times the part of all flows that may be missing may be missing of one node's: what its pods do is
// only seen there.
const nodeFactor = 10

// LossError says that too much was not seen: policies would deny what is only missing from the flows.
type LossError struct {
	Loss tree.Loss
	Max  float64
}

func (e *LossError) Error() string {
	if e.Loss.Share() <= e.Max {
		return fmt.Sprintf("node %s lost %.3g %% of its flows (%d read, %d lost), and policies made of the rest would deny them; at most %.3g %% of one node's may be missing: observe again with larger buffers or fewer flows, or allow more with --max-loss",
			e.Loss.Worst.Node, 100*e.Loss.Worst.Share(), e.Loss.Worst.Flows, e.Loss.Worst.Lost, 100*nodeFactor*e.Max)
	}
	return fmt.Sprintf("%.3g %% of the flows are missing (%d read, %d lost by the observers, %d malformed), and policies made of the rest would deny them; at most %.3g %% may be: observe again with larger buffers or fewer flows, or allow more with --max-loss",
		100*e.Loss.Share(), e.Loss.Flows, e.Loss.Lost, e.Loss.Malformed, 100*e.Max)
}
