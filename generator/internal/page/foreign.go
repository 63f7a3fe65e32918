// SPDX-License-Identifier: Apache-2.0

package page

import "github.com/bulkhead-dev/bulkhead/generator/internal/proof"

// foreign are the policies that the cluster has and Git has not.
type foreign struct {
	Policies table[foreignPolicy]
	Blocked  table[line]
	Anything bool
}

type foreignPolicy struct {
	Policy line
	Bad    bool // it lets everything in or out
	Words  []line
}

func foreignOf(r *proof.Report) foreign {
	f := foreign{
		Policies: cut(r.Foreign, func(p *proof.Foreign) foreignPolicy {
			out := foreignPolicy{Policy: line(p.Policy), Bad: len(p.AllIn)+len(p.AllOut) > 0}
			for _, w := range p.Words(printable) {
				out.Words = append(out.Words, line(w))
			}
			return out
		}),
		Blocked: cut(r.Blocked, func(b *proof.Blocked) line {
			return line(b.Connection + ": " + b.Words(printable))
		}),
	}
	f.Policies.More += r.ForeignOmitted
	f.Blocked.More += r.BlockedOmitted
	f.Anything = f.Policies.Total()+f.Blocked.Total() > 0
	return f
}
