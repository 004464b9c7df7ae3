"""Network file systems, which a folder store refuses.

SQLite needs locks and shared memory that work between all processes that have the folder open. On a network file system
they do not work between machines, and two servers would damage the store.
"""

import ctypes
import errno
import os

from holdfast_server.stores.base import StoreSettingsError

# By the numbers in linux/magic.h, and those of file systems outside the kernel's tree.
_NETWORK = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x01021997: "9p",
    0x00C36400: "Ceph",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x19830326: "BeeGFS",
    0x7461636F: "OCFS2",
    0x01161970: "GFS2",
    0x786F4256: "VirtualBox shared folders",
    0xBACBACBC: "VMware shared folders",
}
# More than struct statfs takes on any platform.
_STATFS_BYTES = 256


def require_local(descriptor: int, path: str) -> None:
    """Check that an open folder is not on a file system that is known to be one of a network.

    Others are not recognised, such as those that run in user space.

    Raises:
        StoreSettingsError: it is.
        OSError: the file system cannot be determined.

    """
    name = _NETWORK.get(file_system_of(descriptor))
    if name is not None:
        raise StoreSettingsError(
            f"the store's folder is on a network file system ({name}), expected a local one", detail=path
        )


def file_system_of(descriptor: int) -> int:
    """Return the magic number of the file system that an open file is on.

    Raises:
        OSError: it cannot be determined.

    """
    library = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if library.fstatfs(descriptor, buffer) != 0:
        number = ctypes.get_errno() or errno.EIO
        raise OSError(number, os.strerror(number))
    # The first field, f_type, is a long, whose lower half is the number.
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF
