// SPDX-License-Identifier: Apache-2.0

package flows

import "bytes"

// maxNested bounds the depth of a text that a scanner reads. That of a flow is 4.
const maxNested = 32

// scanner reads JSON from its beginning to its end. It takes no text with a backslash, and less than JSON allows
// elsewhere: what it does not take fails, and another parser says whether that is JSON. After a failure nothing more
// is read, so that it is enough to look at failed in the end.
type scanner struct {
	in     []byte
	at     int
	first  bool // of an object or array that was just opened nothing was read
	depth  int
	failed bool
}

func (s *scanner) fail() {
	s.at, s.failed = len(s.in), true
}

// ended reports whether all was read.
func (s *scanner) ended() bool {
	s.peek()
	return s.at == len(s.in) && !s.failed
}

// peek is the next byte that is no space, which is not read; 0: there is none.
func (s *scanner) peek() byte {
	if s.at < len(s.in) && s.in[s.at] > ' ' {
		return s.in[s.at]
	}
	return s.peekAfterSpace()
}

func (s *scanner) peekAfterSpace() byte {
	for ; s.at < len(s.in); s.at++ {
		switch c := s.in[s.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// open reads the beginning of an object, '{', or of an array, '['.
func (s *scanner) open(bracket byte) {
	if s.peek() != bracket || s.depth == maxNested {
		s.fail()
		return
	}
	s.at++
	s.depth++
	s.first = true
}

// more reports whether the object or array goes on; if not, its end was read.
func (s *scanner) more(bracket byte) bool {
	c := s.peek()
	switch {
	case c == ',' && !s.first:
		s.at++
		return true
	case c == bracket:
		s.at++
		s.depth--
		s.first = false
		return false
	case s.first && c != 0:
		s.first = false
		return true
	}
	s.fail()
	return false
}

// key reads a member's name.
func (s *scanner) key() []byte {
	if s.peek() == '"' {
		begin := s.at + 1
		for i := begin; i < len(s.in); i++ { // keys are short
			if s.in[i] != '"' {
				continue
			}
			if s.at = i + 1; s.peek() == ':' {
				s.at++
				return s.in[begin:i]
			}
			break
		}
	}
	s.fail()
	return nil
}

// text reads a string; nil: there is none.
func (s *scanner) text() []byte {
	if s.peek() == '"' {
		begin := s.at + 1
		if n := bytes.IndexByte(s.in[begin:], '"'); n >= 0 {
			s.at = begin + n + 1
			return s.in[begin : begin+n]
		}
	}
	s.fail()
	return nil
}

// once reads a string that is the value of a member: before is what was read of another one with its name.
func (s *scanner) once(before []byte) []byte {
	if before != nil {
		s.fail()
	}
	return s.text()
}

// texts reads a list of strings.
func (s *scanner) texts(into [][]byte) [][]byte {
	for s.open('['); s.more(']'); {
		into = append(into, s.text())
	}
	return into
}

// word reads a word of an enumeration. One that is not known fails.
func (s *scanner) word(values map[string]int32) int32 {
	n, known := values[string(s.text())]
	if !known {
		s.fail()
	}
	return n
}

func (s *scanner) bool() bool {
	if s.peek() == 't' {
		s.literal("true")
		return true
	}
	s.literal("false")
	return false
}

func (s *scanner) literal(word string) {
	if rest := s.in[s.at:]; len(rest) < len(word) || string(rest[:len(word)]) != word {
		s.fail()
		return
	}
	s.at += len(word)
}

// port reads a number of at most five digits.
func (s *scanner) port() (n uint32) {
	zero, begin := s.peek() == '0', s.at
	for ; s.at < len(s.in) && isDigit(s.in[s.at]) && s.at < begin+6; s.at++ {
		n = n*10 + uint32(s.in[s.at]-'0')
	}
	if digits := s.at - begin; digits == 0 || digits > 5 || zero && digits > 1 {
		s.fail()
	}
	return n
}

func isDigit(c byte) bool { return c-'0' < 10 }

// skip reads any value.
func (s *scanner) skip() {
	switch s.peek() {
	case '"':
		s.text()
	case '{':
		for s.open('{'); s.more('}'); {
			s.key()
			s.skip()
		}
	case '[':
		for s.open('['); s.more(']'); {
			s.skip()
		}
	case 't', 'f':
		s.bool()
	case 'n':
		s.literal("null")
	default:
		s.number()
	}
}

// number reads what a number is made of, which nobody asks for.
func (s *scanner) number() {
	if s.peek() == '-' {
		s.at++
	}
	if s.at == len(s.in) || !isDigit(s.in[s.at]) {
		s.fail()
		return
	}
	for s.at < len(s.in) && (isDigit(s.in[s.at]) || bytes.IndexByte([]byte("+-.eE"), s.in[s.at]) >= 0) {
		s.at++
	}
}
