// Code generated from proto/holdfast/v1/reasons.json. DO NOT EDIT.

package holdfast

import "google.golang.org/grpc/codes"

// The domain of the reasons in a server's answers.
const domain = "holdfast.dev"

// The reasons that servers give.
const (
	// The workflow exists, but it has no checkpoint with this id, or none at all.
	ErrCheckpointNotFound Reason = "CHECKPOINT_NOT_FOUND"
	// Nothing was ever saved for the workflow.
	ErrWorkflowNotFound Reason = "WORKFLOW_NOT_FOUND"
	// The checkpoint was deleted.
	ErrCheckpointDeleted Reason = "CHECKPOINT_DELETED"
	// Stored bytes are missing or do not match their digest.
	ErrCheckpointCorrupted Reason = "CHECKPOINT_CORRUPTED"
	// The payload has a format that the caller does not accept.
	ErrFormatIncompatible Reason = "FORMAT_INCOMPATIBLE"
	// The store was written by a newer server than this one.
	ErrLayoutUnsupported Reason = "LAYOUT_UNSUPPORTED"
	// A newer writer owns the workflow.
	ErrWriterFenced Reason = "WRITER_FENCED"
	// A save, a fence or a deletion since the expected revision conflicts with the request: see SaveHeader.expected_revision. Of CopyWorkflow: the target has checkpoints of its own.
	ErrRevisionConflict Reason = "REVISION_CONFLICT"
	// The checkpoint id belongs to another checkpoint.
	ErrCheckpointIDReused Reason = "CHECKPOINT_ID_REUSED"
	// The request id belongs to a request with other content.
	ErrRequestIDReused Reason = "REQUEST_ID_REUSED"
	// It is not known whether the commit happened.
	ErrCommitUnknown Reason = "COMMIT_UNKNOWN"
	// The server cannot reach its store, or the store throttles it.
	ErrStoreUnavailable Reason = "STORE_UNAVAILABLE"
	// The server is shutting down.
	ErrShuttingDown Reason = "SHUTTING_DOWN"
	// The store refuses the server access.
	ErrStoreAccessDenied Reason = "STORE_ACCESS_DENIED"
	// Too many calls, streams or bytes are in flight, or the namespace exceeds a rate. RetryInfo says how long to wait.
	ErrOverloaded Reason = "OVERLOADED"
	// A quota of the namespace is used up, such as stored_bytes, or the 64 MiB for the records of one checkpoint. ErrorInfo names the quota. What is deleted counts until the next collection after the grace period.
	ErrQuotaExceeded Reason = "QUOTA_EXCEEDED"
	// The payload is larger than the call allows.
	ErrPayloadTooLarge Reason = "PAYLOAD_TOO_LARGE"
	// A field of the request is wrong. BadRequest names it.
	ErrInvalidRequest Reason = "INVALID_REQUEST"
	// The deadline passed before the server was done.
	ErrDeadlineExceeded Reason = "DEADLINE_EXCEEDED"
	// The server has a fault. Its log has the trace id.
	ErrInternal Reason = "INTERNAL"
	// Another writer holds a lease of the workflow that has not expired. ErrorInfo names the holder, RetryInfo says when the lease expires.
	ErrLeaseHeld Reason = "LEASE_HELD"
	// The workflow's log is full: no revision is left, or its next marker would be too large to be read again.
	ErrLogFull Reason = "LOG_FULL"
	// The server, or a proxy before it, does not know the caller: the credentials are missing, wrong or expired.
	ErrUnauthenticated Reason = "UNAUTHENTICATED"
	// The caller may not make the call: the server's policy does not give it the right in the namespace, or a proxy before the server refuses it. The answer is the same whether or not the workflow exists. STORE_ACCESS_DENIED differs: there the store refuses the server.
	ErrPermissionDenied Reason = "PERMISSION_DENIED"
	// The target does not know the call.
	ErrUnimplemented Reason = "UNIMPLEMENTED"
	// The server's store was emptied or replaced while the server ran.
	ErrStoreReplaced Reason = "STORE_REPLACED"
	// The upload that a stream resumes is not on this server, or another stream resumed it.
	ErrUploadLost Reason = "UPLOAD_LOST"
	// The call must be in the server's audit log, which cannot be written. The call did not take effect.
	ErrAuditUnavailable Reason = "AUDIT_UNAVAILABLE"
	// The token names a key that the server does not know, and the keys of the tokens' issuer cannot be fetched now.
	ErrIssuerUnavailable Reason = "ISSUER_UNAVAILABLE"
)

