package holdfast

import (
	"bytes"
	"container/list"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"sync"

	pb "holdfast.dev/go/holdfastpb"
)

const (
	// About 300 bytes each.
	mostHeads   = 10_000
	digestBytes = 32
)

var headText = regexp.MustCompile(`^([0-9]{1,19}):([0-9a-f]{64})$`)

// Head is the newest entry of a workflow's log: its revision, and the digest of the entry and of all entries before it.
// Its text, by String, is short: keep it anywhere, and parse it again.
type Head struct {
	Revision int64
	Digest   []byte
}

// String returns the head's text, REVISION:DIGEST.
func (h Head) String() string {
	return strconv.FormatInt(h.Revision, 10) + ":" + hex.EncodeToString(h.Digest)
}

// ParseHead returns the head with a text.
func ParseHead(text string) (Head, error) {
	found := headText.FindStringSubmatch(text)
	if found == nil {
		return Head{}, invalid("head", "must be REVISION:DIGEST, with 64 hexadecimal digits, not %.100q", text)
	}
	revision, err := strconv.ParseInt(found[1], 10, 64)
	if err != nil || revision < 1 {
		return Head{}, invalid("head", "must have a revision of 1 to 9223372036854775807, not %s", found[1])
	}
	digest, _ := hex.DecodeString(found[2])
	return Head{revision, digest}, nil
}

// Head returns the newest head of a workflow's log that this client has seen; false if it remembers none. Keep it outside
// of the store, and give it to a later client with [Client.RememberHead]: if the log is older then, it was rolled back.
func (c *Client) Head(namespace, workflowID string) (Head, bool) {
	return c.heads.get(workflowName{namespace, workflowID})
}

// RememberHead remembers a head that the caller has seen, perhaps by another client, unless a newer one is remembered. A
// log with an older head then is [ErrRolledBack].
func (c *Client) RememberHead(namespace, workflowID string, head Head) {
	c.heads.keep(workflowName{namespace, workflowID}, head)
}

// ForgetHead forgets the head of a workflow's log, to accept an older one: after the store was restored on purpose.
func (c *Client) ForgetHead(namespace, workflowID string) {
	c.heads.forget(workflowName{namespace, workflowID})
}

type workflowName struct{ namespace, workflowID string }

// The newest heads of the workflows that a client has used last.
//
// A log only grows: no deletion, collection or change of servers makes its head older, and a revision keeps its digest.
// Concurrent calls are answered in any order. So an answer is compared with what was seen when its call began.
type seenHeads struct {
	mu    sync.Mutex
	heads map[workflowName]*list.Element
	// The names and heads, the one that was used last at the front.
	order *list.List
}

type seenHead struct {
	name workflowName
	head Head
}

func newSeenHeads() *seenHeads {
	return &seenHeads{heads: map[workflowName]*list.Element{}, order: list.New()}
}

func (s *seenHeads) get(name workflowName) (Head, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.heads[name]; found != nil {
		return found.Value.(*seenHead).head, true
	}
	return Head{}, false
}

func (s *seenHeads) keep(name workflowName, head Head) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.heads[name]; found != nil {
		if seen := found.Value.(*seenHead); seen.head.Revision < head.Revision {
			seen.head = head
		}
		s.order.MoveToFront(found)
		return
	}
	s.heads[name] = s.order.PushFront(&seenHead{name, head})
	if s.order.Len() > mostHeads {
		delete(s.heads, s.order.Remove(s.order.Back()).(*seenHead).name)
	}
}

func (s *seenHeads) forget(name workflowName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.heads[name]; found != nil {
		s.order.Remove(found)
		delete(s.heads, name)
	}
}

// What a client had seen of a workflow when a call began. A call that is not about one workflow has no name.
type watch struct {
	seen   *seenHeads
	name   workflowName
	before Head
	known  bool
	// The workflow that a copy is made into; nil for other calls.
	target *watch
}

