// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Action is what happens to an object that violates a rule.
type Action string

// The actions.
const (
	Deny  Action = "deny"  // refuse the object
	Warn  Action = "warn"  // admit it, and tell the user
	Audit Action = "audit" // admit it, and record the violation
	Off   Action = "off"   // the rule is not evaluated
)

// ParseAction reads an action as it is written in configuration: deny, warn, audit or off.
func ParseAction(s string) (Action, error) {
	switch a := Action(s); a {
	case Deny, Warn, Audit, Off:
		return a, nil
	}
	return "", fmt.Errorf("action %q is not one of deny, warn, audit, off", s)
}

// Violation is one thing that a rule found.
type Violation struct {
	// Rule is "group/rule", e.g. "networkpolicy/allow_all".
	Rule string `json:"rule"`
	// Message says what is wrong. Never empty.
	Message string `json:"message"`
	// Path of the field in the object, e.g. spec.ingress[0]. Empty: the object as a whole.
	Path string `json:"path"`
	// Severity is low, medium or high.
	Severity string `json:"severity"`
	// Fix says what to do. Empty when the rule does not say.
	Fix string `json:"fix"`
}

// String is the violation in one line, as users see it.
func (v Violation) String() string {
	s := v.Rule + ": "
	if v.Path != "" {
		s += v.Path + ": "
	}
	s += v.Message
	if v.Fix != "" {
		s += "; " + v.Fix
	}
	return s
}

// Result is a Violation with what is to be done about it.
type Result struct {
	Violation
	// Action is Deny, Warn or Audit.
	Action Action `json:"action"`
}

// failed is the result of a rule that could not be evaluated: under deny it refuses, because
// nobody knows whether the object is in order; under warn and audit it warns.
func failed(id string, action Action, err error) Result {
	if action != Deny {
		action = Warn
	}
	return Result{Action: action, Violation: Violation{
		Rule: id, Severity: "high",
		Message: bounded(fmt.Sprintf("the rule could not be evaluated: %v", err)),
		Fix:     "ask who maintains the rule to correct it or to set its action to off",
	}}
}

func byRulePathMessage(a, b Result) int {
	return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message), cmp.Compare(a.Fix, b.Fix))
}

// readViolation reads an element of a rule's violation set.
func readViolation(id string, element any) (Violation, error) {
	fields, ok := element.(map[string]any)
	if !ok {
		return Violation{}, fmt.Errorf("violation is a %T; give an object {message, path, severity, fix}", element)
	}
	v := Violation{Rule: id, Severity: "medium"}
	for name, to := range map[string]*string{
		"message": &v.Message, "path": &v.Path, "severity": &v.Severity, "fix": &v.Fix,
	} {
		value, given := fields[name]
		if !given {
			continue
		}
		text, isText := value.(string)
		if !isText {
			return v, fmt.Errorf("violation's %s is not a string", name)
		}
		*to = bounded(text)
	}
	return v, v.check()
}

func (v Violation) check() error {
	if v.Message == "" {
		return errors.New("violation has no message")
	}
	switch v.Severity {
	case "low", "medium", "high":
		return nil
	}
	return fmt.Errorf("violation's severity %q is not one of low, medium, high", v.Severity)
}

// bounded makes one short line of a text that a rule made from an object: it goes into an answer to
// the API server, into an HTTP warning header and onto a terminal.
func bounded(text string) string {
	cut := min(len(text), maxText)
	for cut < len(text) && cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	line := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text[:cut])
	if cut < len(text) {
		line += "…"
	}
	return line
}
