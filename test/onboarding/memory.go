// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// residentMemory reads what Linux says of a process, in bytes: now, and the most there ever was.
func residentMemory(pid int) (now, most int64, err error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = file.Close() }()
	found := map[string]int64{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		var kilobytes int64
		if _, err := fmt.Sscanf(value, "%d kB", &kilobytes); err == nil {
			found[name] = kilobytes << 10
		}
	}
	if err := lines.Err(); err != nil {
		return 0, 0, err
	}
	return found["VmRSS"], found["VmHWM"], nil
}
