package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"holdfast.dev/go/holdfast"
)

// A command with the arguments of every op.
type command struct {
	ID         int64     `json:"id"`
	Op         string    `json:"op"`
	Client     string    `json:"client"`
	Handle     string    `json:"handle"`
	Namespace  string    `json:"namespace"`
	WorkflowID string    `json:"workflow_id"`
	TimeoutMS  float64   `json:"timeout_ms"`
	Targets    []string  `json:"targets"`
	Retry      *retry    `json:"retry"`
	TLS        *security `json:"tls"`
	Token      string    `json:"token"`
	Tokens     []string  `json:"tokens"`
	Insecure   bool      `json:"insecure"`
	Producer   struct{ Name, Version string }

	Parts            []part            `json:"parts"`
	Format           format            `json:"format"`
	CheckpointID     string            `json:"checkpoint_id"`
	ParentID         string            `json:"parent_id"`
	Labels           map[string]string `json:"labels"`
	ExpectedRevision *int64            `json:"expected_revision,string"`
	Epoch            int64             `json:"epoch,string"`
	TTLMS            float64           `json:"ttl_ms"`
	Replace          bool              `json:"replace"`
	NeedsParent      bool              `json:"needs_parent"`
	Pinned           bool              `json:"pinned"`
	RequestID        string            `json:"request_id"`
	AcceptedFormats  []acceptedFormat  `json:"accepted_formats"`
	Fallback         bool              `json:"fallback"`
	MaxBytes         int64             `json:"max_bytes,string"`
	File             string            `json:"file"`
	Part             string            `json:"part"`
	Migrations       []migration       `json:"migrations"`
	PageSize         int32             `json:"page_size"`
	Limit            int               `json:"limit"`
	Depth            string            `json:"depth"`
	LeaseMS          float64           `json:"lease_ms"`
	Holder           string            `json:"holder"`
	Force            bool              `json:"force"`
	Records          recordsOrFlag     `json:"records"`
}

type retry struct {
	Burst            *float64 `json:"burst"`
	PerSecond        *float64 `json:"per_second"`
	InitialBackoffMS *float64 `json:"initial_backoff_ms"`
	MaxBackoffMS     *float64 `json:"max_backoff_ms"`
	AttemptTimeoutMS *float64 `json:"attempt_timeout_ms"`
}

type security struct {
	CAFile     string `json:"ca_file"`
	CertFile   string `json:"cert_file"`
	KeyFile    string `json:"key_file"`
	ServerName string `json:"server_name"`
}

type migration struct {
	FromVersion int32   `json:"from_version"`
	Append      string  `json:"append"`
	Fail        *string `json:"fail"`
}

func milliseconds(number float64) time.Duration {
	return time.Duration(number * float64(time.Millisecond))
}

func (g *command) target(mutant string) string {
	if mutant == "first_address_only" {
		return g.Targets[0]
	}
	return strings.Join(g.Targets, ",")
}

func (g *command) options(mutant string) ([]holdfast.Option, error) {
	timeout := milliseconds(g.TimeoutMS)
	options := append(mutated(mutant, timeout), holdfast.WithProducer(g.Producer.Name, g.Producer.Version))
	if timeout > 0 {
		options = append(options, holdfast.WithTimeout(timeout))
	}
	if g.Retry != nil || mutant != "" {
		options = append(options, holdfast.WithRetryPolicy(g.policy(mutant)))
	}
	if g.TLS != nil && mutant != "ignores_tls" {
		config, err := g.TLS.config()
		if err != nil {
			return nil, err
		}
		options = append(options, holdfast.WithTLS(config))
	}
	if g.Token != "" {
		options = append(options, holdfast.WithToken(g.Token))
	}
	if len(g.Tokens) > 0 {
		var mu sync.Mutex
		left := g.Tokens
		options = append(options, holdfast.WithTokenSource(func(context.Context) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			next := left[0]
			if len(left) > 1 {
				left = left[1:]
			}
			return next, nil
		}))
	}
	if g.Insecure {
		options = append(options, holdfast.WithInsecureToken())
	}
	return options, nil
}

func (g *command) policy(mutant string) holdfast.RetryPolicy {
	policy := holdfast.DefaultRetryPolicy()
	given := g.Retry
	if given == nil {
		given = &retry{}
	}
	for value, into := range map[*float64]*time.Duration{
		given.InitialBackoffMS: &policy.InitialBackoff, given.MaxBackoffMS: &policy.MaxBackoff,
		given.AttemptTimeoutMS: &policy.AttemptTimeout,
	} {
		if value != nil {
			*into = milliseconds(*value)
		}
	}
	if given.Burst != nil {
		policy.BurstRetries = *given.Burst
	}
	if given.PerSecond != nil {
		policy.RetriesPerSecond = *given.PerSecond
	}
	switch mutant {
	case "never_retries":
		policy.BurstRetries = 0
	case "ignores_budget":
		policy.BurstRetries, policy.RetriesPerSecond = 10_000, 10_000
	}
	return policy
}

