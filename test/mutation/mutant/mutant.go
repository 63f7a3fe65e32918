// SPDX-License-Identifier: Apache-2.0

// Package mutant is the run-time half of mutation testing. The rewritten source of a package asks it,
// at every place that can be mutated, whether the mutant of that place is the active one. So one build
// holds all mutants.
package mutant

import (
	"math"
	"os"
	"strconv"
)

// Variable of the environment that makes a mutant active from the start of the process; absent: none.
const Variable = "BULKHEAD_MUTANT"

var (
	active, _ = strconv.Atoi(os.Getenv(Variable)) // 0: no mutant
	steps     = math.MaxInt                       // questions that may still be asked
	reached   map[int]bool                        // mutants asked about; nil: not recorded
)

// errEndless is the panic of a mutant that asks more than its share: it would loop for ever.
const errEndless = "the mutant does not come to an end"

// On says whether a mutant is the active one.
func On(id int) bool {
	if steps--; steps < 0 {
		panic(errEndless)
	}
	if reached != nil {
		reached[id] = true
	}
	return id == active
}

type integer interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr
}

// Inc is one more than n if the mutant is active.
func Inc[T integer](id int, n T) T {
	if On(id) {
		return n + 1
	}
	return n
}

// Dec is one less than n if the mutant is active.
func Dec[T integer](id int, n T) T {
	if On(id) {
		return n - 1
	}
	return n
}

// Pick is what is written, or the mutated value if the mutant is active.
func Pick[T any](id int, written, mutated T) T {
	if On(id) {
		return mutated
	}
	return written
}

// OtherInt is a number that no case of a switch names if the mutant is active.
func OtherInt[T integer](id int, n T) T {
	if On(id) {
		return ^n
	}
	return n
}

// OtherString is a string that no case of a switch names if the mutant is active.
func OtherString[T ~string](id int, s T) T {
	if On(id) {
		return s + "\x00"
	}
	return s
}

// Part is nothing of a slice if mutant none is active, and its first element alone if mutant first is.
func Part[S ~[]E, E any](none, first int, s S) S {
	if On(none) {
		return s[:0]
	}
	if On(first) && len(s) > 1 {
		return s[:1]
	}
	return s
}

// Order is the opposite of a comparison's result if mutant reverse is active, and "equal" if mutant equal is.
func Order(reverse, equal, result int) int {
	if On(reverse) {
		return -result
	}
	if On(equal) {
		return 0
	}
	return result
}
