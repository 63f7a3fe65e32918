// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"time"
)

// maxAuthorities bounds a bundle: the current authority and the one before it.
const maxAuthorities = 2

// Bundle returns the caBundle that trusts ca, and the most recent other authority in existing that
// is still valid at now: after a rotation some replicas serve certificates of the old one for
// a moment. What is not a certificate is dropped. The result depends only on the arguments.
func Bundle(existing, ca []byte, now time.Time) []byte {
	bundle := bytes.Clone(ca)
	current, _ := pem.Decode(ca)
	if current == nil {
		return bundle
	}
	kept := 1
	for block, rest := pem.Decode(existing); block != nil && kept < maxAuthorities; block, rest = pem.Decode(rest) {
		if bytes.Equal(block.Bytes, current.Bytes) {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil || now.After(certificate.NotAfter) {
			continue
		}
		bundle = append(bundle, pem.EncodeToMemory(block)...)
		kept++
	}
	return bundle
}
