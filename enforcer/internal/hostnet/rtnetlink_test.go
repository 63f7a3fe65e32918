// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func TestAddrsInANamespaceThatIsGone(t *testing.T) {
	s, err := openSocket()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if addrs, err := s.addrsIn(1 << 20); len(addrs) != 0 || err != nil {
		t.Errorf("addresses of a namespace that does not exist: %s, %v", addrs, err)
	}
}

func message(fixed nl.NetlinkRequestData, attributes ...*nl.RtAttr) []byte {
	b := fixed.Serialize()
	for _, a := range attributes {
		b = append(b, a.Serialize()...)
	}
	return b
}

// What is no answer is an error or says nothing.
func FuzzParse(f *testing.F) {
	kind := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	kind.AddRtAttr(nl.IFLA_INFO_KIND, nl.ZeroTerminated("veth"))
	f.Add(message(nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(2)),
		nl.NewRtAttr(unix.IFLA_LINK_NETNSID, nl.Uint32Attr(7)), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated("v")), kind))
	f.Add(message(nl.NewIfAddrmsg(unix.AF_INET), nl.NewRtAttr(unix.IFA_TARGET_NETNSID, nl.Uint32Attr(7)),
		nl.NewRtAttr(unix.IFA_LOCAL, []byte{10, 0, 0, 1})))
	f.Fuzz(func(t *testing.T, body []byte) {
		l, err := parseLink(body)
		if err != nil && l != (link{}) || !l.foreign && l.namespace != 0 {
			t.Errorf("parseLink(%x) = %+v, %v", body, l, err)
		}
		a, err := parseAddr(body)
		if err != nil && a != (address{}) || !a.foreign && a.namespace != 0 || a.addr.Is4In6() {
			t.Errorf("parseAddr(%x) = %+v, %v", body, a, err)
		}
	})
}
