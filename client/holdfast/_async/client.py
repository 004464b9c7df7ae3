"""AsyncClient: a connection to the service, and the calls that it is used by."""

from typing import TYPE_CHECKING, Self

from holdfast._async.rewrapping import Rewrapping
from holdfast._async.surface.deleting import Deleting
from holdfast._async.surface.listing import Listing
from holdfast._async.surface.loading import Loading
from holdfast._async.surface.observing import Observing
from holdfast._async.surface.saving import Saving
from holdfast._async.transport import Transport
from holdfast._async.workflow import AsyncWorkflow
from holdfast._core import arguments
from holdfast._core.checkpoint import Rewrapped, RewrapProgress
from holdfast._core.head import Head
from holdfast._core.load_balancing import LoadBalancing
from holdfast._core.protection import protection_of
from holdfast._core.retry import RetryPolicy
from holdfast._core.tls import TLS
from holdfast._core.tokens import Token
from holdfast.v1 import checkpoint_pb2
from holdfast.v1 import checkpoint_service_pb2 as api

if TYPE_CHECKING:
    from holdfast._encryption.keyring import Keyring


class AsyncClient(Saving, Loading, Listing, Observing, Deleting):
    """A client of one Holdfast server, or of a folder whose service runs in the caller's process.

    It can be created anywhere and is used until it is closed, for good, by `close` or the end of a `with` block.

    Args:
        target: host:port, `grpcs://host:port` for TLS, or any target that gRPC accepts; or `file:///path`, a folder.
            The service then runs in this process, which needs `holdfast-client[embedded]`.
        timeout: seconds for a logical call with all its retries, if the call sets none; at most 366 days.
        retry: how to retry.
        producer: name and version of the calling program, stored with each checkpoint.
        tls: whether and how to use TLS: True or a `TLS`. None: for a target grpcs://host:port, with the authorities of
            the system.
        encryption: the keys that encrypt payloads, labels and records before they are sent. Such a client reads nothing
            that is not encrypted. Needs `holdfast-client[encryption]`.
        token: the token that shows the server who calls, or a function that returns one. The function is called before
            the first call, and again when a server has refused the token. A folder needs none.
        insecure: whether the token may be sent in plaintext to another machine.
        load_balancing: how calls go to the addresses of the target. "pick_first": all to the first one that answers,
            until it goes away. "round_robin": each to the next one, without pipelines. A folder has no addresses.

    Raises:
        InvalidRequestError: the target or `load_balancing` is not valid, the timeout is out of range, a file of TLS
            cannot be used, or the token is not valid or would be sent in plaintext to another machine.
        TypeError: an argument has another type.
        ImportError: the target is a folder, and the service is not installed.

    """

    def __init__(
        self,
        target: str,
        *,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        producer: tuple[str, str] = ("", ""),
        tls: TLS | bool | None = None,
        encryption: "Keyring | None" = None,
        token: Token | None = None,
        insecure: bool = False,
        load_balancing: LoadBalancing = "pick_first",
    ) -> None:
        name, version = arguments.instance("producer", producer, tuple)
        program = arguments.request(checkpoint_pb2.Producer, name=name, version=version)
        policy = RetryPolicy() if retry is None else arguments.instance("retry", retry, RetryPolicy)
        transport = Transport(target, timeout, policy, tls, token=token, insecure=insecure, balancing=load_balancing)
        super().__init__(transport, protection_of(encryption), program)
        self._encryption = encryption

    @property
    def encryption(self) -> "Keyring | None":
        """The keyring by which the client encrypts; None if it does not."""
        return self._encryption

    async def __aenter__(self) -> Self:
        self._transport.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the client for good. Running and later calls end with `ClientClosedError`."""
        await self._transport.close()

    def workflow(self, namespace: str, workflow_id: str) -> AsyncWorkflow:
        """Return a handle of one workflow, which carries revision and epoch from call to call."""
        return AsyncWorkflow(self, namespace, workflow_id)

    def head(self, namespace: str, workflow_id: str) -> Head | None:
        """Return the newest head of a workflow's log that this client has seen; None if it remembers none.

        Keep its text, `str(head)`, and give it to a later client as `not_before=Head.parse(text)`.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.

        """
        return self._transport.heads.get(namespace, workflow_id)

    def forget_head(self, namespace: str, workflow_id: str) -> None:
        """Forget the head of a workflow's log, to accept an older one: after the store was restored on purpose.

        Args:
            namespace: the namespace.
            workflow_id: the workflow.

        """
        self._transport.heads.forget(namespace, workflow_id)

    async def copy_workflow(
        self,
        namespace: str,
        workflow_id: str,
        target_workflow_id: str,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Copy all checkpoints of a workflow, with their records, into a workflow that has none.

        Encrypted data is bound to its workflow, so that no key would open a copy: a client with a keyring refuses it,
        and so does the server for one without.

        Args:
            namespace: the namespace of both.
            workflow_id: the workflow to copy.
            target_workflow_id: the workflow to copy into.
            request_id: the idempotency key; None for a new one.
            timeout: seconds for everything, retries included.

        Returns:
            How many checkpoints were copied.

        Raises:
            HoldfastError: a subclass for each reason.

        """
        if self._protection.is_sealing:
            raise arguments.invalid(
                "encryption", "does not allow copies of workflows: encrypted data is bound to its workflow"
            )
        request = arguments.request(
            api.CopyWorkflowRequest,
            namespace=namespace,
            workflow_id=workflow_id,
            target_workflow_id=target_workflow_id,
            request_id=request_id,
        )
        response = await self._transport.unary("CopyWorkflow", request, timeout)
        return int(response.copied)

    async def rewrap_keys(
        self,
        namespace: str,
        workflow_id: str = "",
        *,
        timeout: float | None = None,
        progress: RewrapProgress | None = None,
    ) -> Rewrapped:
        """Wrap the data keys of stored checkpoints, and of their records, by the keyring's current key.

        After that, the keys that wrapped them before are not needed any more. Stored objects do not
        change. Repeat an interrupted run: it skips the checkpoints that are done.

        Args:
            namespace: the namespace.
            workflow_id: the workflow; "" for every workflow of the namespace.
            timeout: seconds for each request, or for the records of each checkpoint, retries included.
            progress: called with what was done so far, after each page of a workflow's checkpoints.

        Returns:
            What was done. Delete the old key only if nothing failed: a damaged checkpoint, one whose key the keyring
            lacks, and one that has no room for one more record, are failures and do not end the run.

        Raises:
            InvalidRequestError: the client has no keyring, and there is a checkpoint.
            KeyServiceUnavailableError: the key service cannot be reached.
            HoldfastError: a subclass for each other reason.

        """
        arguments.text("namespace", namespace)
        run = Rewrapping(self._transport, self._protection, self._records, namespace, timeout)
        if arguments.text("workflow_id", workflow_id):
            await run.of_workflow(workflow_id, progress)
        else:
            await run.of_namespace(progress)
        return run.done
