"""Log: one marker after the other, each won by one put-if-absent."""
