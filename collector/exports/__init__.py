"""What other systems take: one file for each format, pure functions from rows to bytes, and the door to them."""
