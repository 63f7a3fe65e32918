// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"time"
)

// maxAuthorities bounds a bundle. Two are in use while one replaces the other; the rest is for
// replacements in quick succession.
const maxAuthorities = 4

// Bundle returns the caBundle that trusts wanted, PEM, and the most recent others of existing that are
// valid at now: replicas may serve certificates of them still. It returns existing itself when
// that is good, so that replicas which know of different authorities do not undo each other's writes. What
// is not a certificate is dropped.
func Bundle(existing, wanted []byte, now time.Time) []byte {
	before, needed := parse(existing), parse(wanted)
	all := slices.Clone(needed)
	for _, certificate := range before {
		if now.Before(certificate.NotAfter) && !contains(all, certificate) {
			all = append(all, certificate)
		}
	}
	slices.SortStableFunc(all[len(needed):], func(a, b *x509.Certificate) int { return b.NotBefore.Compare(a.NotBefore) })
	all = all[:min(len(all), max(maxAuthorities, len(needed)))]
	if len(all) == len(before) && !slices.ContainsFunc(all, func(c *x509.Certificate) bool { return !contains(before, c) }) {
		return existing
	}
	var bundle []byte
	for _, certificate := range all {
		bundle = append(bundle, encode(certificate.Raw)...)
	}
	return bundle
}

func contains(all []*x509.Certificate, one *x509.Certificate) bool {
	return slices.ContainsFunc(all, func(c *x509.Certificate) bool { return bytes.Equal(c.Raw, one.Raw) })
}

// parse returns the certificates in text, each once.
func parse(text []byte) (all []*x509.Certificate) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err == nil && !contains(all, certificate) {
			all = append(all, certificate)
		}
	}
	return all
}
