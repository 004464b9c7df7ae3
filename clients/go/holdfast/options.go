package holdfast

import (
	"context"
	"crypto/tls"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

const (
	defaultTimeout = 30 * time.Second
	// A silent server is pinged while a call waits. gRPC for Go allows no shorter time between pings.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 3 * time.Second
	maxReceiveBytes  = 8 << 20
	// Windows of a fixed size: the pings that measure bandwidth would exceed the server's limit of one every 5 seconds.
	streamWindowBytes     = 4 << 20
	connectionWindowBytes = 8 << 20
)

// Option changes a client from its defaults.
type Option func(*options)

type options struct {
	timeout        time.Duration
	retry          RetryPolicy
	producer       Producer
	tls            *tls.Config
	isTLS          bool
	hasToken       bool
	token          func(context.Context) (string, error)
	isTokenFixed   bool
	allowsInsecure bool
	tracing        tracing
	dial           []grpc.DialOption
	wrappers       []func(grpc.ClientConnInterface) grpc.ClientConnInterface
}

// WithTimeout sets the time for a logical call with all its retries, for calls whose context has no deadline. Default:
// 30 seconds. The pages of a list share it; the caller's own time between them does not count.
func WithTimeout(timeout time.Duration) Option { return func(o *options) { o.timeout = timeout } }

// WithRetryPolicy sets how to retry. Default: [DefaultRetryPolicy].
func WithRetryPolicy(policy RetryPolicy) Option { return func(o *options) { o.retry = policy } }

// WithProducer sets name and version of the calling program, which are stored with each checkpoint.
func WithProducer(name, version string) Option {
	return func(o *options) { o.producer = Producer{name, version} }
}

// WithTLS turns TLS on, with the authorities, certificate and server name of a configuration. A target that begins with
// grpcs:// turns it on as well, with the authorities of the system.
func WithTLS(config *tls.Config) Option { return func(o *options) { o.tls, o.isTLS = config, true } }

// WithToken sets the token that shows the server who calls. It is sent over TLS, or to this machine.
func WithToken(token string) Option {
	return func(o *options) {
		o.hasToken, o.isTokenFixed = true, true
		o.token = func(context.Context) (string, error) { return token, nil }
	}
}

// WithTokenSource sets a function that returns the token. It is called before the first call, and again when a server
// has refused the token. Calls of the client may run it concurrently with other calls, but never twice at a time.
func WithTokenSource(source func(context.Context) (string, error)) Option {
	return func(o *options) { o.token, o.hasToken, o.isTokenFixed = source, true, false }
}

// WithInsecureToken allows the token to be sent in plaintext to another machine.
func WithInsecureToken() Option { return func(o *options) { o.allowsInsecure = true } }

// WithTracerProvider sets the provider of the client's spans. Default: the global one of OpenTelemetry.
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(o *options) { o.tracing.provider = provider }
}

// WithWrapper puts a layer between the client and its connection. It sees each attempt of each call, also of those that
// go through a pipeline, with its request, metadata, deadline and answer.
func WithWrapper(wrap func(grpc.ClientConnInterface) grpc.ClientConnInterface) Option {
	return func(o *options) { o.wrappers = append(o.wrappers, wrap) }
}

// WithDialOptions adds options of gRPC. They follow those of the client, and so replace them. Interceptors do not see the
// single calls of a pipeline: see [WithWrapper].
func WithDialOptions(dial ...grpc.DialOption) Option {
	return func(o *options) { o.dial = append(o.dial, dial...) }
}

// Checks the options. One that was lost on its way here must not make a connection plain, or a call anonymous.
func (o *options) check() error {
	switch {
	case o.timeout <= 0:
		return invalid("timeout", "must be more than 0, not %v", o.timeout)
	case o.isTLS && o.tls == nil:
		return invalid("tls", "must not be nil: a target grpcs://host:port uses TLS with the authorities of the system")
	case o.hasToken && o.token == nil:
		return invalid("token", "must have a function that returns it, not nil")
	case o.isTokenFixed:
		token, _ := o.token(context.Background())
		if err := requireToken(token); err != nil {
			return err
		}
	}
	return o.retry.check()
}

