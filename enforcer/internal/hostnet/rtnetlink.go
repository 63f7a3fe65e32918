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

// changes is a queue of what happened to the interfaces of one network namespace. The kernel fills it
// before the call that made a change returns.
type changes struct{ socket *nl.NetlinkSocket }

func subscribeLinks() (*changes, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
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

// veths lists the veth interfaces here whose other end is in another network namespace.
func (s *socket) veths() ([]Veth, error) {
	kind := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	kind.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	answers, err := s.dump(unix.RTM_GETLINK, unix.RTM_NEWLINK, nl.NewIfInfomsg(unix.AF_UNSPEC),
		nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats)), kind)
	if err != nil {
		return nil, fmt.Errorf("list the node's veth interfaces: %w", err)
	}
	var found []Veth
	for _, body := range answers {
		v, ok, err := parseVeth(body)
		if err != nil {
			return nil, fmt.Errorf("list the node's veth interfaces: %w", err)
		}
		if ok {
			found = append(found, v)
		}
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

// parseVeth reports false for an interface that is no veth, or whose other end is here or in a namespace
// that is being taken down.
func parseVeth(body []byte) (v Veth, ok bool, err error) {
	attributes, err := parseAttributes(body, unix.SizeofIfInfomsg)
	if err != nil {
		return Veth{}, false, err
	}
	v = Veth{Ifindex: binary.NativeEndian.Uint32(body[4:]), namespace: -1} // struct ifinfomsg: ifi_index at 4
	isVeth := false
	for _, a := range attributes {
		switch value := a.Value; a.Attr.Type &^ unix.NLA_F_NESTED {
		case unix.IFLA_IFNAME:
			v.Name = unix.ByteSliceToString(value)
		case unix.IFLA_LINK:
			v.peer, err = parseUint32(value)
		case unix.IFLA_LINK_NETNSID:
			var id uint32
			id, err = parseUint32(value)
			v.namespace = int32(id)
		case unix.IFLA_LINKINFO:
			isVeth, err = isVethInfo(value)
		}
		if err != nil {
			return Veth{}, false, err
		}
	}
	return v, isVeth && v.namespace >= 0, nil
}

func isVethInfo(info []byte) (bool, error) {
	attributes, err := parseAttributes(info, 0)
	for _, a := range attributes {
		if a.Attr.Type == nl.IFLA_INFO_KIND {
			return unix.ByteSliceToString(a.Value) == "veth", nil
		}
	}
	return false, err
}

func parseUint32(b []byte) (uint32, error) {
	if len(b) < 4 {
		return 0, errShort
	}
	return binary.NativeEndian.Uint32(b), nil
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
		addr, ok, err := parseAddr(body, namespace)
		if err != nil {
			return nil, fmt.Errorf("list the addresses of network namespace %d: %w", namespace, err)
		}
		if ok && len(addrs) < maxAddrs {
			addrs = append(addrs, addr)
		}
	}
	return addrs, nil
}

// parseAddr errs if the answer is about another namespace than the one asked for.
func parseAddr(body []byte, namespace int32) (addr netip.Addr, ok bool, err error) {
	attributes, err := parseAttributes(body, unix.SizeofIfAddrmsg)
	if err != nil {
		return netip.Addr{}, false, err
	}
	var local, address netip.Addr
	of := int32(-1)
	for _, a := range attributes {
		switch a.Attr.Type {
		case unix.IFA_LOCAL: // IPv4; IFA_ADDRESS is the other end of a point-to-point link there
			local, _ = netip.AddrFromSlice(a.Value)
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(a.Value)
		case unix.IFA_TARGET_NETNSID:
			var id uint32
			if id, err = parseUint32(a.Value); err != nil {
				return netip.Addr{}, false, err
			}
			of = int32(id)
		}
	}
	if of != namespace {
		return netip.Addr{}, false, fmt.Errorf("the kernel answered about network namespace %d", of)
	}
	if !local.IsValid() {
		local = address
	}
	scope := body[3] // struct ifaddrmsg: ifa_scope
	return local.Unmap(), local.IsValid() && scope < unix.RT_SCOPE_LINK, nil
}