func (s *security) config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.ServerName}
	if s.CAFile != "" {
		authorities, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, fmt.Errorf("%s: no certificate", s.CAFile)
		}
	}
	if s.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func (g *command) payload() ([]holdfast.Part, error) {
	var payload []holdfast.Part
	for _, each := range g.Parts {
		data, err := each.Data.decoded()
		if err != nil {
			return nil, err
		}
		payload = append(payload, holdfast.Part{Name: each.Name, Data: data})
	}
	return payload, nil
}

func (g *command) migrations() *holdfast.Migrations {
	var known holdfast.Migrations
	for _, step := range g.Migrations {
		known.Register(g.Format.Name, step.FromVersion, func(parts map[string][]byte) (map[string][]byte, error) {
			if step.Fail != nil {
				return nil, errors.New(*step.Fail)
			}
			migrated := map[string][]byte{}
			for name, data := range parts {
				migrated[name] = append(data[:len(data):len(data)], step.Append...)
			}
			return migrated, nil
		})
	}
	return &known
}

// Calls the method of the handle, or of the client if there is none.
func (g *command) call(ctx context.Context, client *holdfast.Client, handle *holdfast.Workflow) (any, error) {
	load := holdfast.LoadOptions{
		CheckpointID: g.CheckpointID, AcceptedFormats: accepted(g.AcceptedFormats), Fallback: g.Fallback,
		Records: g.Records.flag, MaxBytes: g.MaxBytes, Part: g.Part,
	}
	deletion := holdfast.DeleteOptions{Epoch: g.Epoch, RequestID: g.RequestID}
	switch g.Op {
	case "save":
		return g.save(ctx, client, handle)
	case "load":
		if handle != nil {
			return loaded(handle.Load(ctx, load))
		}
		return loaded(client.Load(ctx, g.Namespace, g.WorkflowID, load))
	case "load_to":
		if handle != nil {
			return loadedPart(handle.LoadFile(ctx, g.File, load))
		}
		return loadedPart(client.LoadFile(ctx, g.Namespace, g.WorkflowID, g.File, load))
	case "resume":
		options := holdfast.ResumeOptions{Migrations: g.migrations(), Fallback: g.Fallback, Records: g.Records.flag}
		if handle != nil {
			return loaded(handle.Resume(ctx, g.Format.value(), options))
		}
		return loaded(client.Resume(ctx, g.Namespace, g.WorkflowID, g.Format.value(), options))
	case "list":
		found := []fields{}
		options := holdfast.ListOptions{Labels: g.Labels, PageSize: g.PageSize}
		for each, err := range client.List(ctx, g.Namespace, g.WorkflowID, options) {
			if err != nil {
				return nil, err
			}
			if found = append(found, checkpointOf(each)); len(found) == g.Limit {
				break
			}
		}
		return fields{"checkpoints": found}, nil
	case "validate":
		depths := map[string]holdfast.Depth{"marker": holdfast.Marker, "presence": holdfast.Presence}
		return validated(client.Validate(ctx, g.Namespace, g.WorkflowID, holdfast.ValidateOptions{
			CheckpointID: g.CheckpointID, Depth: depths[g.Depth], AcceptedFormats: accepted(g.AcceptedFormats),
		}))
	case "delete":
		return revision(client.Delete(ctx, g.Namespace, g.WorkflowID, g.CheckpointID, deletion))
	case "delete_workflow":
		return revision(client.DeleteWorkflow(ctx, g.Namespace, g.WorkflowID, deletion))
	case "acquire_writer":
		options := holdfast.AcquireOptions{
			ExpectedRevision: g.ExpectedRevision, Lease: milliseconds(g.LeaseMS), Holder: g.Holder, Force: g.Force,
			RequestID: g.RequestID,
		}
		if handle != nil {
			return writer(handle.AcquireWriter(ctx, options))
		}
		return writer(client.AcquireWriter(ctx, g.Namespace, g.WorkflowID, options))
	case "attach":
		options := holdfast.AttachOptions{Epoch: g.Epoch, RequestID: g.RequestID}
		records, err := g.Records.values()
		if err != nil {
			return nil, err
		}
		if handle != nil {
			return fields{}, handle.Attach(ctx, g.CheckpointID, records, options)
		}
		return fields{}, client.Attach(ctx, g.Namespace, g.WorkflowID, g.CheckpointID, records, options)
	case "records":
		if handle != nil {
			return recordList(handle.Records(ctx, g.CheckpointID))
		}
		return recordList(client.Records(ctx, g.Namespace, g.WorkflowID, g.CheckpointID))
	}
	return nil, fmt.Errorf("unknown op %q", g.Op)
}

func (g *command) save(ctx context.Context, client *holdfast.Client, handle *holdfast.Workflow) (any, error) {
	payload, err := g.payload()
	if err != nil {
		return nil, err
	}
	options := holdfast.SaveOptions{
		CheckpointID: g.CheckpointID, ParentID: g.ParentID, Labels: g.Labels, ExpectedRevision: g.ExpectedRevision,
		Epoch: g.Epoch, TTL: milliseconds(g.TTLMS), Replace: g.Replace, NeedsParent: g.NeedsParent, Pinned: g.Pinned,
		RequestID: g.RequestID,
	}
	if handle != nil {
		return saved(handle.Save(ctx, payload, g.Format.value(), options))
	}
	return saved(client.Save(ctx, g.Namespace, g.WorkflowID, payload, g.Format.value(), options))
}