// Returns the options of a connection to a target.
func (o *options) dialOptions(security *tls.Config) []grpc.DialOption {
	transport := insecure.NewCredentials()
	if security != nil {
		transport = credentials.NewTLS(security)
	}
	connect := backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}
	return append([]grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
		// The time that one connection may take to be made.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: connect, MinConnectTimeout: 2 * time.Second}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithInitialWindowSize(streamWindowBytes),
		grpc.WithInitialConnWindowSize(connectionWindowBytes),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceiveBytes)),
		grpc.WithUserAgent("holdfast-go/" + Version),
	}, o.dial...)
}

var (
	scheme   = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9+.-]*):/`)
	loopback = regexp.MustCompile(`(?i)^(localhost|[\w.-]+\.localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|::1|::)\.?$`)
)

// Where a client connects to.
type target struct {
	name string
	// The addresses, if the target is a list of them.
	addresses []string
	security  *tls.Config
}

// Checks that a target can be connected to.
func parseTarget(text string, security *tls.Config) (target, error) {
	cut := text[:min(len(text), 200)]
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) }) {
		return target{}, invalid("target", "must be host:port, not %q", cut)
	}
	if len(text) > 8 && strings.EqualFold(text[:8], "grpcs://") {
		text = text[8:]
		if security == nil {
			security = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	}
	if found := scheme.FindStringSubmatch(text); found != nil {
		name := strings.ToLower(found[1])
		if name == "file" {
			return target{}, invalid("target", "is a folder, which only the Python client can open: start a server on it, not %q", cut)
		}
		if resolver.Get(name) == nil {
			return target{}, invalid("target", "must be host:port, grpcs://host:port, or begin with a scheme of gRPC, not %q", cut)
		}
		return target{name: text, security: security}, nil
	}
	if strings.HasPrefix(text, "unix:") || strings.HasPrefix(text, "unix-abstract:") {
		return target{name: text, security: security}, nil
	}
	addresses := strings.Split(text, ",")
	for _, address := range addresses {
		host, port, err := net.SplitHostPort(address)
		number, notNumber := strconv.Atoi(port)
		if err != nil || host == "" || notNumber != nil || number < 1 || number > 65535 {
			return target{}, invalid("target", "must be host:port with a port of 1 to 65535, or several of them with commas, not %q", cut)
		}
	}
	if len(addresses) == 1 {
		return target{name: text, security: security}, nil
	}
	if security != nil && security.ServerName == "" {
		return target{}, invalid("target", "has several addresses, so that the TLS configuration must set ServerName, not %q", cut)
	}
	return target{addresses: addresses, security: security}, nil
}

// Reports whether a target is on this machine.
func (t target) isLoopback() bool {
	if strings.HasPrefix(t.name, "unix") {
		return true
	}
	addresses := t.addresses
	if addresses == nil {
		addresses = []string{t.name[strings.LastIndex(t.name, "/")+1:]}
	}
	for _, address := range addresses {
		host, _, err := net.SplitHostPort(address)
		if err != nil || !loopback.MatchString(host) {
			return false
		}
	}
	return true
}

// Returns a connection, which is not made before the first call.
func (t target) dial(o *options) (*grpc.ClientConn, error) {
	dial := o.dialOptions(t.security)
	name := t.name
	if t.addresses != nil {
		several := manual.NewBuilderWithScheme("holdfast")
		state := resolver.State{}
		for _, address := range t.addresses {
			state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
		}
		several.InitialState(state)
		dial = append(dial, grpc.WithResolvers(several))
		name = "holdfast:///servers"
	}
	return grpc.NewClient(name, dial...)
}
