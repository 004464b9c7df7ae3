"""Generated messages of what lies in the bucket."""
