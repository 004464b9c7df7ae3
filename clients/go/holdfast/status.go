package holdfast

import (
	"errors"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// The most characters of a message that no Holdfast server made.
	shownCharacters = 600
	// How gRPC reports a request that holds text that is not UTF-8.
	invalidText = "invalid UTF-8"
)

// A handshake that fails in the same way each time: not one that breaks off.
var handshakeFailed = regexp.MustCompile(`(authentication handshake failed|reading server preface): (tls|x509|remote error):? `)

// How gRPC reports a connection that is made and ends before the server has said anything.
var closedAtOnce = regexp.MustCompile(`error reading server preface: (EOF|.*connection reset)`)

// Returns the error of a failed attempt: by the server's details, or by the status alone.
func fromStatus(err error) *Error {
	var failure *Error
	if errors.As(err, &failure) {
		return failure
	}
	found, ok := status.FromError(err)
	if !ok && errors.Is(err, io.EOF) {
		return of(ErrServerUnavailable, "the stream ended before its answer")
	}
	var info *errdetails.ErrorInfo
	var request *errdetails.RequestInfo
	var retry *errdetails.RetryInfo
	var violations []FieldViolation
	for _, detail := range found.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			info = detail
		case *errdetails.RequestInfo:
			request = detail
		case *errdetails.RetryInfo:
			retry = detail
		case *errdetails.BadRequest:
			for _, each := range detail.GetFieldViolations() {
				violations = append(violations, FieldViolation{each.GetField(), each.GetDescription()})
			}
		}
	}
	if info.GetDomain() != domain {
		return withoutDetails(found)
	}
	failure = of(Reason(info.GetReason()), "%s", found.Message())
	failure.Code = found.Code()
	failure.Violations = violations
	failure.TraceID, failure.RequestID = request.GetServingData(), request.GetRequestId()
	if info.GetMetadata() != nil {
		failure.Metadata = info.GetMetadata()
	}
	if retry != nil {
		failure.RetryAfter = max(retry.GetRetryDelay().AsDuration(), 0)
	}
	if failure.kind == "" {
		failure.setTraitsOfCode()
	}
	return failure
}

// Returns the error of a status that no Holdfast server made.
func withoutDetails(found *status.Status) *Error {
	said := found.Code().String() + ": " + shown(found.Message())
	var failure *Error
	switch code := found.Code(); {
	case code == codes.Unauthenticated:
		failure = of(ErrUnauthenticated, "the target, or something before it, refused the call (gRPC: %s)", said)
	case code == codes.PermissionDenied:
		failure = of(ErrPermissionDenied, "the target, or something before it, refused the call (gRPC: %s)", said)
	case code == codes.Unimplemented:
		failure = of(ErrUnimplemented, "the target, or something before it, refused the call (gRPC: %s)", said)
	case code == codes.DeadlineExceeded:
		failure = of(ErrDeadlineExceeded, "the deadline passed before the server answered (gRPC: %s)", said)
	case code == codes.Internal && strings.Contains(found.Message(), invalidText):
		failure = invalid("request", "holds text that is not UTF-8 (gRPC: %s)", said)
	case code == codes.Unavailable && handshakeFailed.MatchString(found.Message()):
		failure = of(ErrHandshakeFailed, "no connection to the server: the TLS handshake fails (gRPC: %s)", said)
	// A caller who cancels gets no status: another CANCELLED comes from a server that ends, or from a proxy.
	case code == codes.Unavailable, code == codes.Canceled,
		code == codes.Internal && strings.HasSuffix(found.Message(), io.ErrUnexpectedEOF.Error()):
		failure = of(ErrServerUnavailable, "the server cannot be reached, or the connection broke (gRPC: %s)", said)
		if closedAtOnce.MatchString(found.Message()) {
			failure.Message += "; the other side closed the connection at once: it may expect TLS, or not be a Holdfast server"
		}
	default:
		failure = of(ErrInternal, "the call failed with an error that no Holdfast server made (gRPC: %s)", said)
	}
	failure.Code = found.Code()
	return failure
}

// Returns text that is not ours, on one line and cut.
func shown(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text[:min(len(text), 4*shownCharacters)])
	if utf8.RuneCountInString(text) > shownCharacters {
		return string([]rune(text)[:shownCharacters]) + "…"
	}
	return text
}
