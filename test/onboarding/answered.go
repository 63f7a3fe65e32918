// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// answered counts what a webhook has answered, and within 5 ms, by its own histogram.
type answered struct{ all, inTime float64 }

// shareSince returns the percentage within 5 ms of what came after before.
func (a answered) shareSince(before answered) float64 {
	return 100 * (a.inTime - before.inTime) / (a.all - before.all)
}

func (r *replica) answered(ctx context.Context) (answered, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.metrics+"/metrics", nil)
	if err != nil {
		return answered{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answered{}, fmt.Errorf("metrics of the webhook: %w", err)
	}
	defer response.Body.Close()
	var sum answered
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		line := lines.Text()
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		switch {
		case err != nil:
		case strings.HasPrefix(line, "bulkhead_review_seconds_count"):
			sum.all += value
		case strings.HasPrefix(line, "bulkhead_review_seconds_bucket") && strings.Contains(line, `le="0.005"`):
			sum.inTime += value
		}
	}
	if sum.all == 0 {
		return answered{}, fmt.Errorf("the webhook's metrics have no histogram bulkhead_review_seconds")
	}
	return sum, nil
}
