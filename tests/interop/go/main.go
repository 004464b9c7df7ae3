// Command interop decrypts sealed data by docs/reference/encryption-format.md, without any code of the client.
//
// It reads a document like docs/reference/encryption-vectors.json from its standard input, and writes the plaintext of
// each vector to its standard output, as JSON.
package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"sort"
	"strings"

	"github.com/klauspost/compress/zstd"
)

const (
	magic      = "\x89HFSEAL1"
	frameBytes = 1 << 20
	final      = 1 << 31
	compressed = 1 << 30
)

type place struct {
	Kind          string `json:"kind"`
	Namespace     string `json:"namespace"`
	WorkflowID    string `json:"workflow_id"`
	CheckpointID  string `json:"checkpoint_id"`
	ParentID      string `json:"parent_id"`
	FormatName    string `json:"format_name"`
	FormatVersion uint32 `json:"format_version"`
	Name          string `json:"name"`
	Cover         string `json:"cover"`
}

type document struct {
	Key struct {
		ID       string `json:"id"`
		Key      string `json:"key"`
		LabelKey string `json:"label_key"`
	} `json:"key"`
	Labels struct {
		Namespace string            `json:"namespace"`
		Labels    map[string]string `json:"labels"`
	} `json:"labels"`
	Vectors []struct {
		Name   string `json:"name"`
		Place  place  `json:"place"`
		Sealed []byte `json:"sealed"`
	} `json:"vectors"`
	Rewrapped struct {
		Key struct {
			ID  string `json:"id"`
			Key string `json:"key"`
		} `json:"key"`
		Record struct {
			Key  string `json:"key"`
			Data []byte `json:"data"`
		} `json:"record"`
	} `json:"rewrapped"`
}

// keyring is a key of the tenant, and data keys that it has wrapped again, by the names of the data keys.
type keyring struct {
	id        string
	key       []byte
	rewrapped map[string][]byte
}

func main() {
	var given document
	must(json.NewDecoder(os.Stdin).Decode(&given))
	first := keyring{id: given.Key.ID, key: unhex(given.Key.Key)}
	// The key that wrapped the data keys at first may be deleted.
	again := keyring{id: given.Rewrapped.Key.ID, key: unhex(given.Rewrapped.Key.Key)}
	again.rewrapped = rewrapped(given.Rewrapped.Record.Key, given.Rewrapped.Record.Data, again.id)
	plain := map[string][]byte{}
	for _, vector := range given.Vectors {
		opened, err := open(vector.Sealed, vector.Place, first)
		if err != nil {
			log.Fatalf("%s: %v", vector.Name, err)
		}
		plain[vector.Name] = opened
		if given.Rewrapped.Record.Key != "" {
			reopened, err := open(vector.Sealed, vector.Place, again)
			if err != nil || !bytes.Equal(reopened, opened) {
				log.Fatalf("%s, with its data key wrapped again: %v", vector.Name, err)
			}
		}
		// A flipped bit anywhere, or another place, must be noticed.
		for index := range vector.Sealed {
			if index > 512 && index < len(vector.Sealed)-512 {
				continue
			}
			flipped := bytes.Clone(vector.Sealed)
			flipped[index] ^= 1
			if _, err := open(flipped, vector.Place, first); err == nil {
				log.Fatalf("%s: a flipped bit in byte %d was not noticed", vector.Name, index)
			}
		}
		elsewhere := vector.Place
		elsewhere.WorkflowID += "x"
		if _, err := open(vector.Sealed, elsewhere, first); err == nil {
			log.Fatalf("%s: another workflow was not noticed", vector.Name)
		}
	}
	must(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"plain":   plain,
		"digests": digests(unhex(given.Key.LabelKey), given.Labels.Namespace, given.Labels.Labels),
	}))
}

