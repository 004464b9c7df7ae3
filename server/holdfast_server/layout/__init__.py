"""What lies in the bucket."""
