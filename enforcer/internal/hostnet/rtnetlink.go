// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// skipStats keeps the counters of interfaces out of a dump (RTEXT_FILTER_SKIP_STATS of rtnetlink.h).
const skipStats = 1 << 3

// maxAddrs is how many addresses of one network namespace are kept; a pod has one or two, and may give
// itself more if it is allowed to.
const maxAddrs = 64

// socket is a route netlink socket of one network namespace that checks requests strictly: without that,
// the kernel ignores filters and the namespace that a request names.
type socket struct{ handles map[int]*nl.SocketHandle }

func openSocket() (*socket, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE) // to no group
	if err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1); err != nil {
		s.Close()
		return nil, err
	}
	return &socket{handles: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}}, nil
}

func (s *socket) close() { s.handles[unix.NETLINK_ROUTE].Close() }

// dump asks for all objects of a kind, again if they changed meanwhile, and hands on the answers' bodies.
func (s *socket) dump(request, answer uint16, data ...nl.NetlinkRequestData) ([][]byte, error) {
	r := nl.NetlinkRequest{
		NlMsghdr:         unix.NlMsghdr{Len: unix.SizeofNlMsghdr, Type: request, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP},
		Sockets:          s.handles,
		RetryInterrupted: true,
	}
	for _, d := range data {
		r.AddData(d)
	}
	return r.Execute(unix.NETLINK_ROUTE, answer)
}

// changes is a queue of what happened to the interfaces and addresses of one network namespace. The kernel fills it
// before the call that made a change returns.
type changes struct{ socket *nl.NetlinkSocket }

func subscribeChanges() (*changes, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return nil, err
	}
	return &changes{s}, nil
}

func (c *changes) close() { c.socket.Close() }

// drain empties the queue and reports whether there was anything in it, or may have been.
func (c *changes) drain() (any bool) {
	var head [1]byte // the rest of a message is of no interest
	for {
		_, _, err := unix.Recvfrom(c.socket.GetFd(), head[:], unix.MSG_DONTWAIT)
		switch {
		case err == nil, errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EINTR):
			any = true
		case errors.Is(err, unix.EAGAIN):
			return any
		default:
			return true
		}
	}
}

// link is one of the node's interfaces.
type link struct {
	index  uint32
	name   string
	kind   string // of the driver, for example veth; empty: hardware
	master uint32 // index of the bridge or the like that it is a port of; 0: none
	// foreign says of a veth that its other end is not here: it has the index peer in another namespace, whose id
	// here is namespace. An id below 0 is that of one that is being taken down.
	foreign   bool
	peer      uint32
	namespace int32
}

func (s *socket) links() ([]link, error) {
	answers, err := s.dump(unix.RTM_GETLINK, unix.RTM_NEWLINK, nl.NewIfInfomsg(unix.AF_UNSPEC),
		nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats)))
	if err != nil {
		return nil, fmt.Errorf("list the node's interfaces: %w", err)
	}
	found := make([]link, 0, len(answers))
	for _, body := range answers {
		l, err := parseLink(body)
		if err != nil {
			return nil, fmt.Errorf("list the node's interfaces: %w", err)
		}
		found = append(found, l)
	}
	return found, nil
}

var errShort = errors.New("the kernel's answer is too short")

// parseAttributes reads what follows the fixed bytes at the front.
func parseAttributes(body []byte, fixed int) ([]syscall.NetlinkRouteAttr, error) {
	if len(body) < fixed || len(body)%unix.NLMSG_ALIGNTO != 0 {
		return nil, errShort
	}
	return nl.ParseRouteAttr(body[fixed:])
}

func parseLink(body []byte) (l link, err error) {
	attributes, err := parseAttributes(body, unix.SizeofIfInfomsg)
	if err != nil {
		return link{}, err
	}
	l.index = binary.NativeEndian.Uint32(body[4:]) // struct ifinfomsg: ifi_index
	for _, a := range attributes {
		switch value := a.Value; a.Attr.Type &^ unix.NLA_F_NESTED {
		case unix.IFLA_IFNAME:
			l.name = unix.ByteSliceToString(value)
		case unix.IFLA_MASTER:
			l.master, err = parseUint32(value)
		case unix.IFLA_LINK:
			l.peer, err = parseUint32(value)
		case unix.IFLA_LINK_NETNSID:
			var id uint32
			id, err = parseUint32(value)
			l.foreign, l.namespace = true, int32(id)
		case unix.IFLA_LINKINFO:
			l.kind, err = parseKind(value)
		}
		if err != nil {
			return link{}, err
		}
	}
	return l, nil
}

func parseKind(info []byte) (string, error) {
	attributes, err := parseAttributes(info, 0)
	for _, a := range attributes {
		if a.Attr.Type == nl.IFLA_INFO_KIND {
			return unix.ByteSliceToString(a.Value), nil
		}
	}
	return "", err
}

func parseUint32(b []byte) (uint32, error) {
	if len(b) < 4 {
		return 0, errShort
	}
	return binary.NativeEndian.Uint32(b), nil
}

// addrs lists the addresses of the node's own interfaces, by index.
func (s *socket) addrs() (map[uint32][]netip.Addr, error) {
	answers, err := s.dump(unix.RTM_GETADDR, unix.RTM_NEWADDR, nl.NewIfAddrmsg(unix.AF_UNSPEC))
	if err != nil {
		return nil, fmt.Errorf("list the node's addresses: %w", err)
	}
	addrs := map[uint32][]netip.Addr{}
	for _, body := range answers {
		a, err := parseAddr(body)
		if err != nil {
			return nil, fmt.Errorf("list the node's addresses: %w", err)
		}
		addrs[a.index] = append(addrs[a.index], a.addr)
	}
	return addrs, nil
}

// addrsIn lists the addresses of all interfaces of another network namespace, IPv4 unmapped, those of
// loopback and link scope left out. It needs CAP_NET_ADMIN over that namespace. If the namespace is gone,
// there are none.
func (s *socket) addrsIn(namespace int32) ([]netip.Addr, error) {
	answers, err := s.dump(unix.RTM_GETADDR, unix.RTM_NEWADDR, nl.NewIfAddrmsg(unix.AF_UNSPEC),
		nl.NewRtAttr(unix.IFA_TARGET_NETNSID, nl.Uint32Attr(uint32(namespace))))
	if errors.Is(err, unix.EINVAL) { // what the kernel says of an id that nobody has
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the addresses of network namespace %d: %w", namespace, err)
	}
	var addrs []netip.Addr
	for _, body := range answers {
		a, err := parseAddr(body)
		if err == nil && (!a.foreign || a.namespace != namespace) {
			err = errors.New("the kernel answered about another one")
		}
		if err != nil {
			return nil, fmt.Errorf("list the addresses of network namespace %d: %w", namespace, err)
		}
		if a.addr.IsValid() && a.scope < unix.RT_SCOPE_LINK && len(addrs) < maxAddrs {
			addrs = append(addrs, a.addr)
		}
	}
	return addrs, nil
}

// address is one that an interface has.
type address struct {
	index uint32 // of the interface
	scope uint8  // as of a route
	addr  netip.Addr
	// foreign: the interface is in another namespace, whose id here is namespace.
	foreign   bool
	namespace int32
}

func parseAddr(body []byte) (a address, err error) {
	attributes, err := parseAttributes(body, unix.SizeofIfAddrmsg)
	if err != nil {
		return address{}, err
	}
	a.scope, a.index = body[3], binary.NativeEndian.Uint32(body[4:]) // struct ifaddrmsg: ifa_scope, ifa_index
	var local, other netip.Addr
	for _, attribute := range attributes {
		switch value := attribute.Value; attribute.Attr.Type {
		case unix.IFA_LOCAL: // IPv4; IFA_ADDRESS is the other end of a point-to-point link there
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			other, _ = netip.AddrFromSlice(value)
		case unix.IFA_TARGET_NETNSID:
			var id uint32
			id, err = parseUint32(value)
			a.foreign, a.namespace = true, int32(id)
		}
		if err != nil {
			return address{}, err
		}
	}
	if !local.IsValid() {
		local = other
	}
	a.addr = local.Unmap()
	return a, nil
}
