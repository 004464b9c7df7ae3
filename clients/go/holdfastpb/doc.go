// Package holdfastpb holds the messages and stubs of the Holdfast API, generated from proto/holdfast/v1.
//
// Programs use package holdfast instead, which adds the retries, checks and deadlines that a correct client needs.
package holdfastpb

//go:generate ../generate.sh
