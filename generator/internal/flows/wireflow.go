// SPDX-License-Identifier: Apache-2.0

package flows

// reset forgets all but the room for lists.
func (w *wireFlow) reset() {
	*w = wireFlow{
		source: wireEnd{labels: w.source.labels[:0]}, destination: wireEnd{labels: w.destination.labels[:0]},
		sourceNames: w.sourceNames[:0], destinationNames: w.destinationNames[:0],
	}
}

// read takes the fields of a flow.Flow. The numbers are those of flow.proto.
func (w *wireFlow) read(message []byte) (err error) {
	f := fields{rest: message}
	for err == nil && f.next() {
		if f.bytes == nil {
			switch f.number {
			case 2:
				w.verdict = int32(f.varint)
			case 10:
				w.kind = int32(f.varint)
			case 22:
				w.direction = int32(f.varint)
			case 24:
				w.point = int32(f.varint)
			case 36:
				w.reason = int32(f.varint)
			}
			continue
		}
		switch f.number {
		case 1:
			err = w.readTime(f.bytes)
		case 5:
			err = w.readIP(f.bytes)
		case 6:
			err = w.readLayer4(f.bytes)
		case 8:
			err = w.source.read(f.bytes)
		case 9:
			err = w.destination.read(f.bytes)
		case 11:
			w.node = f.bytes
		case 13:
			w.sourceNames = append(w.sourceNames, f.bytes)
		case 14:
			w.destinationNames = append(w.destinationNames, f.bytes)
		case 19:
			err = w.readEvent(f.bytes)
		case 20:
			err = w.source.readService(f.bytes)
		case 21:
			err = w.destination.readService(f.bytes)
		case 26:
			err = w.readReply(f.bytes)
		case 34:
			w.uuid = f.bytes
		}
	}
	if err == nil {
		err = f.err
	}
	return err
}

func (w *wireFlow) readTime(message []byte) error {
	w.timed = true
	f := fields{rest: message}
	for f.next() {
		switch {
		case f.value(1):
			w.seconds = int64(f.varint)
		case f.value(2):
			w.nanos = int64(int32(f.varint))
		}
	}
	return f.err
}

func (w *wireFlow) readIP(message []byte) error {
	f := fields{rest: message}
	for f.next() {
		switch {
		case f.is(1):
			w.sourceIP = f.bytes
		case f.is(2):
			w.destinationIP = f.bytes
		}
	}
	return f.err
}

func (w *wireFlow) readEvent(message []byte) error {
	f := fields{rest: message}
	for f.next() {
		if f.value(1) {
			w.event = int32(f.varint)
		}
	}
	return f.err
}

func (w *wireFlow) readReply(message []byte) error {
	w.replyKnown = true
	f := fields{rest: message}
	for f.next() {
		if f.value(1) {
			w.reply = f.varint != 0
		}
	}
	return f.err
}

// readLayer4 takes the protocol, of which there is one: the last.
func (w *wireFlow) readLayer4(message []byte) error {
	f := fields{rest: message}
	for f.next() {
		if f.bytes == nil || f.number > 7 {
			continue
		}
		if f.number != w.protocol {
			w.protocol, w.from, w.to, w.syn, w.ack = f.number, 0, 0, false, false
		}
		if err := w.readPorts(f.bytes); err != nil {
			return err
		}
	}
	return f.err
}

// readPorts takes the fields that TCP, UDP and SCTP have in common, and TCP's flags.
func (w *wireFlow) readPorts(message []byte) error {
	f := fields{rest: message}
	for f.next() {
		switch {
		case f.value(1):
			w.from = uint32(f.varint)
		case f.value(2):
			w.to = uint32(f.varint)
		case f.is(3) && w.protocol == 1:
			if err := w.readFlags(f.bytes); err != nil {
				return err
			}
		}
	}
	return f.err
}

func (w *wireFlow) readFlags(message []byte) error {
	f := fields{rest: message}
	for f.next() {
		switch {
		case f.value(2):
			w.syn = f.varint != 0
		case f.value(5):
			w.ack = f.varint != 0
		}
	}
	return f.err
}

func (e *wireEnd) read(message []byte) error {
	f := fields{rest: message}
	for f.next() {
		switch {
		case f.is(3):
			e.namespace = f.bytes
		case f.is(4):
			e.labels = append(e.labels, f.bytes)
		case f.is(5):
			e.pod = f.bytes
		case f.is(7):
			e.cluster = f.bytes
		case f.is(6):
			if e.workloads++; e.workloads == 1 {
				if err := e.readWorkload(f.bytes); err != nil {
					return err
				}
			}
		}
	}
	return f.err
}

func (e *wireEnd) readWorkload(message []byte) error {
	f := fields{rest: message}
	for f.next() {
		switch {
		case f.is(1):
			e.workload = f.bytes
		case f.is(2):
			e.kind = f.bytes
		}
	}
	return f.err
}

func (e *wireEnd) readService(message []byte) error {
	f := fields{rest: message}
	for f.next() {
		switch {
		case f.is(1):
			e.service = f.bytes
		case f.is(2):
			e.serviceNamespace = f.bytes
		}
	}
	return f.err
}
