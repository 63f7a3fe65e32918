// SPDX-License-Identifier: Apache-2.0

package command

import "errors"

// Status is an error that asks for an exit status of its own. Other errors ask for 1.
type Status struct {
	Code int
	// Err is nil when the answer was printed and there is nothing to add.
	Err error
}

func (s *Status) Error() string {
	if s.Err == nil {
		return ""
	}
	return s.Err.Error()
}

func (s *Status) Unwrap() error { return s.Err }

// ExitCode is the exit status for what a command returned; 0 for nil.
func ExitCode(err error) int {
	var s *Status
	switch {
	case err == nil:
		return 0
	case errors.As(err, &s):
		return s.Code
	}
	return 1
}
