// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"testing"
	"time"
)

func TestBundle(t *testing.T) {
	now := time.Now()
	made := func(age, valid time.Duration) []byte {
		a, _, err := newAuthority(now.Add(-age), valid, nil)
		if err != nil {
			t.Fatal(err)
		}
		return a.pem
	}
	current, second, third, fourth, fifth := made(0, day), made(time.Hour, day), made(2*time.Hour, day), made(3*time.Hour, day), made(4*time.Hour, day)
	expired := made(2*day, day)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, test := range map[string]struct{ existing, wanted, want []byte }{
		"none before":            {nil, current, current},
		"replaced":               {second, current, join(current, second)},
		"again the same":         {join(current, second), current, join(current, second)},
		"order of another":       {join(second, current), current, join(second, current)},
		"known to another only":  {join(current, second), second, join(current, second)},
		"two are wanted":         {third, join(current, second), join(current, second, third)},
		"too many":               {join(fifth, fourth, second, third), current, join(current, second, third, fourth)},
		"too many, all are good": {join(current, second, third, fourth), fourth, join(current, second, third, fourth)},
		"expired is dropped":     {join(expired, second), current, join(current, second)},
		"not a certificate":      {[]byte("\n"), current, current},
		"nothing":                {nil, nil, nil},
	} {
		if got := Bundle(test.existing, test.wanted, now); !bytes.Equal(got, test.want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, test.want)
		}
	}
}