// open returns the plaintext of sealed data that belongs to a place.
func open(sealed []byte, at place, keys keyring) ([]byte, error) {
	rest := sealed
	take := func(size int) []byte {
		if size > len(rest) {
			size = len(rest)
		}
		taken := rest[:size]
		rest = rest[size:]
		return taken
	}
	number := func() int {
		two := take(2)
		if len(two) < 2 {
			return 0
		}
		return int(binary.BigEndian.Uint16(two))
	}
	if string(take(len(magic))) != magic {
		return nil, errors.New("not sealed")
	}
	traits := take(2)
	if len(traits) < 2 || traits[0] != 1 || traits[1] > 1 {
		return nil, errors.New("unknown suite or compression")
	}
	id := string(take(number()))
	wrapped := take(number())
	salt := take(32)
	commitment := take(32)
	wrappedByIt := wrapped
	if id != keys.id {
		name := sha256.Sum256(prefixed([]byte(id), wrapped))
		if wrappedByIt = keys.rewrapped[string(name[:])]; wrappedByIt == nil {
			return nil, fmt.Errorf("no key %q", id)
		}
	}
	dataKey, err := unwrap(keys.key, wrappedByIt)
	if err != nil {
		return nil, err
	}
	derived, err := hkdf.Key(sha256.New, dataKey, salt, "holdfast seal 1", 64)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(derived[32:], commitment) != 1 {
		return nil, errors.New("another data key")
	}
	version := binary.BigEndian.AppendUint32(nil, at.FormatVersion)
	bound := prefixed([]byte(at.Kind), traits[:1], traits[1:], []byte(id), []byte(at.Namespace), []byte(at.WorkflowID),
		[]byte(at.CheckpointID), []byte(at.ParentID), []byte(at.FormatName), version, []byte(at.Name), unhex(at.Cover))
	block, err := aes.NewCipher(derived[:32])
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(frameBytes), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer decoder.Close()
	plain := []byte{}
	for index := uint64(0); ; index++ {
		header := take(4)
		if len(header) < 4 {
			return nil, errors.New("the end is missing")
		}
		word := binary.BigEndian.Uint32(header)
		size := int(word &^ (final | compressed))
		if size < 16 || size > frameBytes-4 {
			return nil, errors.New("an impossible size")
		}
		nonce := binary.BigEndian.AppendUint64(make([]byte, 4), index)
		associated := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(bytes.Clone(bound), index), word)
		frame, err := gcm.Open(nil, nonce, take(size), associated)
		if err != nil {
			return nil, err
		}
		if word&compressed != 0 {
			if traits[1] != 1 {
				return nil, errors.New("compressed, against the header")
			}
			if frame, err = decoder.DecodeAll(frame, nil); err != nil {
				return nil, err
			}
		}
		plain = append(plain, frame...)
		if word&final != 0 {
			break
		}
	}
	if len(rest) > 0 {
		return nil, errors.New("something follows the final frame")
	}
	return plain, nil
}

// rewrapped returns the data keys in a record that a key has wrapped again, by their names.
func rewrapped(recordKey string, data []byte, keyID string) map[string][]byte {
	found := map[string][]byte{}
	if recordKey == "" {
		return found
	}
	if !strings.HasPrefix(recordKey, "!holdfast-keys-") {
		log.Fatalf("record %q holds no data keys", recordKey)
	}
	rest, isMarked := bytes.CutPrefix(data, []byte("\x89HFKEYS1"))
	field := func() []byte {
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			log.Fatal("wrapped data keys are cut")
		}
		size := 2 + int(binary.BigEndian.Uint16(rest))
		taken := rest[2:size]
		rest = rest[size:]
		return taken
	}
	if !isMarked || string(field()) != keyID {
		log.Fatalf("no data keys of key %q", keyID)
	}
	names := [][]byte{[]byte(keyID)}
	for len(rest) > 32 {
		name := rest[:32]
		rest = rest[32:]
		names = append(names, name)
		found[string(name)] = field()
	}
	digest := sha256.Sum256(prefixed(names...))
	if recordKey != "!holdfast-keys-"+base64.RawURLEncoding.EncodeToString(digest[:]) {
		log.Fatalf("record %q has another name than its data keys make", recordKey)
	}
	return found
}

// unwrap returns the key that RFC 3394 has wrapped.
func unwrap(key, wrapped []byte) ([]byte, error) {
	if len(wrapped) != 40 {
		return nil, errors.New("not a wrapped key")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	check := bytes.Clone(wrapped[:8])
	words := bytes.Clone(wrapped[8:])
	for step := 24; step > 0; step-- {
		word := words[(step-1)%4*8:][:8]
		counted := binary.BigEndian.Uint64(check) ^ uint64(step)
		both := append(binary.BigEndian.AppendUint64(nil, counted), word...)
		block.Decrypt(both, both)
		copy(check, both[:8])
		copy(word, both[8:])
	}
	if subtle.ConstantTimeCompare(check, bytes.Repeat([]byte{0xa6}, 8)) != 1 {
		return nil, errors.New("another key has wrapped it")
	}
	return words, nil
}

func digests(labelKey []byte, namespace string, labels map[string]string) []string {
	key, err := hkdf.Key(sha256.New, labelKey, nil, "holdfast labels 1", 32)
	must(err)
	found := []string{}
	for name, value := range labels {
		mac := hmac.New(sha256.New, key)
		mac.Write(prefixed([]byte(namespace), []byte(name), []byte(value)))
		found = append(found, "holdfast-digest-"+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
	}
	sort.Strings(found)
	return found
}

func prefixed(fields ...[]byte) []byte {
	joined := []byte{}
	for _, field := range fields {
		joined = append(binary.BigEndian.AppendUint32(joined, uint32(len(field))), field...)
	}
	return joined
}

func unhex(text string) []byte {
	data, err := hex.DecodeString(text)
	must(err)
	return data
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
