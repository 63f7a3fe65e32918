// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"net/netip"
	"time"
)

// day is a date and the second in which it begins, in UTC.
type day struct {
	date   [len(time.DateOnly)]byte
	second int64
}

// usualTime reads a time as hubble prints it, such as 2026-11-20T10:00:00.123456789Z. false: it has another form, or is
// none.
func (d *decoder) usualTime(b []byte) (seconds, nanos int64, ok bool) {
	const date = len(time.DateOnly)
	if len(b) < len("2026-11-20T10:00:00Z") || b[date] != 'T' || b[date+3] != ':' || b[date+6] != ':' || b[len(b)-1] != 'Z' {
		return 0, 0, false
	}
	if string(d.day.date[:]) != string(b[:date]) {
		begin, err := time.Parse(time.DateOnly, string(b[:date]))
		if err != nil {
			return 0, 0, false
		}
		d.day = day{[date]byte(b), begin.Unix()}
	}
	hour, minute, second := twoDigits(b[date+1:]), twoDigits(b[date+4:]), twoDigits(b[date+7:])
	if hour > 23 || minute > 59 || second > 59 {
		return 0, 0, false
	}
	nanos, ok = fraction(b[date+9 : len(b)-1])
	return d.day.second + int64(hour)*3600 + int64(minute)*60 + int64(second), nanos, ok
}

// twoDigits is more than 99 where there are none.
func twoDigits(b []byte) uint {
	if !isDigit(b[0]) || !isDigit(b[1]) {
		return 100
	}
	return uint(b[0]-'0')*10 + uint(b[1]-'0')
}

// fraction reads nothing, or a point and one to nine digits, as billionths.
func fraction(b []byte) (n int64, ok bool) {
	if len(b) == 0 {
		return 0, true
	}
	if b[0] != '.' || len(b) < 2 || len(b) > 10 {
		return 0, false
	}
	for _, c := range b[1:] {
		if !isDigit(c) {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	for range 10 - len(b) {
		n *= 10
	}
	return n, true
}

// usualAddress reads an IPv4 address. false: it has another form, or is none.
func usualAddress(b []byte) (netip.Addr, bool) {
	var a [4]byte
	at := 0
	for i := range a {
		if i > 0 {
			if at == len(b) || b[at] != '.' {
				return netip.Addr{}, false
			}
			at++
		}
		n, begin := 0, at
		for ; at < len(b) && at < begin+3 && isDigit(b[at]); at++ {
			n = n*10 + int(b[at]-'0')
		}
		if at == begin || n > 255 || b[begin] == '0' && at > begin+1 {
			return netip.Addr{}, false
		}
		a[i] = byte(n)
	}
	return netip.AddrFrom4(a), at == len(b)
}
