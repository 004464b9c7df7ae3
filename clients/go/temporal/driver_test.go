package temporal_test

import (
	"errors"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"

	"holdfast.dev/go/holdfast"
	"holdfast.dev/go/internal/testserver"
	"holdfast.dev/go/temporal"
)

var (
	target = converter.StorageDriverWorkflowInfo{Namespace: "default", WorkflowID: "order-1"}
	large  = &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("binary/plain")}, Data: make([]byte, 3<<20)}
	small  = &commonpb.Payload{Data: []byte("x")}
)

func connect(t *testing.T, address string) *holdfast.Client {
	t.Helper()
	client, err := holdfast.NewClient(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func stored(t *testing.T, driver *temporal.Driver, payloads ...*commonpb.Payload) []converter.StorageDriverClaim {
	t.Helper()
	claims, err := driver.Store(converter.StorageDriverStoreContext{Context: t.Context(), Target: target}, payloads)
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

func retrieved(
	t *testing.T, driver *temporal.Driver, claims ...converter.StorageDriverClaim,
) ([]*commonpb.Payload, error) {
	return driver.Retrieve(converter.StorageDriverRetrieveContext{Context: t.Context()}, claims)
}

func TestPayloadsComeBackInTheirOrderAndAreStoredOnce(t *testing.T) {
	kept := connect(t, testserver.Start(t, t.TempDir()).Target)
	driver := temporal.NewDriver(kept, "payloads", temporal.Options{})
	claims := stored(t, driver, large, small)
	again := stored(t, driver, small, large)
	if claims[0].ClaimData["checkpoint_id"] != again[1].ClaimData["checkpoint_id"] {
		t.Fatalf("%v and %v", claims, again)
	}
	found, err := retrieved(t, driver, claims...)
	if err != nil || !proto.Equal(found[0], large) || !proto.Equal(found[1], small) {
		t.Fatal(err, found)
	}
	count := 0
	for each, err := range kept.List(t.Context(), "payloads", temporal.WorkflowID("default", "order-1"), holdfast.ListOptions{}) {
		if err != nil || !each.Pinned {
			t.Fatal(err, each)
		}
		count++
	}
	if count != 2 {
		t.Fatalf("%d checkpoints, expected 2", count)
	}
}

func TestADeletedPayloadIsMissingUntilItIsStoredAgain(t *testing.T) {
	kept := connect(t, testserver.Start(t, t.TempDir()).Target)
	driver := temporal.NewDriver(kept, "payloads", temporal.Options{})
	claims := stored(t, driver, large)
	workflow, checkpointID := temporal.WorkflowID("default", "order-1"), claims[0].ClaimData["checkpoint_id"]
	_, err := kept.Delete(t.Context(), "payloads", workflow, checkpointID, holdfast.DeleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := retrieved(t, driver, claims...); !errors.Is(err, holdfast.ErrCheckpointDeleted) {
		t.Fatal(err)
	}
	stored(t, driver, large)
	if found, err := retrieved(t, driver, claims...); err != nil || !proto.Equal(found[0], large) {
		t.Fatal(err)
	}
}

func TestForeignClaimsAreNotFollowed(t *testing.T) {
	kept := connect(t, testserver.Start(t, t.TempDir()).Target)
	claims := stored(t, temporal.NewDriver(kept, "payloads", temporal.Options{}), small)
	other := temporal.NewDriver(kept, "other", temporal.Options{})
	if _, err := retrieved(t, other, claims...); !errors.Is(err, holdfast.ErrInvalidRequest) {
		t.Fatal(err)
	}
	moved := temporal.NewDriver(kept, "other", temporal.Options{RetrieveNamespaces: []string{"payloads"}})
	if _, err := retrieved(t, moved, claims...); err != nil {
		t.Fatal(err)
	}
	foreign := converter.StorageDriverClaim{ClaimData: map[string]string{"bucket": "b"}}
	if _, err := retrieved(t, moved, foreign); !errors.Is(err, holdfast.ErrInvalidRequest) {
		t.Fatal(err)
	}
}

func TestContentUnderTheIDOfAnotherPayloadIsDamage(t *testing.T) {
	kept := connect(t, testserver.Start(t, t.TempDir()).Target)
	driver := temporal.NewDriver(kept, "payloads", temporal.Options{})
	claims := stored(t, driver, small)
	forged := holdfast.SaveOptions{CheckpointID: claims[0].ClaimData["checkpoint_id"], Replace: true}
	workflow := claims[0].ClaimData["workflow_id"]
	_, err := kept.Save(t.Context(), "payloads", workflow, holdfast.Bytes([]byte("forged")), temporal.Format, forged)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := retrieved(t, driver, claims...); !errors.Is(err, holdfast.ErrCheckpointCorrupted) {
		t.Fatal(err)
	}
	stored(t, driver, small)
	if found, err := retrieved(t, driver, claims...); err != nil || !proto.Equal(found[0], small) {
		t.Fatal(err)
	}
}

func TestWorkflowsHaveTheNamesThatThePythonDriverGivesThem(t *testing.T) {
	for _, each := range [][3]string{
		{"default", "order-1", "workflow:default:order-1"},
		{"a:b", "x/y\\z%\u202eé\x01", "workflow:a%3Ab:x%2Fy%5Cz%25%E2%80%AEé%01"},
		{"default", strings.Repeat("é", 300), "workflow:sha256:082b292ad036da9273d757c4edade4f38eedb13550a59c3230a890683ffe3ddb"},
	} {
		if found := temporal.WorkflowID(each[0], each[1]); found != each[2] {
			t.Errorf("%q, expected %q", found, each[2])
		}
	}
}
