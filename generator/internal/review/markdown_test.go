// SPDX-License-Identifier: Apache-2.0

package review

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzCode: whatever comes in, one code span on one line comes out, and no table cell ends in it.
func FuzzCode(f *testing.F) {
	for _, s := range []string{"", "shop/api", "`; rm -rf", "a|b", "x\n\n# Approved\n", "[a](javascript:x)", "<img src=x>", "\u202e", "\xff", strings.Repeat("x", 1000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := code(s)
		inner := strings.TrimSuffix(strings.TrimPrefix(got, "`"), "`")
		if len(got) < 3 || got[0] != '`' || got[len(got)-1] != '`' || strings.ContainsAny(inner, "`|\n\r") || !utf8.ValidString(got) {
			t.Errorf("%q became %q", s, got)
		}
	})
}
