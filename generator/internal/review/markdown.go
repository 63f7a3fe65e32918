// SPDX-License-Identifier: Apache-2.0

package review

import (
	"strings"
	"unicode"
)

// code puts text from the outside into a code span that it cannot leave: names of workloads, DNS
// names and labels come from whoever can create a pod or answer a query.
func code(text string) string {
	const limit = 300
	clean := strings.Map(func(r rune) rune {
		switch {
		case r == '`':
			return '\''
		case r == '|': // ends a table cell, even inside a code span
			return '¦'
		case !unicode.IsPrint(r):
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if runes := []rune(clean); len(runes) > limit {
		clean = string(runes[:limit]) + "…"
	}
	if strings.TrimSpace(clean) == "" {
		return "`?`"
	}
	return "`" + clean + "`"
}
