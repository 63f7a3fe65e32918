// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// schedule is the part of a CronJob's schedule that is simulated: minute and hour, each "*", "*/n" or a number.
type schedule struct{ minute, hour period }

// period is every value that leaves the remainder; or the one value if every is 0.
type period struct{ every, value int }

func (p period) holds(n int) bool {
	if p.every == 0 {
		return n == p.value
	}
	return n%p.every == 0
}

func parseSchedule(text string) (*schedule, error) {
	fields := strings.Fields(text)
	if len(fields) != 5 || strings.Join(fields[2:], "") != "***" {
		return nil, fmt.Errorf("schedule %q: want minute, hour and three asterisks", text)
	}
	minute, err := parsePeriod(fields[0], 59)
	if err != nil {
		return nil, fmt.Errorf("schedule %q: %w", text, err)
	}
	hour, err := parsePeriod(fields[1], 23)
	if err != nil {
		return nil, fmt.Errorf("schedule %q: %w", text, err)
	}
	return &schedule{minute, hour}, nil
}

func parsePeriod(text string, most int) (period, error) {
	if text == "*" {
		return period{every: 1}, nil
	}
	step, stepped := strings.CutPrefix(text, "*/")
	n, err := strconv.Atoi(step)
	if err != nil || n < 0 || n > most || stepped && n == 0 {
		return period{}, fmt.Errorf("%q is not *, */n or a number up to %d", text, most)
	}
	if stepped {
		return period{every: n}, nil
	}
	return period{value: n}, nil
}

// between are the times from start on, before end.
func (s *schedule) between(start, end time.Time) (times []time.Time) {
	t := start.Truncate(time.Minute)
	if t.Before(start) {
		t = t.Add(time.Minute)
	}
	for ; t.Before(end); t = t.Add(time.Minute) {
		if s.minute.holds(t.Minute()) && s.hour.holds(t.Hour()) {
			times = append(times, t)
		}
	}
	return times
}
