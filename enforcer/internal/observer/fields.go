// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	"google.golang.org/protobuf/reflect/protoreflect"
	"k8s.io/apimachinery/pkg/labels"
)

// fields compiles each supported field of a filter. Within a field one value has to match.
var fields = map[protoreflect.Name]func(*flowpb.FlowFilter) (predicate, error){
	"uuid": func(w *flowpb.FlowFilter) (predicate, error) { return oneOf(w.GetUuid(), (*flowpb.Flow).GetUuid), nil },
	"source_ip": func(w *flowpb.FlowFilter) (predicate, error) {
		return addresses(w.GetSourceIp(), func(f *flowpb.Flow) string { return f.GetIP().GetSource() })
	},
	"destination_ip": func(w *flowpb.FlowFilter) (predicate, error) {
		return addresses(w.GetDestinationIp(), func(f *flowpb.Flow) string { return f.GetIP().GetDestination() })
	},
	"source_pod": func(w *flowpb.FlowFilter) (predicate, error) {
		return objects(w.GetSourcePod(), func(f *flowpb.Flow) named { return podOf(f.GetSource()) })
	},
	"destination_pod": func(w *flowpb.FlowFilter) (predicate, error) {
		return objects(w.GetDestinationPod(), func(f *flowpb.Flow) named { return podOf(f.GetDestination()) })
	},
	"source_service": func(w *flowpb.FlowFilter) (predicate, error) {
		return objects(w.GetSourceService(), func(f *flowpb.Flow) named { return serviceOf(f.GetSourceService()) })
	},
	"destination_service": func(w *flowpb.FlowFilter) (predicate, error) {
		return objects(w.GetDestinationService(), func(f *flowpb.Flow) named { return serviceOf(f.GetDestinationService()) })
	},
	"source_fqdn": func(w *flowpb.FlowFilter) (predicate, error) {
		return patterns(lower(w.GetSourceFqdn()), (*flowpb.Flow).GetSourceNames)
	},
	"destination_fqdn": func(w *flowpb.FlowFilter) (predicate, error) {
		return patterns(lower(w.GetDestinationFqdn()), (*flowpb.Flow).GetDestinationNames)
	},
	"source_label": func(w *flowpb.FlowFilter) (predicate, error) {
		return selectors(w.GetSourceLabel(), (*flowpb.Flow).GetSource)
	},
	"destination_label": func(w *flowpb.FlowFilter) (predicate, error) {
		return selectors(w.GetDestinationLabel(), (*flowpb.Flow).GetDestination)
	},
	"source_workload": func(w *flowpb.FlowFilter) (predicate, error) {
		return workloads(w.GetSourceWorkload(), (*flowpb.Flow).GetSource), nil
	},
	"destination_workload": func(w *flowpb.FlowFilter) (predicate, error) {
		return workloads(w.GetDestinationWorkload(), (*flowpb.Flow).GetDestination), nil
	},
	"source_port": func(w *flowpb.FlowFilter) (predicate, error) {
		return ports(w.GetSourcePort(), func(f *flowpb.Flow) uint32 { source, _ := l4Ports(f); return source })
	},
	"destination_port": func(w *flowpb.FlowFilter) (predicate, error) {
		return ports(w.GetDestinationPort(), func(f *flowpb.Flow) uint32 { _, destination := l4Ports(f); return destination })
	},
	"protocol":   func(w *flowpb.FlowFilter) (predicate, error) { return protocols(w.GetProtocol()) },
	"ip_version": func(w *flowpb.FlowFilter) (predicate, error) { return oneOf(w.GetIpVersion(), ipVersion), nil },
	"node_name": func(w *flowpb.FlowFilter) (predicate, error) {
		return patterns(w.GetNodeName(), func(f *flowpb.Flow) []string { return []string{f.GetNodeName()} })
	},
	"verdict": func(w *flowpb.FlowFilter) (predicate, error) {
		return oneOf(w.GetVerdict(), (*flowpb.Flow).GetVerdict), nil
	},
	"traffic_direction": func(w *flowpb.FlowFilter) (predicate, error) {
		return oneOf(w.GetTrafficDirection(), (*flowpb.Flow).GetTrafficDirection), nil
	},
	"drop_reason_desc": func(w *flowpb.FlowFilter) (predicate, error) {
		return oneOf(w.GetDropReasonDesc(), (*flowpb.Flow).GetDropReasonDesc), nil
	},
	"event_type": func(w *flowpb.FlowFilter) (predicate, error) { return eventTypes(w.GetEventType()), nil },
	"source_identity": func(w *flowpb.FlowFilter) (predicate, error) {
		return oneOf(w.GetSourceIdentity(), func(f *flowpb.Flow) uint32 { return f.GetSource().GetIdentity() }), nil
	},
	"destination_identity": func(w *flowpb.FlowFilter) (predicate, error) {
		return oneOf(w.GetDestinationIdentity(), func(f *flowpb.Flow) uint32 { return f.GetDestination().GetIdentity() }), nil
	},
	"reply": func(w *flowpb.FlowFilter) (predicate, error) {
		return func(f *flowpb.Flow) bool {
			return f.GetIsReply() != nil && slices.Contains(w.GetReply(), f.GetIsReply().GetValue())
		}, nil
	},
}