// Returns what a reason means for a caller; false if this version does not know it.
func traitsOf(reason Reason) (traits, bool) {
	switch reason {
	case ErrCheckpointNotFound:
		return traits{codes.Code(5), false, "List the workflow to see which checkpoints exist."}, true
	case ErrWorkflowNotFound:
		return traits{codes.Code(5), false, "Check the namespace and the workflow id, or start the workflow from its beginning."}, true
	case ErrCheckpointDeleted:
		return traits{codes.Code(5), false, "Load the newest checkpoint, or list the workflow for others."}, true
	case ErrCheckpointCorrupted:
		return traits{codes.Code(15), false, "Load with fallback to get the last good checkpoint, and have the operator run fsck on the store."}, true
	case ErrFormatIncompatible:
		return traits{codes.Code(9), false, "Register a migration, or run a version of the engine that reads this format."}, true
	case ErrLayoutUnsupported:
		return traits{codes.Code(9), false, "Upgrade the server."}, true
	case ErrWriterFenced:
		return traits{codes.Code(9), false, "Stop: another worker owns this workflow."}, true
	case ErrRevisionConflict:
		return traits{codes.Code(10), false, "Load the newest checkpoint and decide again."}, true
	case ErrCheckpointIDReused:
		return traits{codes.Code(6), false, "Choose another checkpoint id."}, true
	case ErrRequestIDReused:
		return traits{codes.Code(6), false, "Use a fresh request id for each logical call."}, true
	case ErrCommitUnknown:
		return traits{codes.Code(14), true, "Send the same request again with the same request id."}, true
	case ErrStoreUnavailable:
		return traits{codes.Code(14), true, "Try again; if it lasts, have the operator check the store."}, true
	case ErrShuttingDown:
		return traits{codes.Code(14), true, "Try again; another replica will answer."}, true
	case ErrStoreAccessDenied:
		return traits{codes.Code(9), false, "Have the operator fix the server's credentials or its permissions on the store."}, true
	case ErrOverloaded:
		return traits{codes.Code(8), true, "Try again after the delay that the server gives."}, true
	case ErrQuotaExceeded:
		return traits{codes.Code(8), false, "Delete what is not needed, attach less to one checkpoint, or ask the operator for a larger quota."}, true
	case ErrPayloadTooLarge:
		return traits{codes.Code(3), false, "Use the stream call, or save less."}, true
	case ErrInvalidRequest:
		return traits{codes.Code(3), false, "Fix the fields that the error names."}, true
	case ErrDeadlineExceeded:
		return traits{codes.Code(4), true, "Try again with more time."}, true
	case ErrInternal:
		return traits{codes.Code(13), false, "Report it with the trace id."}, true
	case ErrLeaseHeld:
		return traits{codes.Code(9), false, "Wait until the lease has expired, or acquire with force to evict its holder."}, true
	case ErrLogFull:
		return traits{codes.Code(8), false, "Prune the workflow and collect garbage, delete it, or continue in another workflow."}, true
	case ErrUnauthenticated:
		return traits{codes.Code(16), false, "Call with valid credentials: a token in the metadata, or a client certificate."}, true
	case ErrPermissionDenied:
		return traits{codes.Code(7), false, "Ask the operator for the right that the message names, or check the proxy before the server."}, true
	case ErrUnimplemented:
		return traits{codes.Code(12), false, "Upgrade the server, and check that the target is a Holdfast server."}, true
	case ErrStoreReplaced:
		return traits{codes.Code(9), false, "Have the operator check which store it is, then restart the server."}, true
	case ErrUploadLost:
		return traits{codes.Code(14), true, "Call GetUpload again, or send the payload from its start, with the same request id."}, true
	case ErrAuditUnavailable:
		return traits{codes.Code(14), true, "Try again; if it persists, have the operator make room for the audit log."}, true
	case ErrIssuerUnavailable:
		return traits{codes.Code(14), true, "Try again; if it persists, have the operator check the issuer of the tokens."}, true
	}
	return traits{}, false
}
