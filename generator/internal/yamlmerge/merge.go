// SPDX-License-Identifier: Apache-2.0

// Package yamlmerge brings what is generated into files that people edit. A file is merged three ways: what was
// generated last, what the file says now, and what is generated this time. What a person added, changed or took away
// stays as it is, to the byte; the rest becomes what is generated.
package yamlmerge

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// absent stands for a value that is not there. JSON and YAML have no such value.
type absent struct{}

// merger merges values as encoding/json decodes them. Lists are sets, as all lists of NetworkPolicies and the
// resources of a kustomization are: their order means nothing.
type merger struct {
	kept    []string // paths at which a person's word differs from what is generated
	deleted []string // paths of what is generated and a person took away
}

// value merges what one place of the file says. base is what was generated last, theirs what the file says, ours what
// is generated; absent{}: nothing.
func (m *merger) value(path string, base, theirs, ours any) any {
	if reflect.DeepEqual(theirs, ours) {
		return theirs
	}
	if t, o, ok := both[map[string]any](theirs, ours); ok {
		b, _ := base.(map[string]any)
		return m.mapping(path, b, t, o)
	}
	if t, o, ok := both[[]any](theirs, ours); ok {
		b, _ := base.([]any)
		return m.list(path, b, t, o)
	}
	switch {
	case reflect.DeepEqual(theirs, base):
		return ours
	case theirs == absent{} && reflect.DeepEqual(base, ours):
		m.deleted = append(m.deleted, path)
		return theirs
	case theirs == absent{}: // what is new about something that was deleted is generated
		return ours
	}
	m.kept = append(m.kept, path)
	return theirs
}

func both[T any](a, b any) (x, y T, ok bool) {
	x, isA := a.(T)
	y, isB := b.(T)
	return x, y, isA && isB
}

func (m *merger) mapping(path string, base, theirs, ours map[string]any) any {
	out := map[string]any{}
	keys := slices.Collect(maps.Keys(theirs))
	for k := range ours {
		if _, there := theirs[k]; !there {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if v := m.value(join(path, k), get(base, k), get(theirs, k), get(ours, k)); v != (absent{}) {
			out[k] = v
		}
	}
	return out
}

func get(from map[string]any, key string) any {
	if v, there := from[key]; there {
		return v
	}
	return absent{}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// list keeps the order of the file. What is new comes behind what it is generated behind.
func (m *merger) list(path string, base, theirs, ours []any) any {
	theirsOf, oursOf := pair(ours, theirs) // ours[i] is theirs[theirsOf[i]]
	var out []any
	place := slices.Repeat([]int{-1}, len(ours)) // of ours in out; -1: not in it
	for j, t := range theirs {
		at := fmt.Sprintf("%s[%d]", path, len(out))
		i, b := oursOf[j], match(base, t)
		if i < 0 {
			if reflect.DeepEqual(b, t) {
				continue // generated then, and not now
			}
			m.kept = append(m.kept, at)
			out = append(out, t)
			continue
		}
		if b == (absent{}) {
			b = match(base, ours[i])
		}
		place[i] = len(out)
		out = append(out, m.value(at, b, t, ours[i]))
	}
	for i, o := range ours {
		if theirsOf[i] >= 0 {
			continue
		}
		if reflect.DeepEqual(match(base, o), o) {
			m.deleted = append(m.deleted, fmt.Sprintf("%s (%s)", path, summary(o)))
			continue
		}
		out = slices.Insert(out, after(place, i), o)
	}
	return out
}

// after is the index in out at which ours[i] comes, and notes it in place.
func after(place []int, i int) int {
	at := 0
	for k := i - 1; k >= 0; k-- {
		if place[k] >= 0 {
			at = place[k] + 1
			break
		}
	}
	for k := range place {
		if k != i && place[k] >= at {
			place[k]++
		}
	}
	place[i] = at
	return at
}

// pair finds for each item of a the one of b that is the same thing: an equal one or else one that is alike. The second
// result is the reverse; -1: there is none.
func pair(a, b []any) (inB, inA []int) {
	inB, inA = slices.Repeat([]int{-1}, len(a)), slices.Repeat([]int{-1}, len(b))
	for _, same := range []func(x, y any) bool{reflect.DeepEqual, alike} {
		for i := range a {
			for j := range b {
				if inB[i] < 0 && inA[j] < 0 && same(a[i], b[j]) {
					inB[i], inA[j] = j, i
				}
			}
		}
	}
	return inB, inA
}

// match is the item of a list that is the same thing as v; absent{}: there is none.
func match(list []any, v any) any {
	for _, same := range []func(x, y any) bool{reflect.DeepEqual, alike} {
		for _, item := range list {
			if same(item, v) {
				return item
			}
		}
	}
	return absent{}
}

// alike reports whether two different items of a list are the same thing: rules for the same peers, or of the same
// ports for addresses.
func alike(a, b any) bool {
	x, y, ok := both[map[string]any](a, b)
	if !ok {
		return false
	}
	for _, field := range []string{"from", "to"} {
		if px, py, ok := both[[]any](x[field], y[field]); ok {
			return reflect.DeepEqual(px, py) || areBlocks(px) && areBlocks(py) && reflect.DeepEqual(x["ports"], y["ports"])
		}
	}
	return false
}

func areBlocks(peers []any) bool {
	return !slices.ContainsFunc(peers, func(p any) bool {
		m, _ := p.(map[string]any)
		return m["ipBlock"] == nil
	})
}
