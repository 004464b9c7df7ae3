"""What an operator chooses for an S3 store: the client, the encryption at rest, and the owner of the bucket."""

import re
from dataclasses import dataclass

S3_CLIENTS = ("aioboto3", "obstore")
S3_ENCRYPTIONS = ("", "AES256", "aws:kms", "aws:kms:dsse")


class S3SettingError(Exception):
    """A setting is invalid. The message begins with its name."""


@dataclass(frozen=True, slots=True)
class S3Settings:
    """The settings of an S3 store.

    Attributes:
        client: the library that sends small requests, one of S3_CLIENTS.
        encryption: how the server of the bucket encrypts each object, one of S3_ENCRYPTIONS; "" for the bucket's own
            default.
        kms_key: id, ARN or alias of the key of KMS; "" for the default key.
        bucket_owner: the account that must own the bucket, twelve digits; "" for any.

    """

    client: str = "aioboto3"
    encryption: str = ""
    kms_key: str = ""
    bucket_owner: str = ""

    def __post_init__(self) -> None:
        """Check every setting.

        Raises:
            S3SettingError: one is invalid.

        """
        if self.client not in S3_CLIENTS:
            raise S3SettingError(f"s3_client: expected one of {', '.join(S3_CLIENTS)}, got {self.client!r}")
        if self.encryption not in S3_ENCRYPTIONS:
            raise S3SettingError(
                f"s3_encryption: expected one of {', '.join(S3_ENCRYPTIONS[1:])}, got {self.encryption!r}"
            )
        if self.kms_key and not self.encryption.startswith("aws:kms"):
            raise S3SettingError(f"s3_kms_key: expected s3_encryption = 'aws:kms' beside it, got {self.encryption!r}")
        if self.bucket_owner and not re.fullmatch("[0-9]{12}", self.bucket_owner):
            raise S3SettingError(f"s3_bucket_owner: expected an account of twelve digits, got {self.bucket_owner!r}")
        if self.bucket_owner and self.client == "obstore":
            # It would send the header without a signature, which S3 refuses.
            raise S3SettingError("s3_bucket_owner: expected s3_client = 'aioboto3' beside it, got 'obstore'")

    @property
    def request_arguments(self) -> dict[str, str]:
        """The arguments, in the names of boto3, of each request that knows them."""
        given = {
            "ServerSideEncryption": self.encryption,
            "SSEKMSKeyId": self.kms_key,
            "ExpectedBucketOwner": self.bucket_owner,
            "ExpectedSourceBucketOwner": self.bucket_owner,
        }
        return {name: value for name, value in given.items() if value}


DEFAULTS = S3Settings()
