// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Watch calls changed once it listens, then after every change of the node's links, addresses and
// direct routes, and whenever some may have been missed, until ctx ends. changed must not block. It
// listens in the network namespace of the calling thread.
func Watch(ctx context.Context, changed func()) error {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return fmt.Errorf("subscribe to changes of the node's network: %w", err)
	}
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { socket.Close() })()
	changed()
	for {
		messages, _, err := socket.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS): // the kernel had more to say than fits: look at everything
			changed()
		case err != nil:
			return fmt.Errorf("listen for changes of the node's network: %w", err)
		case anyRelevant(messages):
			changed()
		}
	}
}

func anyRelevant(messages []syscall.NetlinkMessage) bool {
	for _, m := range messages {
		if relevant(m) {
			return true
		}
	}
	return false
}

// relevant leaves out routes through gateways and default routes: they never lead to a local pod, and a
// router's table may change all the time.
func relevant(m syscall.NetlinkMessage) bool {
	if m.Header.Type != unix.RTM_NEWROUTE && m.Header.Type != unix.RTM_DELROUTE {
		return true
	}
	if len(m.Data) < unix.SizeofRtMsg || nl.DeserializeRtMsg(m.Data).Dst_len == 0 {
		return false
	}
	attributes, err := nl.ParseRouteAttr(m.Data[unix.SizeofRtMsg:])
	for _, a := range attributes {
		if a.Attr.Type == unix.RTA_GATEWAY || a.Attr.Type == unix.RTA_VIA || a.Attr.Type == unix.RTA_MULTIPATH {
			return false
		}
	}
	return err == nil
}
