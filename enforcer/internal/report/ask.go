// SPDX-License-Identifier: Apache-2.0

package report

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// Ask sends a question to the agent whose HTTP address is addr (host:port; an empty host means this machine)
// and returns its answer, which the caller closes. A nil question is a GET, any other a POST of JSON.
func Ask(ctx context.Context, addr, path string, question io.Reader) (io.ReadCloser, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("--http-addr %s is not host:port: %w", addr, err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	method := http.MethodGet
	if question != nil {
		method = http.MethodPost
	}
	url := "http://" + net.JoinHostPort(host, port) + path
	req, err := http.NewRequestWithContext(ctx, method, url, question)
	if err != nil {
		return nil, fmt.Errorf("--http-addr %s: %w", addr, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the enforcer (is one running on this node, with the same --http-addr?): %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	return nil, fmt.Errorf("ask the enforcer at %s: %s: %s", url, resp.Status, strings.TrimSpace(string(text)))
}
