// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"
)

// backlogDrops is how many packets the kernel has dropped because a processor had too many waiting, since it started
// and on the whole machine.
func backlogDrops() (total uint64, err error) {
	text, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		var processed, lost uint64
		if _, err := fmt.Sscanf(line, "%x %x", &processed, &lost); err != nil {
			return 0, fmt.Errorf("/proc/net/softnet_stat says %q: %w", line, err)
		}
		total += lost
	}
	return total, nil
}