// Begins to watch a call. `request` is the request, or its header.
func (s *seenHeads) watch(request any) watch {
	about, ok := request.(interface {
		GetNamespace() string
		GetWorkflowId() string
	})
	if !ok || about.GetWorkflowId() == "" {
		return watch{}
	}
	begun := s.watchWorkflow(workflowName{about.GetNamespace(), about.GetWorkflowId()})
	if copied, ok := request.(*pb.CopyWorkflowRequest); ok {
		target := s.watchWorkflow(workflowName{copied.GetNamespace(), copied.GetTargetWorkflowId()})
		begun.target = &target
	}
	return begun
}

func (s *seenHeads) watchWorkflow(name workflowName) watch {
	before, known := s.get(name)
	return watch{seen: s, name: name, before: before, known: known}
}

// Checks the heads that an answer names, and remembers them.
func (w watch) require(answer any) error {
	named, ok := answer.(interface{ GetHead() *pb.Head })
	if !ok || w.seen == nil {
		return nil
	}
	replay, ok := answer.(interface{ GetReplayed() bool })
	if err := w.requireHead(named.GetHead(), ok && replay.GetReplayed()); err != nil {
		return err
	}
	if copied, ok := answer.(*pb.CopyWorkflowResponse); ok && w.target != nil {
		return w.target.requireHead(copied.GetTargetHead(), false)
	}
	return nil
}

func (w watch) requireHead(named *pb.Head, isReplayed bool) error {
	if named == nil {
		return nil
	}
	head := Head{named.GetRevision(), named.GetDigest()}
	if head.Revision < 0 || (len(head.Digest) != 0 && len(head.Digest) != digestBytes) {
		return wrongAnswer("a head with revision %d and %d bytes of digest", head.Revision, len(head.Digest))
	}
	if isReplayed && head.Revision < w.before.Revision {
		// The entry that the earlier attempt committed.
		return nil
	}
	if failure := w.compare(head); failure != nil {
		return failure
	}
	return nil
}

// Returns the error of a call: ROLLED_BACK if the head that it names shows that. The errors of a copy may be about either
// of its workflows.
func (w watch) requireOf(failure *Error) *Error {
	if w.target != nil {
		return failure
	}
	revision, err := strconv.ParseInt(failure.Metadata["head_revision"], 10, 64)
	text, isNamed := failure.Metadata["head_digest"]
	digest, notHexadecimal := hex.DecodeString(text)
	if w.seen == nil || !isNamed || err != nil || revision < 0 || notHexadecimal != nil ||
		(len(digest) != 0 && len(digest) != digestBytes) {
		return failure
	}
	if rolledBack := w.compare(Head{revision, digest}); rolledBack != nil {
		rolledBack.TraceID, rolledBack.RequestID, rolledBack.cause = failure.TraceID, failure.RequestID, failure
		return rolledBack
	}
	return failure
}

// Compares a head with the one that was seen before, and remembers it if it does not contradict that one.
func (w watch) compare(head Head) *Error {
	problem := ""
	switch {
	case !w.known || head.Revision > w.before.Revision:
	case head.Revision == 0:
		problem = fmt.Sprintf("it has no entry any more, and its head was revision %d", w.before.Revision)
	case head.Revision < w.before.Revision:
		problem = fmt.Sprintf("its head is revision %d, and was revision %d", head.Revision, w.before.Revision)
	case len(head.Digest) > 0 && !bytes.Equal(head.Digest, w.before.Digest):
		problem = fmt.Sprintf("its head, revision %d, is another entry than before", head.Revision)
	}
	if problem == "" {
		if len(head.Digest) > 0 {
			w.seen.keep(w.name, head)
		}
		return nil
	}
	failure := of(ErrRolledBack, "the log of workflow %q in namespace %q was rolled back: %s",
		w.name.workflowID, w.name.namespace, problem)
	failure.Metadata = map[string]string{
		"namespace": w.name.namespace, "workflow_id": w.name.workflowID,
		"seen_revision": strconv.FormatInt(w.before.Revision, 10), "seen_digest": hex.EncodeToString(w.before.Digest),
		"head_revision": strconv.FormatInt(head.Revision, 10), "head_digest": hex.EncodeToString(head.Digest),
	}
	return failure
}
