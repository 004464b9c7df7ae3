package temporal

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"go.temporal.io/sdk/converter"
)

// The longest id of a workflow of Holdfast.
const workflowBytes = 512

// WorkflowID returns the workflow of Holdfast that holds the payloads of a Temporal workflow. Use it to delete the
// payloads, with [holdfast.Client.DeleteWorkflow], once Temporal no longer keeps the workflow's history.
func WorkflowID(namespace, workflowID string) string {
	return joined("workflow", namespace, workflowID)
}

// Returns the workflow of Holdfast for the payloads of a Temporal workflow or activity.
func workflowOf(target converter.StorageDriverTargetInfo) string {
	switch target := target.(type) {
	case converter.StorageDriverWorkflowInfo:
		return joined("workflow", target.Namespace, target.WorkflowID)
	case converter.StorageDriverActivityInfo:
		return joined("activity", target.Namespace, target.ActivityID)
	}
	return "unknown"
}

func joined(kind, namespace, id string) string {
	full := kind + ":" + escaped(namespace) + ":" + escaped(id)
	if len(full) <= workflowBytes {
		return full
	}
	// Temporal's ids may be longer than Holdfast's. A digest is enough, because claims name the workflow.
	digest := sha256.Sum256([]byte(full))
	return kind + ":sha256:" + hex.EncodeToString(digest[:])
}

// Percent-encodes what an id of Holdfast must not contain, and what separates the joined ids.
func escaped(id string) string {
	var out strings.Builder
	for _, r := range id {
		if strings.ContainsRune(`%:/\`, r) || isUnprintable(r) {
			for _, each := range []byte(string(r)) {
				fmt.Fprintf(&out, "%%%02X", each)
			}
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}

// Reports whether a character is a control character, a line separator, or changes the direction of text.
func isUnprintable(r rune) bool {
	return r <= 0x1f || (0x7f <= r && r <= 0x9f) || r == 0x61c || r == 0x200e || r == 0x200f ||
		(0x2028 <= r && r <= 0x202e) || (0x2066 <= r && r <= 0x2069)
}
