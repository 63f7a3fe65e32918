// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"bufio"
	"bytes"
	"context"
	"fmt"

	observerpb "github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/report"
)

// maxLine bounds one event of the agent; the longest that are sent have some kilobytes.
const maxLine = 1 << 20

// Watch passes on what the agent whose HTTP address is addr answers, line by line as it is (JSON, as
// `hubble observe -o json` prints it) and decoded, until ctx ends (nil) or the agent does.
func Watch(ctx context.Context, addr string, request *observerpb.GetFlowsRequest, show func(line []byte, event *observerpb.GetFlowsResponse) error) error {
	body, err := protojson.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode the question: %w", err)
	}
	answer, err := report.Ask(ctx, addr, "/flows", bytes.NewReader(body))
	if err != nil {
		return unlessEnded(ctx, err)
	}
	defer answer.Close()
	lines := bufio.NewScanner(answer)
	lines.Buffer(nil, maxLine)
	decoder := protojson.UnmarshalOptions{DiscardUnknown: true}
	for lines.Scan() {
		event := &observerpb.GetFlowsResponse{}
		if err := decoder.Unmarshal(lines.Bytes(), event); err != nil {
			return fmt.Errorf("read the enforcer's answer: %w", err)
		}
		if err := show(lines.Bytes(), event); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return unlessEnded(ctx, fmt.Errorf("read the enforcer's answer: %w", err))
	}
	return unlessEnded(ctx, fmt.Errorf("the enforcer has ended: start this again when it is back"))
}

func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