func oneOf[T comparable](wanted []T, get func(*flowpb.Flow) T) predicate {
	return func(f *flowpb.Flow) bool { return slices.Contains(wanted, get(f)) }
}

// dropEvent is the number of Hubble's event type for a dropped packet.
const dropEvent = 1

// eventTypes finds dropped flows also as drops: on a Cilium node there is such an event beside the verdict.
func eventTypes(wanted []*flowpb.EventTypeFilter) predicate {
	return func(f *flowpb.Flow) bool {
		return slices.ContainsFunc(wanted, func(e *flowpb.EventTypeFilter) bool {
			subType := f.GetEventType().GetSubType()
			switch {
			case e.GetType() == dropEvent && f.GetVerdict() == flowpb.Verdict_DROPPED:
				subType = int32(f.GetDropReasonDesc())
			case e.GetType() != f.GetEventType().GetType():
				return false
			}
			return !e.GetMatchSubType() || e.GetSubType() == subType
		})
	}
}

// patterns takes shell patterns such as "worker-*" or "*.example.com". One of what get returns has to match.
func patterns(wanted []string, get func(*flowpb.Flow) []string) (predicate, error) {
	for _, s := range wanted {
		if _, err := path.Match(s, ""); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", s, err)
		}
	}
	return func(f *flowpb.Flow) bool {
		have := get(f)
		return slices.ContainsFunc(wanted, func(s string) bool {
			return slices.ContainsFunc(have, func(name string) bool {
				matched, _ := path.Match(s, name) // the pattern was checked above
				return matched
			})
		})
	}, nil
}

// lower is for names of DNS, which flows have in lower case.
func lower(names []string) []string {
	all := make([]string, len(names))
	for i, s := range names {
		all[i] = strings.ToLower(strings.TrimSuffix(s, "."))
	}
	return all
}

func ipVersion(f *flowpb.Flow) flowpb.IPVersion { return f.GetIP().GetIpVersion() }

