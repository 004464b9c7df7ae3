// Package temporal keeps the large payloads of Temporal in Holdfast, as a driver of its external storage.
//
// Temporal's history then holds a claim, its word for a reference, in place of each large payload; here it names a
// checkpoint. A Temporal workflow, with its activities and all its runs, is one workflow of Holdfast. A payload's digest
// is its checkpoint id: a payload that a replay or a retry stores again is stored once, and a retrieved payload is
// verified. The stored bytes are Temporal's own message, after any codec was applied. Temporal decides which payloads are
// stored here, and how failures are retried.
//
// The Python driver, holdfast.adapters.temporal, uses the same names, so that workers in both languages share payloads.
// Temporal calls this interface experimental.
package temporal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"holdfast.dev/go/holdfast"
)

const kind = "holdfast"

var (
	// Format is the format of stored payloads.
	Format   = holdfast.Format{Name: "temporal-payload", Version: 1}
	accepted = []holdfast.AcceptedFormat{{Name: Format.Name, MinVersion: Format.Version, MaxVersion: Format.Version}}
)

// Options are the optional arguments of [NewDriver].
type Options struct {
	// Name is the driver's name in Temporal's references; "" for "holdfast". A payload can be retrieved only with a driver
	// of the same name.
	Name string
	// RetrieveNamespaces are other namespaces that a claim may name, such as the former one after a move. Histories are
	// written by others, so claims are not followed into any other namespace that the client can access.
	RetrieveNamespaces []string
}

// Driver is a storage driver for Temporal, for payloads of any size. It may be used by any number of goroutines.
type Driver struct {
	client      *holdfast.Client
	namespace   string
	name        string
	retrievable []string
}

var _ converter.StorageDriver = (*Driver)(nil)

// NewDriver returns a driver that keeps payloads in a namespace of Holdfast. The caller closes the client.
func NewDriver(client *holdfast.Client, namespace string, options Options) *Driver {
	name := options.Name
	if name == "" {
		name = kind
	}
	return &Driver{client, namespace, name, append([]string{namespace}, options.RetrieveNamespaces...)}
}

// Name returns the driver's name in Temporal's references.
func (d *Driver) Name() string { return d.name }

// Type returns "holdfast".
func (d *Driver) Type() string { return kind }

// Store stores payloads. A claim is returned only if the store holds the payload, which its digest verifies. The first
// failure cancels the other payloads.
func (d *Driver) Store(
	ctx converter.StorageDriverStoreContext, payloads []*commonpb.Payload,
) ([]converter.StorageDriverClaim, error) {
	workflow := workflowOf(ctx.Target)
	claims := make([]converter.StorageDriverClaim, len(payloads))
	group, limited := errgroup.WithContext(contextOf(ctx.Context))
	for index, payload := range payloads {
		group.Go(func() error {
			return ctx.GetLimiter().Permit(limited, payload, func() (err error) {
				claims[index], err = d.store(limited, workflow, payload)
				return err
			})
		})
	}
	return claims, group.Wait()
}

// Retrieve retrieves payloads, and verifies them with their digests. An error of a claim that is another driver's, or that
// names a namespace which is not allowed, is a *[holdfast.Error] with [holdfast.ErrInvalidRequest]; nothing was read then.
// Damage is [holdfast.ErrCheckpointCorrupted]: no fallback exists.
func (d *Driver) Retrieve(
	ctx converter.StorageDriverRetrieveContext, claims []converter.StorageDriverClaim,
) ([]*commonpb.Payload, error) {
	for _, claim := range claims {
		if err := d.check(claim.ClaimData); err != nil {
			return nil, err
		}
	}
	payloads := make([]*commonpb.Payload, len(claims))
	group, limited := errgroup.WithContext(contextOf(ctx.Context))
	for index, claim := range claims {
		group.Go(func() error {
			return ctx.GetLimiter().Permit(limited, claim, func() (err error) {
				payloads[index], err = d.retrieve(limited, claim.ClaimData)
				return err
			})
		})
	}
	return payloads, group.Wait()
}

