// SPDX-License-Identifier: Apache-2.0

package mutant

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// Case is one check of the package under test. Check must not depend on another case's.
type Case struct {
	Name  string
	Check func() error
}

// Question asks what becomes of a mutant, one JSON document a line.
type Question struct {
	ID int `json:"id"` // 0: no mutant
	// Passes of all cases before the mutant counts as survived: what depends on the order of a map may live
	// at first.
	Passes int `json:"passes"`
}

// Answer is what became of a mutant, one JSON document a line.
type Answer struct {
	ID int `json:"id"`
	// By is the case that failed; empty when all of them pass.
	By string `json:"by,omitempty"`
	// How the case failed.
	How string `json:"how,omitempty"`
	// Reached says whether any case comes to the place of the mutant.
	Reached bool `json:"reached"`
}

// A case with a mutant may take this many times its own steps, and so many more.
const (
	patience  = 20
	extraTime = 10_000
)

// measured is a case with what it does when no mutant is active.
type measured struct {
	Case
	steps   int
	reaches map[int]bool
}

// Serve answers the questions that come in, until the input ends. It runs the cases without a mutant before
// the first and after the last: what a mutant does must not outlive its turn.
func Serve(in io.Reader, out io.Writer, cases []Case) error {
	list, err := measure(cases)
	if err != nil {
		return err
	}
	questions, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var q Question
		if err := questions.Decode(&q); errors.Is(err, io.EOF) {
			_, err = measure(cases)
			return err
		} else if err != nil {
			return fmt.Errorf("read a question: %w", err)
		}
		if err := answers.Encode(judge(list, q)); err != nil {
			return fmt.Errorf("write an answer: %w", err)
		}
	}
}

// measure runs the cases without a mutant. The cheapest comes first.
func measure(cases []Case) ([]measured, error) {
	var list []measured
	for _, c := range cases {
		m := measured{Case: c, reaches: make(map[int]bool)}
		reached = m.reaches
		err := m.run(0, math.MaxInt)
		m.steps, reached = math.MaxInt-steps, nil
		if err != nil {
			return nil, fmt.Errorf("without any mutant, %s fails: %w", c.Name, err)
		}
		list = append(list, m)
	}
	slices.SortStableFunc(list, func(a, b measured) int { return cmp.Compare(a.steps, b.steps) })
	return list, nil
}

func judge(list []measured, q Question) Answer {
	answer := Answer{ID: q.ID}
	for range q.Passes {
		for _, m := range list {
			if !m.reaches[q.ID] {
				continue
			}
			answer.Reached = true
			if err := m.run(q.ID, m.steps*patience+extraTime); err != nil {
				answer.By, answer.How = m.Name, err.Error()
				return answer
			}
		}
	}
	return answer
}

// run is one case under one mutant. A panic is a failure.
func (m *measured) run(id, limit int) (err error) {
	defer func() {
		active = 0
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	active, steps = id, limit
	return m.Check()
}
