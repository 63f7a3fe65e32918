// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// exit is an error that asks for an exit status of its own. Other errors ask for 1.
type exit struct {
	code int
	err  error // nil when the answer was printed and there is nothing to add
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// exitCode is the exit status for what a command returned; 0 for nil.
func exitCode(err error) int {
	var e *exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.code
	}
	return 1
}

// noAnswer is for commands whose exit status 1 is an answer: a wrong flag is none.
func noAnswer(_ *cobra.Command, err error) error { return &exit{code: 2, err: err} }
