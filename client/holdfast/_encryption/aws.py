"""Keys that AWS KMS keeps."""

import threading
import time
from collections import OrderedDict
from typing import Any, NoReturn

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from holdfast._core import arguments
from holdfast._core.errors import key_missing, key_service_unavailable
from holdfast._encryption.keys import checked_id

_KEY_BYTES = 32
_CONTEXT = {"holdfast": "1"}
_REMEMBERED = 256
# KMS answers with these if the key was deleted or disabled, or if the caller may not use it.
_MISSING = frozenset(
    {
        "AccessDeniedException",
        "DisabledException",
        "IncorrectKeyException",
        "InvalidKeyUsageException",
        "KMSInvalidStateException",
        "NotFoundException",
    }
)
# What was wrapped is not what KMS made.
_INVALID = frozenset({"InvalidCiphertextException", "ValidationException"})


class AwsKms:
    """A key of AWS KMS, which never leaves KMS.

    KMS makes and unwraps intermediate keys, which wrap the data keys by AES key wrap in this process. An intermediate
    key is used for a while, so that most saves and loads need no call of KMS.

    Args:
        client: a client of boto3 for KMS, such as `boto3.client("kms")`. The caller configures its region, credentials,
            timeouts and retries.
        key: the key's ARN, which is stored with all that it encrypts; an id or an alias is only right while it names
            the same key.
        label_key: 32 secret bytes that make the digests by which labels are found; None if labels need not be found.
            They must stay the same when the key is replaced.
        reuse_seconds: how long an intermediate key is used, and how long it is remembered for reading. That a key was
            disabled is noticed after this time and at most five minutes more, in which the keyring remembers data keys.

    Attributes:
        id: names the key in what is stored.
        label_key: as given.

    Raises:
        TypeError: an argument has another type.
        ValueError: the key's name or the label key has another length.

    """

    blocks = True

    def __init__(self, client: Any, key: str, *, label_key: bytes | None = None, reuse_seconds: float = 300.0) -> None:
        self.id = checked_id(key)
        if label_key is not None and len(arguments.octets("label_key", label_key)) != _KEY_BYTES:
            raise ValueError(f"label_key must have {_KEY_BYTES} bytes, not {len(label_key)}")
        self.label_key = label_key
        self._client = client
        self._reuse_seconds = arguments.amount("reuse_seconds", reuse_seconds, 0, arguments.LONGEST_SECONDS)
        self._lock = threading.Lock()
        self._current: tuple[bytes, bytes, float] | None = None
        self._known: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()

    def wrap(self, data_key: bytes) -> bytes:
        """Encrypt a data key by the intermediate key in use, which KMS makes if there is none.

        Raises:
            EncryptionKeyMissingError: the key was deleted or disabled, or this process may not use it.
            KeyServiceUnavailableError: KMS cannot be reached, or fails.

        """
        with self._lock:
            current = self._current
        if current is None or current[2] < time.monotonic():
            made = self._call("generate_data_key", KeyId=self.id, KeySpec="AES_256", EncryptionContext=_CONTEXT)
            current = (made["Plaintext"], made["CiphertextBlob"], time.monotonic() + self._reuse_seconds)
            with self._lock:
                self._current = current
            self._remember(current[1], current[0])
        key, blob, _ = current
        return len(blob).to_bytes(2) + blob + aes_key_wrap(key, data_key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """Return the data key that `wrap` encrypted.

        Raises:
            ValueError: this key did not wrap it, or it was changed.
            EncryptionKeyMissingError, KeyServiceUnavailableError: as for `wrap`.

        """
        end = 2 + int.from_bytes(wrapped[:2])
        blob, inner = wrapped[2:end], wrapped[end:]
        if not blob:
            raise ValueError(f"key {self.id!r} did not wrap it")
        with self._lock:
            key, until = self._known.get(blob, (b"", 0.0))
        if until < time.monotonic():
            made = self._call("decrypt", KeyId=self.id, CiphertextBlob=blob, EncryptionContext=_CONTEXT)
            key = made["Plaintext"]
            self._remember(blob, key)
        try:
            return aes_key_unwrap(key, inner)
        except InvalidUnwrap:
            raise ValueError(f"key {self.id!r} did not wrap it") from None

    def _remember(self, blob: bytes, key: bytes) -> None:
        with self._lock:
            self._known[blob] = (key, time.monotonic() + self._reuse_seconds)
            self._known.move_to_end(blob)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def _call(self, method: str, **given: Any) -> Any:
        try:
            return getattr(self._client, method)(**given)
        except Exception as error:  # noqa: BLE001 - errors of botocore, which is not imported here
            self._raise(error)

    def _raise(self, error: Exception) -> NoReturn:
        """Raise the error for one of boto3's."""
        response = getattr(error, "response", None)
        code = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
        if code in _INVALID:
            raise ValueError(f"KMS refuses what it has to unwrap: {code}") from error
        if code in _MISSING:
            raise key_missing(self.id, f"KMS does not let this process use key {self.id!r}: {code}") from error
        raise key_service_unavailable(self.id, f"KMS failed: {type(error).__name__}: {error}") from error
