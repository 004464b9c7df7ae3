"""The limits of the API: sizes of payloads, records and pages, numbers of things in a request, idle time."""

# Payload of a unary save or load, and data of one chunk of a stream.
UNARY_PAYLOAD_BYTES = 1 << 20
CHUNK_BYTES = 1 << 20
# Records of one AttachRecords call.
RECORDS_BYTES = 3 << 20
# Records of one answer, which may hold a payload as well.
RECORDS_ANSWER_BYTES = 2 << 20
# One page with all its contents. By default a gRPC client accepts 4 MiB.
PAGE_BYTES = 3 << 20
# Checkpoints that were skipped, or findings, in one answer.
MAX_SKIPPED = 256
MAX_RECORDS = 1000
MAX_PARTS = 256
MAX_LABELS = 64
MAX_FORMATS = 64
MAX_RANGES = 1024
MAX_PAGE_SIZE = 1000
DEFAULT_PAGE_SIZE = 100
# How long a stream waits for its caller to send the next message or to accept one.
IDLE_SECONDS = 60.0
# Calls, and cancellations, of one message of a pipeline.
MAX_PIPELINED = 1000
# Answers of a pipeline that one message holds, unless a single one is larger.
COALESCED_BYTES = 1 << 20
# Answers of a pipeline that one message holds, and calls of a message that are started at once. Measured with 32
# callers: 16 gave the most calls per second; 8 cost a third more CPU for the store's transactions.
GROUPED_CALLS = 16
# How long a pipeline without calls stays open.
PIPELINE_IDLE_SECONDS = 300.0
# How long a pipeline that has said that it goes away still starts calls; how long it still refuses them in a shutdown.
PIPELINE_GRACE_SECONDS = 30.0
PIPELINE_DRAIN_SECONDS = 0.3
