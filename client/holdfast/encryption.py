"""Keys and keyrings, by which a client encrypts what it saves. `pip install holdfast-client[encryption]`.

`docs/guides/encryption.md` is the guide. An `EncryptionKey` can wrap and unwrap a data key: a `LocalKey` from
a file, an `AwsKms`, or a class of the caller's for another key service.
"""

from holdfast._package import DISTRIBUTION, VERSION

try:
    import cryptography as _cryptography  # noqa: F401
except ModuleNotFoundError:
    raise ImportError(
        f"encryption needs the package cryptography: pip install {DISTRIBUTION}[encryption]=={VERSION}",
        name="cryptography",
    ) from None

from holdfast._core.errors import key_missing, key_service_unavailable
from holdfast._encryption.aws import AwsKms
from holdfast._encryption.keyring import Keyring
from holdfast._encryption.keys import EncryptionKey, LocalKey

__all__ = ["AwsKms", "EncryptionKey", "Keyring", "LocalKey", "key_missing", "key_service_unavailable"]
