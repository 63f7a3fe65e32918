// SPDX-License-Identifier: Apache-2.0

// Command nodeinit is the first process of a test node: started in new namespaces, it mounts what the node
// has of its own and then collects orphans until it is killed, and with it the node. As `nodeinit pause` it
// only collects orphans, which is what holds a pod's namespaces.
package main

import (
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

func main() {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	end := make(chan os.Signal, 1)
	if err := run(os.Args[1:], end); err != nil {
		fmt.Fprintln(os.Stderr, "nodeinit:", err)
		os.Exit(1)
	}
	for {
		select {
		case <-end:
			return
		case <-children:
			collect()
		}
	}
}

func run(args []string, end chan os.Signal) error {
	switch {
	case len(args) == 1 && args[0] == "pause":
		signal.Notify(end, unix.SIGTERM, unix.SIGINT)
		return nil
	case len(args) == 2:
		if err := becomeNode(args[0], args[1]); err != nil {
			return err
		}
		fmt.Println("ready")
		return nil
	}
	return fmt.Errorf("usage: nodeinit DIRECTORY NAME | nodeinit pause")
}

// collect waits for every child that has ended: orphans become children of the first process.
func collect() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}