func (d *Driver) store(
	ctx context.Context, workflow string, payload *commonpb.Payload,
) (converter.StorageDriverClaim, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(payload)
	if err != nil {
		return converter.StorageDriverClaim{}, err
	}
	digest := sha256.Sum256(data)
	checkpointID := "sha256-" + hex.EncodeToString(digest[:])
	claim := converter.StorageDriverClaim{ClaimData: map[string]string{
		"namespace": d.namespace, "workflow_id": workflow, "checkpoint_id": checkpointID,
	}}
	found, err := d.client.Validate(ctx, d.namespace, workflow, holdfast.ValidateOptions{
		CheckpointID: checkpointID, AcceptedFormats: accepted,
	})
	if err != nil {
		return claim, err
	}
	if found.Resumable && found.Checkpoint.Pinned && isNamedByContent(found.Checkpoint) {
		return claim, nil
	}
	// The id of a checkpoint that was deleted or is damaged cannot be saved again without Replace.
	replace := found.Resumable || slices.ContainsFunc(found.Findings, func(each holdfast.Finding) bool {
		return each.Reason == holdfast.ErrCheckpointDeleted || each.Reason == holdfast.ErrCheckpointCorrupted
	})
	// Pinned, because a history may refer to it, however many payloads are stored after it.
	options := holdfast.SaveOptions{CheckpointID: checkpointID, Replace: replace, Pinned: true}
	_, err = d.client.Save(ctx, d.namespace, workflow, holdfast.Bytes(data), Format, options)
	return claim, err
}

func (d *Driver) retrieve(ctx context.Context, claim map[string]string) (*commonpb.Payload, error) {
	loaded, err := d.client.Load(ctx, claim["namespace"], claim["workflow_id"], holdfast.LoadOptions{
		CheckpointID: claim["checkpoint_id"], AcceptedFormats: accepted,
	})
	if err != nil {
		return nil, err
	}
	if !isNamedByContent(&loaded.Info) {
		return nil, failure(holdfast.ErrCheckpointCorrupted, codes.DataLoss,
			"payload "+loaded.Info.CheckpointID+" cannot be retrieved: its id is not the digest of its content")
	}
	var payload commonpb.Payload
	if err := proto.Unmarshal(loaded.Data(), &payload); err != nil {
		return nil, failure(holdfast.ErrFormatIncompatible, codes.FailedPrecondition,
			"payload "+loaded.Info.CheckpointID+" cannot be retrieved: it is not a Temporal payload: "+err.Error())
	}
	return &payload, nil
}

// Refuses a claim that is another driver's, or that names a namespace which is not allowed.
func (d *Driver) check(claim map[string]string) error {
	var missing []string
	for _, key := range []string{"namespace", "workflow_id", "checkpoint_id"} {
		if claim[key] == "" {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		return failure(holdfast.ErrInvalidRequest, codes.InvalidArgument,
			"the claim was not given by a holdfast driver: it lacks "+strings.Join(missing, ", "))
	}
	if !slices.Contains(d.retrievable, claim["namespace"]) {
		return failure(holdfast.ErrInvalidRequest, codes.InvalidArgument,
			"the claim names namespace "+claim["namespace"]+", expected one of "+strings.Join(d.retrievable, ", "))
	}
	return nil
}

// Reports whether a checkpoint consists of one part whose digest is its id. A load has checked the digest.
func isNamedByContent(found *holdfast.Checkpoint) bool {
	return len(found.Parts) == 1 && found.CheckpointID == "sha256-"+hex.EncodeToString(found.Parts[0].SHA256)
}

func failure(reason holdfast.Reason, code codes.Code, message string) error {
	return &holdfast.Error{Reason: reason, Code: code, Message: message}
}

// Temporal may give no context.
func contextOf(given context.Context) context.Context {
	if given == nil {
		return context.Background()
	}
	return given
}
