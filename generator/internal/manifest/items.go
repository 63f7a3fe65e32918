// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
)

// cutItems cuts the elements of the list "items" out of a JSON object: those of a dump of a large cluster are not to be in
// memory twice. The elements are parts of data. rest is the object with an empty list; nil: there is no such list.
func cutItems(data []byte) (items [][]byte, rest []byte) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, nil
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, nil
		}
		if key == "items" {
			return cutElements(dec, data)
		}
		var skipped json.RawMessage
		if dec.Decode(&skipped) != nil {
			return nil, nil
		}
	}
	return nil, nil
}

// cutElements goes on where a decoder of data is before the list.
func cutElements(dec *json.Decoder, data []byte) (items [][]byte, rest []byte) {
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, nil
	}
	begin := dec.InputOffset()
	for item := (json.RawMessage{}); dec.More(); {
		if dec.Decode(&item) != nil {
			return nil, nil
		}
		end := int(dec.InputOffset())
		items = append(items, data[end-len(item):end])
	}
	if _, err := dec.Token(); err != nil {
		return nil, nil
	}
	return items, append(bytes.Clone(data[:begin]), data[dec.InputOffset()-1:]...)
}