// addresses takes addresses and prefixes.
func addresses(wanted []string, get func(*flowpb.Flow) string) (predicate, error) {
	prefixes := make([]netip.Prefix, 0, len(wanted))
	for _, s := range wanted {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			addr, addrErr := netip.ParseAddr(s)
			if addrErr != nil {
				return nil, fmt.Errorf("%q is neither an address nor a CIDR", s)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		prefixes = append(prefixes, prefix)
	}
	return func(f *flowpb.Flow) bool {
		addr, err := netip.ParseAddr(get(f))
		return err == nil && slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
	}, nil
}

// named is an object's name. Its namespace is empty if there is no object.
type named struct{ namespace, name string }

func podOf(e *flowpb.Endpoint) named    { return named{e.GetNamespace(), e.GetPodName()} }
func serviceOf(s *flowpb.Service) named { return named{s.GetNamespace(), s.GetName()} }

// objects takes "namespace/prefix", "namespace/", "/prefix", and "/" for all pods or Services; a name without a slash
// is in "default", as in Hubble.
func objects(wanted []string, get func(*flowpb.Flow) named) (predicate, error) {
	parsed := make([]named, 0, len(wanted))
	for _, s := range wanted {
		namespace, prefix, slash := strings.Cut(s, "/")
		if !slash {
			namespace, prefix = "default", s
		}
		if s == "" {
			return nil, errors.New("an empty name: give / for all")
		}
		parsed = append(parsed, named{namespace, prefix})
	}
	return func(f *flowpb.Flow) bool {
		have := get(f)
		return have.namespace != "" && slices.ContainsFunc(parsed, func(p named) bool {
			return (p.namespace == "" || p.namespace == have.namespace) && strings.HasPrefix(have.name, p.name)
		})
	}, nil
}

// selectors takes label selectors; a key may carry its source ("k8s:app"). Selector syntax has no colon,
// so a source is written "k8s.app" on both sides.
func selectors(wanted []string, get func(*flowpb.Flow) *flowpb.Endpoint) (predicate, error) {
	parsed := make([]labels.Selector, 0, len(wanted))
	for _, s := range wanted {
		selector, err := labels.Parse(strings.ReplaceAll(s, ":", "."))
		if err != nil {
			return nil, fmt.Errorf("label selector %q: %w", s, err)
		}
		parsed = append(parsed, selector)
	}
	return func(f *flowpb.Flow) bool {
		set := labels.Set{}
		for _, label := range get(f).GetLabels() {
			key, value, _ := strings.Cut(label, "=")
			set[strings.ReplaceAll(key, ":", ".")] = value
			if _, bare, sourced := strings.Cut(key, ":"); sourced {
				set[bare], set["any."+bare] = value, value
			}
		}
		return slices.ContainsFunc(parsed, func(s labels.Selector) bool { return s.Matches(set) })
	}, nil
}

// workloads matches by name, kind or both; an empty part matches everything.
func workloads(wanted []*flowpb.Workload, get func(*flowpb.Flow) *flowpb.Endpoint) predicate {
	return func(f *flowpb.Flow) bool {
		for _, have := range get(f).GetWorkloads() {
			if slices.ContainsFunc(wanted, func(w *flowpb.Workload) bool {
				return (w.GetName() == "" || w.GetName() == have.GetName()) && (w.GetKind() == "" || w.GetKind() == have.GetKind())
			}) {
				return true
			}
		}
		return false
	}
}

func ports(wanted []string, get func(*flowpb.Flow) uint32) (predicate, error) {
	parsed := make([]uint32, 0, len(wanted))
	for _, s := range wanted {
		port, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q is not a port (0 to 65535)", s)
		}
		parsed = append(parsed, uint32(port))
	}
	return oneOf(parsed, get), nil
}

func protocols(wanted []string) (predicate, error) {
	lower := make([]string, 0, len(wanted))
	for _, s := range wanted {
		s = strings.ToLower(s)
		switch s {
		case "tcp", "udp", "sctp", "icmpv4", "icmpv6":
			lower = append(lower, s)
		case "icmp":
			lower = append(lower, "icmpv4", "icmpv6")
		default:
			return nil, fmt.Errorf("%q is not one of tcp, udp, sctp, icmp, icmpv4, icmpv6", s)
		}
	}
	return oneOf(lower, protocol), nil
}

func protocol(f *flowpb.Flow) string {
	switch f.GetL4().GetProtocol().(type) {
	case *flowpb.Layer4_TCP:
		return "tcp"
	case *flowpb.Layer4_UDP:
		return "udp"
	case *flowpb.Layer4_SCTP:
		return "sctp"
	case *flowpb.Layer4_ICMPv4:
		return "icmpv4"
	case *flowpb.Layer4_ICMPv6:
		return "icmpv6"
	}
	return ""
}

// l4Ports returns zeros for a protocol without ports.
func l4Ports(f *flowpb.Flow) (source, destination uint32) {
	l4 := f.GetL4()
	switch {
	case l4.GetTCP() != nil:
		return l4.GetTCP().GetSourcePort(), l4.GetTCP().GetDestinationPort()
	case l4.GetUDP() != nil:
		return l4.GetUDP().GetSourcePort(), l4.GetUDP().GetDestinationPort()
	case l4.GetSCTP() != nil:
		return l4.GetSCTP().GetSourcePort(), l4.GetSCTP().GetDestinationPort()
	}
	return 0, 0
}
